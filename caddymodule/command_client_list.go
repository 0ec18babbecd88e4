package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
)

func clientListCommand() *cobra.Command {
	cmd := command("list", "Lists clients in the order of their ids",
		`  caddy webordinary client list
  caddy webordinary client list --after amelia --limit 100
  caddy webordinary client list --links --wait 60s`, cobra.NoArgs, runClientList)
	cmd.Long = `Lists clients in the order of their ids, however many there are. A version of 0 is
a row of the older tools (see import); a row that cannot be served is listed with what
is wrong with it.`
	cmd.Flags().String("after", "", "list only clients after this id")
	cmd.Flags().Int("limit", 0, "list at most so many (default: all)")
	cmd.Flags().Bool("links", false, "print only each client's id and the address at which a session is started")
	cmd.Flags().Duration("wait", 0, "wait this long for a running edge that serves the clients")
	completeFlag(cmd, "after", completeClients)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func runClientList(ctx context.Context, c *cli, _ []string) error {
	flags := c.cmd.Flags()
	after, err1 := flags.GetString("after")
	limit, err2 := flags.GetInt("limit")
	links, err3 := flags.GetBool("links")
	wait, err4 := flags.GetDuration("wait")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if limit < 0 {
		return errors.New("--limit: must not be negative")
	}
	return c.withStore(func(store configstore.Store) error {
		if wait > 0 {
			n, err := countClients(ctx, store)
			if err == nil {
				err = c.waitForEdge(ctx, wait, n)
			}
			if err != nil {
				return err
			}
		}
		var list lister
		switch {
		case c.json && links:
			list = &jsonLister{out: c.out, describe: func(r configstore.Record) (any, bool) {
				return clientLink{r.Client.ClientID, c.app.origin.URL(r.Client.Domains.Edit) + "/new"}, r.Entry().Fault() == ""
			}}
		case c.json:
			list = &jsonLister{out: c.out, describe: func(r configstore.Record) (any, bool) { return describeClient(r), true }}
		case links:
			list = &linkLister{out: c.out, url: c.app.origin.URL}
		default:
			list = &tableLister{out: c.out}
		}
		err := eachPage(ctx, store, after, limit, func(page []configstore.Record) error { return list.page(page) })
		if err != nil {
			return err
		}
		return list.end()
	})
}

// eachPage calls fn for each page of clients after an id: at most limit of them, or all for 0.
func eachPage(ctx context.Context, store configstore.Store, after string, limit int, fn func([]configstore.Record) error) error {
	for left := limit; ; {
		size := pageSize
		if limit > 0 {
			size = min(size, left)
		}
		page, err := store.List(ctx, after, size)
		if err != nil {
			return err // says what was being done
		}
		if err := fn(page); err != nil {
			return err
		}
		left -= len(page)
		if len(page) < size || limit > 0 && left == 0 {
			return nil
		}
		after = page[len(page)-1].Client.ClientID
	}
}

// countClients counts the clients that an edge can serve.
func countClients(ctx context.Context, store configstore.Store) (n int, err error) {
	err = eachPage(ctx, store, "", 0, func(page []configstore.Record) error {
		n += len(only(page, func(r configstore.Record) bool { return r.Entry().Fault() == "" }))
		return nil
	})
	return n, err
}

// lister prints clients page by page, so that it holds only one of them.
type lister interface {
	page(records []configstore.Record) error
	end() error
}

// clientLink is a client as `client list --links --json` shows it.
type clientLink struct {
	ClientID string `json:"clientId"`
	// URL is where a session is started.
	URL string `json:"url"`
}

// jsonLister prints one array.
type jsonLister struct {
	out io.Writer
	// describe is what is shown of a client, or false for nothing.
	describe func(configstore.Record) (any, bool)
	begun    bool
}

func (l *jsonLister) page(records []configstore.Record) error {
	for _, rec := range records {
		shown, ok := l.describe(rec)
		if !ok {
			continue
		}
		text, err := json.MarshalIndent(shown, "  ", "  ")
		if err != nil {
			return err
		}
		separator := ",\n  "
		if !l.begun {
			separator, l.begun = "[\n  ", true
		}
		if _, err := fmt.Fprintf(l.out, "%s%s", separator, text); err != nil {
			return err
		}
	}
	return nil
}

func (l *jsonLister) end() error {
	text := "\n]\n"
	if !l.begun {
		text = "[]\n"
	}
	_, err := io.WriteString(l.out, text)
	return err
}

// linkLister prints where each client's sessions begin.
type linkLister struct {
	out io.Writer
	url func(host string) string
}

func (l *linkLister) page(records []configstore.Record) error {
	for _, rec := range records {
		if rec.Entry().Fault() != "" {
			continue
		}
		if _, err := fmt.Fprintf(l.out, "%s  %s/new\n", rec.Client.ClientID, l.url(rec.Client.Domains.Edit)); err != nil {
			return err
		}
	}
	return nil
}

func (l *linkLister) end() error { return nil }

// tableLister prints a table whose columns are as wide as the first page has it.
type tableLister struct {
	out    io.Writer
	widths []int
}

func (l *tableLister) page(records []configstore.Record) error {
	var rows [][]string
	if l.widths == nil {
		rows = append(rows, []string{"CLIENT", "EDIT HOST", "REPOSITORY", "VERSION", "STATE"})
	}
	for _, rec := range records {
		state := "enabled"
		switch fault := rec.Entry().Fault(); {
		case fault != "":
			state = "broken: " + fault
		case rec.Client.Disabled:
			state = "disabled"
		}
		cl := rec.Client
		rows = append(rows, []string{cl.ClientID, cl.Domains.Edit, cl.Repository.URL, strconv.FormatInt(rec.Version, 10), state})
	}
	if l.widths == nil {
		l.widths = widths(rows)
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", max(0, l.widths[i]-utf8.RuneCountInString(cell))+2))
			}
		}
		if _, err := fmt.Fprintln(l.out, b.String()); err != nil {
			return err
		}
	}
	return nil
}

func (l *tableLister) end() error { return nil }

// widths returns how wide the columns of a table are, in characters.
func widths(rows [][]string) []int {
	columns := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			columns[i] = max(columns[i], utf8.RuneCountInString(cell))
		}
	}
	return columns
}

// waitForEdge waits until a running edge serves that many clients.
func (c *cli) waitForEdge(ctx context.Context, wait time.Duration, clients int) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("it did not answer in time")
	for {
		status, err := c.admin.status(ctx)
		if err == nil && status.Loaded && status.Clients >= clients {
			return nil
		}
		switch {
		case err == nil:
			last = fmt.Errorf("it serves %d of %d clients yet", status.Clients, clients)
		case ctx.Err() == nil: // else the time was up before it could answer
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the edge: %w", last)
		case <-tick.C:
		}
	}
}
