package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
)

// clientCommand is `caddy webordinary client`.
func clientCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Adds, changes, lists and removes clients",
	}
	cmd.AddCommand(
		clientPutCommand(),
		command("get ID", "Prints a client's configuration, its deploy key redacted",
			"  caddy webordinary client get amelia", cobra.ExactArgs(1), runClientGet),
		clientListCommand(),
		command("validate FILE|-", "Checks configurations and reports every fault; writes nothing",
			"  caddy webordinary client validate amelia.json", cobra.ExactArgs(1), runClientValidate),
		command("delete ID", "Removes a client; its hosts answer 404 within seconds",
			"  caddy webordinary client delete amelia", cobra.ExactArgs(1), runClientDelete),
	)
	group(cmd, "import")
	for _, sub := range cmd.Commands() {
		if sub.Name() == "get" || sub.Name() == "delete" {
			sub.ValidArgsFunction = completeClients
		}
	}
	return cmd
}

func clientPutCommand() *cobra.Command {
	cmd := command("put FILE|-", "Creates or replaces clients: one configuration, an array, or one per line",
		"  caddy webordinary client put amelia.json\n  generate-configs | caddy webordinary client put -",
		cobra.ExactArgs(1), runClientPut)
	cmd.Long = `Creates clients or replaces their configuration.

The file holds one configuration, an array of them, or one per line; "-" is the
standard input. All are checked first: with a fault in any, nothing is written.
Running edges serve the change within 3 seconds.`
	return cmd
}

func clientListCommand() *cobra.Command {
	cmd := command("list", "Lists all clients",
		"  caddy webordinary client list\n  caddy webordinary client list --links --wait 60s", cobra.NoArgs, runClientList)
	cmd.Flags().Bool("links", false, "print only each client's id and the address at which a session is started")
	cmd.Flags().Duration("wait", 0, "wait this long for a running edge that serves the clients")
	return cmd
}

// openStore opens the config store of the configuration.
func (c *cli) openStore() (configstore.Store, error) {
	store, err := c.app.configStore.OpenConfigStore(c.app.DataDir)
	if err != nil {
		return nil, fmt.Errorf("opening config store: %w", err)
	}
	return store, nil
}

// readClients reads and checks every configuration of a file. It reports all faults of
// all of them in one error. Reading ends with ctx, whatever the input does.
func (c *cli) readClients(ctx context.Context, file string) ([]configstore.Client, error) {
	type result struct {
		clients []configstore.Client
		err     error
	}
	done := make(chan result, 1)
	go func() {
		clients, err := c.readAllClients(file)
		done <- result{clients, err}
	}()
	select {
	case r := <-done:
		return r.clients, r.err
	case <-ctx.Done():
		return nil, errors.New("interrupted: nothing was written")
	}
}

func (c *cli) readAllClients(file string) ([]configstore.Client, error) {
	in := c.cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading clients: %w", err)
		}
		defer f.Close()
		in = f
	}
	return decodeClients(in, c.app.rules())
}

// decodeClients decodes, normalises and validates configurations.
func decodeClients(in io.Reader, rules configstore.Rules) ([]configstore.Client, error) {
	var (
		clients []configstore.Client
		faults  []error
		at      = make(map[string]configstore.Place) // id → where it stands
		claimed = make(map[string]string)            // host → client
	)
	for place, decoded := range configstore.DecodeClients(in) {
		client, err := decoded.Prepare(rules)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", place, err))
			continue
		}
		if first, ok := at[client.ClientID]; ok {
			faults = append(faults, fmt.Errorf("%s: clientId: %q stands already at %s", place, client.ClientID, first))
			continue
		}
		at[client.ClientID] = place
		hosts, err := client.EditHosts()
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", place, err))
			continue
		}
		for _, h := range hosts {
			if other, ok := claimed[h]; ok {
				faults = append(faults, fmt.Errorf("%s: domains: host %q is claimed by %q too", place, h, other))
			}
			claimed[h] = client.ClientID
		}
		clients = append(clients, client)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(clients) == 0 {
		return nil, errors.New("there is no configuration in it")
	}
	return clients, nil
}

// putResult is a line of `client put --json`.
type putResult struct {
	ClientID string `json:"clientId"`
	Version  int64  `json:"version"`
	Created  bool   `json:"created"`
}

// progressEvery is how many clients a bulk put writes between two lines of progress.
const progressEvery = 1000

func runClientPut(ctx context.Context, c *cli, args []string) (err error) {
	clients, err := c.readClients(ctx, args[0])
	if err != nil {
		return err
	}
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	results := make([]putResult, 0, len(clients))
	for i, client := range clients {
		rec, err := store.Put(ctx, client, configstore.AnyVersion)
		if err != nil {
			return fmt.Errorf("writing client %q (%d of %d were written): %w", client.ClientID, i, len(clients), err)
		}
		res := putResult{ClientID: client.ClientID, Version: rec.Version, Created: rec.CreatedAt.Equal(rec.UpdatedAt)}
		results = append(results, res)
		if err := c.showPut(res, i+1, len(clients)); err != nil {
			return err
		}
	}
	if c.json {
		return c.printJSON(results)
	}
	return nil
}

