package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// sessionCommand is `caddy webordinary session`.
func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Creates, lists, wakes, puts to sleep and deletes edit sessions",
	}
	create := command("create CLIENT", "Creates a session, or resumes that of a thread",
		"  caddy webordinary session create amelia --user jo --thread spring-menu", cobra.ExactArgs(1), runSessionCreate)
	create.Long = `Creates an edit session of a client, or resumes the session that a thread has already.

A running edge wakes it at once; with none running it stays inactive until
somebody opens it.`
	create.Flags().String("user", "", "whose session it is")
	create.Flags().String("thread", "", "the editing thread, which is also the git branch (default: a new one)")
	create.ValidArgsFunction = completeClients

	wake := command("wake ID", "Wakes a session and waits until its site answers",
		"  caddy webordinary session wake iw5bsddyfmaasdds4nxrrrz5vg", cobra.ExactArgs(1), runSessionWake)
	wake.Long = "Wakes a session, shows its progress, and waits until its site answers.\nIt needs a running edge. Ctrl-C stops the waiting, not the wake."

	del := command("delete ID", "Saves a session's work, stops its container, and forgets the session",
		"  caddy webordinary session delete iw5bsddyfmaasdds4nxrrrz5vg", cobra.ExactArgs(1), runSessionDelete)
	del.Long = `Saves a session's work, stops its container, and forgets the session; its branch stays.

Where work may be unsaved, as after a crash, it does not: a wake saves that work.`
	del.Flags().Bool("force", false, "delete it even if its work may be unsaved; what is unsaved stays where it is")

	group(cmd)
	list := command("list [CLIENT]", "Lists sessions, of one client or of all",
		"  caddy webordinary session list\n  caddy webordinary session list amelia --json", cobra.MaximumNArgs(1), runSessionList)
	list.ValidArgsFunction = completeClients
	cmd.AddCommand(
		create, list,
		command("get ID", "Prints a session",
			"  caddy webordinary session get iw5bsddyfmaasdds4nxrrrz5vg\n  caddy webordinary session get iw5bsddyfmaasdds4nxrrrz5vg --json", cobra.ExactArgs(1), runSessionGet),
		wake,
		command("sleep ID", "Saves a session's work and stops its container; needs a running edge",
			"  caddy webordinary session sleep iw5bsddyfmaasdds4nxrrrz5vg", cobra.ExactArgs(1), runSessionSleep),
		del,
		sessionImportCommand(),
	)
	for _, sub := range cmd.Commands() {
		if sub.ValidArgsFunction == nil {
			sub.ValidArgsFunction = completeSessions
		}
	}
	return cmd
}

