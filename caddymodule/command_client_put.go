package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/bulk"
)

func clientPutCommand() *cobra.Command {
	cmd := command("put FILE|-", "Creates or replaces clients: one configuration, an array, or one per line",
		`  caddy webordinary client put amelia.json
  caddy webordinary client put amelia.json --dry-run        # shows what would change
  caddy webordinary client put amelia.json --if-version 3   # only if nobody changed it since
  generate-configs | caddy webordinary client put -`,
		cobra.ExactArgs(1), runClientPut)
	cmd.Long = `Creates clients or replaces their configuration, and shows what changes of each.

The file holds one configuration, an array of them, or one per line; "-" is the
standard input. All are checked first: with a fault in any, nothing is written.
What is stored already as it should be is not written again.

Clients are written in transactions of as many as the store takes at once: those
between which a host moves in the same one, so that moving a host needs nothing
but both clients in one file. Of more than a thousand clients only the totals and the
progress are shown. Ctrl-C ends after the transactions that are under way;
the same command again goes on where it was.

Running edges serve the change within 3 seconds.`
	addIfVersion(cmd)
	cmd.Flags().Bool("dry-run", false, "show what would change, and write nothing; whether another client has a host, only writing finds out")
	return cmd
}

// manyClients is how many clients are shown one by one; of more, there are totals.
const manyClients = 1000

// putResult is a client as `client put --json` shows it.
type putResult struct {
	ClientID string `json:"clientId"`
	// Version is what is stored now; without a write, what was before. 0: nothing, or a
	// row of the older tools.
	Version int64 `json:"version"`
	// Created: nothing was stored before.
	Created bool `json:"created"`
	// Unchanged: it was stored already as it should be, and was not written.
	Unchanged bool `json:"unchanged,omitempty"`
	// Changes are the fields that changed.
	Changes []configstore.FieldChange `json:"changes,omitempty"`

	written  bool
	upgraded bool   // from a row of the older tools
	broken   string // why the row before could not be read
}

func runClientPut(ctx context.Context, c *cli, args []string) error {
	expect, err := ifVersion(c.cmd)
	if err != nil {
		return err
	}
	dry, err := c.cmd.Flags().GetBool("dry-run")
	if err != nil {
		return err
	}
	clients, err := c.readClients(ctx, args[0])
	if err != nil {
		return err
	}
	if expect != configstore.AnyVersion && len(clients) != 1 {
		return fmt.Errorf("--if-version is the version of one client, and there are %d", len(clients))
	}
	return c.withStore(func(store configstore.Store) error {
		found, err := c.compareClients(ctx, store, clients, expect)
		if err != nil {
			return err
		}
		results := make([]putResult, len(found))
		for i, f := range found {
			results[i] = putResult{
				ClientID: f.Client.ClientID, Version: max(f.Stored, 0), Created: f.Stored == configstore.NoVersion,
				Unchanged: f.Unchanged(), Changes: f.Changes, upgraded: f.Stored == 0, broken: f.Broken,
			}
		}
		if dry {
			return errors.Join(c.showPuts(results, true), c.note("dry run: nothing was written"))
		}
		err = c.writeClients(ctx, store, found, expect, results)
		return errors.Join(c.showPuts(results, false), err)
	})
}

// compareClients reads what is stored of clients. A version that is not the expected one
// is a conflict at once.
func (c *cli) compareClients(ctx context.Context, store configstore.Store, clients []configstore.Client, expect int64) ([]bulk.Comparison, error) {
	p := c.progress("stored clients read", 0)
	defer p.end()
	found, err := bulk.Compare(ctx, store, clients, p.at)
	if errors.Is(err, context.Canceled) {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, err // says what was being done
	}
	if have := found[0].Stored; expect != configstore.AnyVersion && have != configstore.AnyVersion && have != expect {
		return nil, &configstore.ConflictError{ClientID: clients[0].ClientID, Have: have, Expect: expect}
	}
	return found, nil
}

// writeClients writes those that differ, and notes what is stored of each in results.
func (c *cli) writeClients(ctx context.Context, store configstore.Store, found []bulk.Comparison, expect int64, results []putResult) error {
	var steps []bulk.Step
	var at []int // step → result
	for i, f := range found {
		if f.Unchanged() {
			continue
		}
		step, err := f.Step(expect)
		if err != nil {
			return err
		}
		steps, at = append(steps, step), append(at, i)
	}
	p := c.progress("clients written", len(steps))
	defer p.end()
	n := 0
	result, err := bulk.Write(ctx, store, steps, bulk.Options{
		Written: func(step int, stored configstore.Record) {
			res := &results[at[step]]
			res.Version, res.written = stored.Version, true
			n++
			p.at(n)
		},
		Retry: func(err error, in time.Duration) { p.note(fmt.Sprintf("trying again in %s: %s", in, err)) },
	})
	return howFar(err, result.Written, len(steps))
}

// howFar says how much of a bulk write was done when it ended with an error.
func howFar(err error, n, of int) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled) && n == of:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted: %d of %d clients are written; the same command again goes on with the others", n, of)
	case of == 1:
		return err // names the client
	case n == 0:
		return fmt.Errorf("nothing was written: %w", err)
	default:
		return fmt.Errorf("%d of %d clients are written; the same command again goes on with the others: %w", n, of, err)
	}
}

// showPuts shows what became of each client, or the totals of very many. dry: what would.
func (c *cli) showPuts(results []putResult, dry bool) error {
	if !dry {
		results = only(results, func(r putResult) bool { return r.written || r.Unchanged })
	}
	switch {
	case c.json && (dry || len(results) > 0):
		return c.printJSON(results)
	case c.json:
		return nil
	case len(results) > manyClients:
		return c.showTotals(results, dry)
	}
	for _, r := range results {
		if err := c.showPut(r, dry); err != nil {
			return err
		}
	}
	return nil
}

func only[T any](all []T, which func(T) bool) []T {
	kept := make([]T, 0, len(all))
	for _, v := range all {
		if which(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// showPut shows one client and what changes of it.
func (c *cli) showPut(r putResult, dry bool) error {
	verb, would := "changed", "would be changed"
	switch {
	case r.Unchanged:
		verb, would = "unchanged", "unchanged"
	case r.Created:
		verb, would = "created", "would be created"
	case r.broken != "":
		verb, would = "replaced", "would be replaced"
	case r.upgraded:
		verb, would = "upgraded from an older row", "would be upgraded from an older row"
	}
	text := fmt.Sprintf("%s  %s (version %d)", r.ClientID, verb, r.Version)
	if dry {
		text = fmt.Sprintf("%s  %s", r.ClientID, would)
		if r.Version > 0 {
			text += fmt.Sprintf(" (version %d)", r.Version)
		}
	}
	if r.broken != "" {
		text += "\n  the row before: " + r.broken
	}
	for _, change := range r.Changes {
		text += "\n  " + change.String()
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}

// showTotals shows how many clients were created, changed and left.
func (c *cli) showTotals(results []putResult, dry bool) error {
	created := len(only(results, func(r putResult) bool { return r.Created }))
	unchanged := len(only(results, func(r putResult) bool { return r.Unchanged }))
	would := ""
	if dry {
		would = " would be"
	}
	_, err := fmt.Fprintf(c.out, "%d clients%s: %d created, %d changed, %d unchanged\n",
		len(results), would, created, len(results)-created-unchanged, unchanged)
	return err
}

// note tells something on the standard error, where it is no error.
func (c *cli) note(text string) error {
	_, err := fmt.Fprintln(c.errs, text)
	return err
}
