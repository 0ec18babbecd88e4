package caddymodule

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
)

func clientGetCommand() *cobra.Command {
	cmd := command("get ID", "Prints a client's configuration, its deploy key redacted",
		"  caddy webordinary client get amelia\n  caddy webordinary client get amelia --json   # with its version",
		cobra.ExactArgs(1), runClientGet)
	cmd.Long = `Prints the configuration of a client as put takes it; a deploy key is shown as
[redacted], a reference to one as it is.

With --json it comes with its version, for put --if-version, and with the times at
which it was made and changed last.`
	cmd.ValidArgsFunction = completeClients
	return cmd
}

func runClientGet(ctx context.Context, c *cli, args []string) error {
	return c.withStore(func(store configstore.Store) error {
		rec, err := store.Get(ctx, args[0])
		if err != nil {
			return err // names the client
		}
		info := describeClient(rec)
		if c.json {
			return c.printJSON(info)
		}
		return c.printJSON(info.Config)
	})
}
