package caddymodule

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/bulk"
)

func clientImportCommand() *cobra.Command {
	cmd := command("import [FILE|-]", "Upgrades the rows of older tools, or imports clients from a file of theirs",
		`  caddy webordinary client import --dry-run   # the plan alone
  caddy webordinary client import             # upgrades the store's own rows, after asking
  caddy webordinary client import scan.json --yes
  aws dynamodb scan --table-name old-clients | caddy webordinary client import - --yes`,
		cobra.MaximumNArgs(1), runClientImport)
	cmd.Long = `Without a file: upgrades the rows of the store that older tools wrote, in place. They
get a version and claims on their hosts; whatever else a row holds is kept.

With a file ("-" is the standard input): creates the clients in it. It may hold
configurations, or items of the older table ({"clientId": …, "config": {…}}), as JSON or
as DynamoDB JSON: one of them, an array, one per line, lines of {"Item": …} as
DynamoDB's export writes them, or the answer of a scan, {"Items": […]}. What is stored
already and newer than the older tools is left alone.

Fields that this version does not know are kept, and named. Hosts belong to whoever
was served on them until now.

The plan is printed first; it is carried out with --yes, or after asking on a terminal.
Rows that are faulty or in conflict are listed and left as they are, the others are
written, and the exit code is 1. After an interruption the same command again does
what is not done yet.`
	addPlanFlags(cmd)
	return cmd
}

// imported is the answer of `client import --json`.
type imported struct {
	bulk.Plan
	// Written is how many clients were written.
	Written int `json:"written"`
	// Refused are clients that the store refused after they were planned.
	Refused []refusedClient `json:"refused,omitempty"`
}

type refusedClient struct {
	ClientID string `json:"clientId"`
	Reason   string `json:"reason"`
}

func runClientImport(ctx context.Context, c *cli, args []string) error {
	yes, dry, err := planFlags(c.cmd)
	if err != nil {
		return err
	}
	return c.withStore(func(store configstore.Store) error {
		plan, err := c.planImport(ctx, store, args)
		if err != nil {
			return err
		}
		if !c.json {
			if err := c.showPlan(plan); err != nil {
				return err
			}
		}
		done := imported{Plan: plan}
		if todo := plan.Count(bulk.Create) + plan.Count(bulk.Upgrade); todo > 0 && !dry {
			if !yes {
				if err := c.ask(ctx, fmt.Sprintf("Write %d %s?", todo, plural(todo, "client")), args); err != nil {
					return err
				}
			}
			err = c.carryOut(ctx, store, &done)
		}
		if c.json {
			err = errors.Join(err, c.printJSON(done))
		} else if dry {
			err = errors.Join(err, c.note("dry run: nothing was written"))
		}
		return errors.Join(err, left(done))
	})
}

// planImport plans the import of a file, or the upgrade of the store without one.
func (c *cli) planImport(ctx context.Context, store configstore.Store, args []string) (plan bulk.Plan, err error) {
	p := c.progress("stored clients read", 0)
	defer p.end()
	if len(args) == 0 {
		plan, err = bulk.PlanUpgrade(ctx, store, c.app.rules(), p.at)
	} else {
		plan, err = readInput(ctx, c, args[0], func(in io.Reader) (bulk.Plan, error) {
			return bulk.PlanImport(ctx, store, bulk.Rows(in), c.app.rules(), p.at)
		})
	}
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	return plan, err
}

// ask asks on the terminal whether to go on, and fails where nobody can be asked.
func (c *cli) ask(ctx context.Context, question string, args []string) error {
	in := c.cmd.InOrStdin()
	if !isTerminal(in) || len(args) > 0 && args[0] == "-" {
		return errors.New("nothing was written: --yes carries the plan out where nobody can be asked")
	}
	if _, err := fmt.Fprintf(c.errs, "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := await(ctx, func() (string, error) { return bufio.NewReader(in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was written")
	}
	return nil
}

// carryOut writes what the plan has to create and to upgrade.
func (c *cli) carryOut(ctx context.Context, store configstore.Store, done *imported) error {
	steps, rows, err := done.Steps()
	if err != nil {
		return err
	}
	p := c.progress("clients written", len(steps))
	defer p.end()
	n := 0
	result, err := bulk.Write(ctx, store, steps, bulk.Options{
		Isolate: true,
		Written: func(int, configstore.Record) { n++; p.at(n) },
		Retry:   func(err error, in time.Duration) { p.note(fmt.Sprintf("trying again in %s: %s", in, err)) },
	})
	done.Written = result.Written
	for _, r := range result.Refused {
		refused := refusedClient{ClientID: done.Rows[rows[r.Step]].ClientID, Reason: r.Err.Error()}
		done.Refused = append(done.Refused, refused)
	}
	if c.json {
		return howFar(err, result.Written, len(steps))
	}
	for _, r := range done.Refused {
		if err := c.note("refused: " + r.Reason); err != nil { // it names the client
			return err
		}
	}
	_, printErr := fmt.Fprintf(c.out, "%d of %d %s written\n", result.Written, len(steps), plural(len(steps), "client"))
	return errors.Join(howFar(err, result.Written, len(steps)), printErr)
}

// left is the error of an import that could not do all.
func left(done imported) error {
	conflicts, faulty := done.Count(bulk.Conflict), done.Count(bulk.Faulty)
	var parts []string
	if conflicts > 0 {
		parts = append(parts, fmt.Sprintf("%d in conflict", conflicts))
	}
	if faulty > 0 {
		parts = append(parts, fmt.Sprintf("%d faulty", faulty))
	}
	if len(done.Refused) > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", len(done.Refused)))
	}
	if parts == nil {
		return nil
	}
	return fmt.Errorf("left as they are: %s; mend them, then import again", strings.Join(parts, ", "))
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