// showPut tells of one client that was written, or, of very many, now and then how far it is.
func (c *cli) showPut(res putResult, n, of int) (err error) {
	switch {
	case of > progressEvery && (n%progressEvery == 0 || n == of):
		_, err = fmt.Fprintf(c.errs, "%d of %d clients written\n", n, of)
	case of > progressEvery || c.json:
	case res.Created:
		_, err = fmt.Fprintf(c.out, "%s  created (version %d)\n", res.ClientID, res.Version)
	default:
		_, err = fmt.Fprintf(c.out, "%s  changed (version %d)\n", res.ClientID, res.Version)
	}
	return err
}

// clientInfo is a client as `client get --json` and `client list --json` show it.
type clientInfo struct {
	ClientID  string             `json:"clientId"`
	Config    configstore.Client `json:"config"`
	Version   int64              `json:"version"`
	CreatedAt time.Time          `json:"createdAt,omitzero"`
	UpdatedAt time.Time          `json:"updatedAt,omitzero"`
}

// describeClient shows a record without its key.
func describeClient(r configstore.Record) clientInfo {
	return clientInfo{ClientID: r.Client.ClientID, Config: r.Client.Redacted(), Version: r.Version, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt}
}

func runClientGet(ctx context.Context, c *cli, args []string) (err error) {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	rec, err := store.Get(ctx, args[0])
	if err != nil {
		return err // names the client
	}
	info := describeClient(rec)
	if c.json {
		return c.printJSON(info)
	}
	return c.printJSON(info.Config)
}

func runClientList(ctx context.Context, c *cli, _ []string) (err error) {
	links, err := c.cmd.Flags().GetBool("links")
	if err != nil {
		return err
	}
	wait, err := c.cmd.Flags().GetDuration("wait")
	if err != nil {
		return err
	}
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var infos []clientInfo
	for after := ""; ; {
		page, err := store.List(ctx, after, pageSize)
		if err != nil {
			return fmt.Errorf("listing clients: %w", err)
		}
		for _, rec := range page {
			infos = append(infos, describeClient(rec))
			after = rec.Client.ClientID
		}
		if len(page) < pageSize {
			break
		}
	}
	if wait > 0 {
		if err := c.waitForEdge(ctx, wait, len(infos)); err != nil {
			return err
		}
	}
	if c.json {
		if infos == nil {
			infos = []clientInfo{}
		}
		return c.printJSON(infos)
	}
	if links {
		for _, info := range infos {
			cl := info.Config
			if _, err := fmt.Fprintf(c.out, "%s  %s/new\n", cl.ClientID, c.app.origin.URL(cl.Domains.Edit)); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"CLIENT", "EDIT HOST", "REPOSITORY", "VERSION", "STATE"}}
	for _, info := range infos {
		cl := info.Config
		stateWord := "enabled"
		if cl.Disabled {
			stateWord = "disabled"
		}
		rows = append(rows, []string{cl.ClientID, cl.Domains.Edit, cl.Repository.URL, strconv.FormatInt(info.Version, 10), stateWord})
	}
	return c.printTable(rows)
}

// waitForEdge waits until a running edge serves that many clients.
func (c *cli) waitForEdge(ctx context.Context, wait time.Duration, clients int) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := c.admin.status(ctx)
		if err == nil && status.Loaded && status.Clients >= clients {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = errors.New("it does not serve all clients yet")
			}
			return fmt.Errorf("waiting for the edge: %w", err)
		case <-tick.C:
		}
	}
}

func runClientValidate(ctx context.Context, c *cli, args []string) error {
	clients, err := c.readClients(ctx, args[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]int{"valid": len(clients)})
	}
	_, err = fmt.Fprintf(c.out, "%d valid\n", len(clients))
	return err
}

func runClientDelete(ctx context.Context, c *cli, args []string) (err error) {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Delete(ctx, args[0], configstore.AnyVersion); err != nil {
		return err // names the client
	}
	if c.json {
		return c.printJSON(map[string]string{"deleted": args[0]})
	}
	_, err = fmt.Fprintf(c.out, "%s  deleted\n", args[0])
	return err
}

// completeClients offers the ids of clients to the shell.
func completeClients(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, closeCLI, err := newCLI(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer closeCLI()
	store, err := c.openStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer store.Close()
	page, err := store.List(cmd.Context(), "", pageSize)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, rec := range page {
		ids = append(ids, rec.Client.ClientID)
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