// withService runs fn on the stores themselves, for when no edge runs. The service has
// no runner: it can create, read and delete sessions without a container.
func (c *cli) withService(fn func(*sessions.Service) error) (err error) {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	registry, err := c.app.registry.OpenRegistry(c.app.DataDir)
	if err != nil {
		return fmt.Errorf("opening session registry: %w", err)
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	return fn(sessions.New(sessions.Options{
		Registry: registry,
		Client:   clientSource(store),
		Tunables: sessions.Tunables{PublicOrigin: c.app.origin, AllowFile: c.app.AllowFileRepositories},
	}))
}

// viaEdge asks the running edge, or the stores themselves where none runs.
func (c *cli) viaEdge(ctx context.Context, method, path string, body, answer any, direct func(*sessions.Service) error) error {
	err := c.admin.call(ctx, method, path, body, answer)
	if errors.Is(err, errNoAnswer) {
		return c.withService(direct)
	}
	return err
}

// sessionPath is a session's path in the admin API, or that of a verb below it.
func sessionPath(id string, verb ...string) string {
	return strings.Join(append([]string{"sessions", url.PathEscape(id)}, verb...), "/")
}

// completeSessions offers the ids of sessions to the shell, with client and thread.
func completeSessions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, closeCLI, err := newCLI(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer closeCLI()
	var ids []string
	err = c.withService(func(s *sessions.Service) error {
		records, err := s.List(cmd.Context(), "", "", pageSize)
		for _, rec := range records {
			ids = append(ids, rec.SessionID+"\t"+rec.ClientID+" "+rec.ThreadID)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

func runSessionCreate(ctx context.Context, c *cli, args []string) error {
	user, err := c.cmd.Flags().GetString("user")
	if err != nil {
		return err
	}
	thread, err := c.cmd.Flags().GetString("thread")
	if err != nil {
		return err
	}
	req := createRequest{ClientID: args[0], UserID: user, ThreadID: thread}
	var info sessionInfo
	err = c.viaEdge(ctx, http.MethodPost, "sessions", req, &info, func(s *sessions.Service) error {
		rec, _, err := s.Create(ctx, sessions.CreateRequest{ClientID: req.ClientID, UserID: user, ThreadID: thread})
		info = describeSession(rec)
		return err
	})
	if err != nil {
		return fmt.Errorf("creating a session of client %q: %w", args[0], err)
	}
	if c.json {
		return c.printJSON(info)
	}
	return c.printTable([][]string{{info.SessionID, string(info.Status), info.PreviewURL}})
}

func runSessionList(ctx context.Context, c *cli, args []string) error {
	client := ""
	if len(args) > 0 {
		client = args[0]
	}
	infos := []sessionInfo{}
	for after := ""; ; {
		var page []sessionInfo
		query := url.Values{"client": {client}, "after": {after}}
		err := c.viaEdge(ctx, http.MethodGet, "sessions?"+query.Encode(), nil, &page, func(s *sessions.Service) error {
			records, err := s.List(ctx, client, after, pageSize)
			for _, rec := range records {
				page = append(page, describeSession(rec))
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("listing sessions: %w", err)
		}
		infos = append(infos, page...)
		if len(page) < pageSize {
			break
		}
		after = page[len(page)-1].SessionID
	}
	slices.SortFunc(infos, func(a, b sessionInfo) int { return strings.Compare(a.SessionID, b.SessionID) })
	if c.json {
		return c.printJSON(infos)
	}
	rows := [][]string{{"SESSION", "CLIENT", "THREAD", "STATUS", "LAST ACTIVITY", "PREVIEW"}}
	for _, s := range infos {
		rows = append(rows, []string{s.SessionID, s.ClientID, s.ThreadID, string(s.Status), s.LastActivity.Format(time.RFC3339), s.PreviewURL})
	}
	return c.printTable(rows)
}

func runSessionGet(ctx context.Context, c *cli, args []string) error {
	var info sessionInfo
	err := c.viaEdge(ctx, http.MethodGet, sessionPath(args[0]), nil, &info, func(s *sessions.Service) error {
		rec, err := s.Get(ctx, args[0])
		info = describeSession(rec)
		return err
	})
	if err != nil {
		return fmt.Errorf("getting session %q: %w", args[0], err)
	}
	return c.printSession(info)
}

// printSession prints one session.
func (c *cli) printSession(s sessionInfo) error {
	if c.json {
		return c.printJSON(s)
	}
	rows := [][]string{
		{"session", s.SessionID},
		{"client", s.ClientID},
		{"thread", s.ThreadID},
		{"branch", s.EditBranch},
		{"status", string(s.Status)},
		{"preview", s.PreviewURL},
		{"last activity", s.LastActivity.Format(time.RFC3339)},
	}
	if s.Container != "" {
		rows = append(rows, []string{"container", fmt.Sprintf("%s (wake %d)", s.Container, s.Epoch)})
	}
	if s.HeldBy != "" {
		rows = append(rows, []string{"held by", s.HeldBy})
	}
	if a := s.Awake; a != nil {
		rows = append(rows, []string{"awake", cmp.Or(a.Reason, "last used by: "+cmp.Or(a.Activity, "nobody"))})
	}
	if !s.AskAt.IsZero() {
		rows = append(rows, []string{"asked next", s.AskAt.Format(time.RFC3339)})
	}
	if !s.EndsAt.IsZero() {
		rows = append(rows, []string{"ends", s.EndsAt.Format(time.RFC3339)})
	}
	if s.Unsaved != "" {
		rows = append(rows, []string{"last save", printable(s.Unsaved)})
	}
	if s.UserID != "" {
		rows = append(rows, []string{"user", s.UserID})
	}
	if s.Failure != nil {
		rows = append(rows, []string{"failure", printable(fmt.Sprintf("%s: %s", s.Failure.Phase, s.Failure.Cause))},
			[]string{"failed at", fmt.Sprintf("%s, %d in a row", s.Failure.At.Format(time.RFC3339), s.Failure.Attempts)})
		for line := range strings.Lines(strings.TrimSpace(s.Failure.Detail)) {
			rows = append(rows, []string{"detail", printable(line)})
		}
		// What failed earlier is not the site's.
		inSite := s.Failure.Phase == bootapi.PhaseInstalling || s.Failure.Phase == bootapi.PhaseBuilding
		if inSite && !s.Failure.Retryable {
			rows = append(rows, []string{"mend it", fmt.Sprintf("on the branch %s, then: caddy webordinary session wake %s", s.EditBranch, s.SessionID)})
		}
	}
	return c.printTable(rows)
}

// printable is a line of a client's tools without what would steer a terminal.
func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, line))
}

func runSessionWake(ctx context.Context, c *cli, args []string) error {
	var info sessionInfo
	if err := c.admin.call(ctx, http.MethodPost, sessionPath(args[0], "wake"), nil, &info); err != nil {
		return fmt.Errorf("waking session %q: %w", args[0], err)
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for shown := bootapi.Phase(""); ; {
		switch info.Status {
		case sessions.StatusActive:
			return c.printSession(info)
		case sessions.StatusFailed:
			cause := "no cause is known"
			if info.Failure != nil {
				cause = printable(fmt.Sprintf("%s: %s", info.Failure.Phase, info.Failure.Cause))
			}
			return fmt.Errorf("waking session %q: %s", args[0], cause)
		case sessions.StatusInactive:
			return fmt.Errorf("waking session %q: it was put to sleep", args[0])
		default: // on its way
		}
		if info.Progress != nil && info.Progress.Phase != shown {
			shown = info.Progress.Phase
			if _, err := fmt.Fprintf(c.errs, "%s…\n", shown); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no longer waiting for session %q: it goes on waking", args[0])
		case <-tick.C:
		}
		info = sessionInfo{}
		if err := c.admin.request(ctx, http.MethodGet, sessionPath(args[0]), nil, &info); err != nil {
			return fmt.Errorf("waking session %q: %w", args[0], err)
		}
	}
}

func runSessionSleep(ctx context.Context, c *cli, args []string) error {
	var info sessionInfo
	if err := c.admin.call(ctx, http.MethodPost, sessionPath(args[0], "sleep"), nil, &info); err != nil {
		return fmt.Errorf("putting session %q to sleep: %w", args[0], err)
	}
	return c.printSession(info)
}

func runSessionDelete(ctx context.Context, c *cli, args []string) error {
	force, err := c.cmd.Flags().GetBool("force")
	if err != nil {
		return err
	}
	path := sessionPath(args[0])
	if force {
		path += "?force=true"
	}
	var done deleted
	err = c.viaEdge(ctx, http.MethodDelete, path, nil, &done, func(s *sessions.Service) error {
		rec, err := s.Get(ctx, args[0])
		if err == nil && rec.Epoch > 0 && !force {
			done.Notice = "no edge is running that could tell whether its work is saved: what is not stays where it is, and the next start of an edge says where"
		}
		if err != nil {
			return err
		}
		return s.Delete(ctx, args[0])
	})
	if err != nil {
		return fmt.Errorf("deleting session %q: %w", args[0], err)
	}
	if done.Notice != "" {
		if _, err := fmt.Fprintln(c.errs, done.Notice); err != nil {
			return err
		}
	}
	if c.json {
		return c.printJSON(map[string]string{"deleted": args[0]})
	}
	_, err = fmt.Fprintf(c.out, "%s  deleted\n", args[0])
	return err
}
