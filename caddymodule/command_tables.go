package caddymodule

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// tablesCommand is `caddy webordinary tables`.
func tablesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "Creates the tables that the stores of the configuration need",
	}
	create := command("create", "Creates what is missing of the tables; may be repeated at any time",
		"  caddy webordinary tables create --dry-run\n  caddy webordinary tables create", cobra.NoArgs, runTablesCreate)
	create.Long = `Creates the tables of the configuration's stores where they are missing, and gives
those that are there what they lack: billing on demand, encryption, point-in-time
recovery, expiry, indexes. Items that are in a table already are left alone; but where
they get expiry, DynamoDB removes those whose time has passed. It may be repeated at any
time.

Embedded stores need none.`
	create.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	create.ValidArgsFunction = cobra.NoFileCompletions
	cmd.AddCommand(create)
	group(cmd)
	return cmd
}

func runTablesCreate(ctx context.Context, c *cli, _ []string) error {
	dry, err := c.cmd.Flags().GetBool("dry-run")
	if err != nil {
		return err
	}
	done := []TableChange{}
	makers := 0
	for _, guest := range c.app.guests() {
		maker, ok := guest.(TableMaker)
		if !ok {
			continue
		}
		makers++
		var changes []TableChange
		changes, err = maker.CreateTables(ctx, dry)
		done = append(done, changes...)
		if err != nil {
			break
		}
	}
	if showErr := c.showTables(done, dry, makers, err); showErr != nil {
		return showErr
	}
	if err != nil {
		return fmt.Errorf("creating tables: %w", err)
	}
	return nil
}

// showTables prints what was done to tables, or would be; err is why it did not go on.
func (c *cli) showTables(done []TableChange, dry bool, makers int, err error) error {
	if c.json {
		return c.printJSON(done)
	}
	for _, change := range done {
		if _, err := fmt.Fprintf(c.out, "%s: %s\n", change.Table, change.Change); err != nil {
			return err
		}
	}
	text := ""
	switch {
	case err != nil:
	case makers == 0:
		text = "the configuration's stores are embedded and need no tables"
	case len(done) == 0:
		text = "all tables are as they should be"
	case dry:
		return c.note("dry run: nothing was done")
	}
	if text != "" {
		_, err := fmt.Fprintln(c.out, text)
		return err
	}
	return nil
}
