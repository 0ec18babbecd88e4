package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
)

func clientDeleteCommand() *cobra.Command {
	cmd := command("delete ID", "Removes a client; its hosts answer 404 within seconds",
		"  caddy webordinary client delete amelia\n  caddy webordinary client delete amelia --if-version 3",
		cobra.ExactArgs(1), runClientDelete)
	cmd.Long = `Removes a client and frees its hosts. Running edges answer 404 on them within 3
seconds. The records and branches of its sessions stay.

With --if-version it is only removed at that version.`
	addIfVersion(cmd)
	cmd.ValidArgsFunction = completeClients
	return cmd
}

func runClientDelete(ctx context.Context, c *cli, args []string) error {
	expect, err := ifVersion(c.cmd)
	if err != nil {
		return err
	}
	err = c.withStore(func(store configstore.Store) error { return store.Delete(ctx, args[0], expect) })
	if err != nil {
		return err // names the client
	}
	if c.json {
		return c.printJSON(map[string]string{"deleted": args[0]})
	}
	_, err = fmt.Fprintf(c.out, "%s  deleted\n", args[0])
	return err
}

// addIfVersion adds the flag --if-version, which offers the stored version to the shell.
func addIfVersion(cmd *cobra.Command) {
	cmd.Flags().Int64("if-version", 0, "only if this version is stored (0: a row of the older tools)")
	completeFlag(cmd, "if-version", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) != 1 || cmd.Name() != "delete" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, closeCLI, err := newCLI(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer closeCLI()
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		var version []string
		err = c.withStore(func(store configstore.Store) error {
			rec, err := store.Get(ctx, args[0])
			version = []string{strconv.FormatInt(rec.Version, 10)}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return version, cobra.ShellCompDirectiveNoFileComp
	})
}

// ifVersion returns the version that a command expects; AnyVersion without the flag.
func ifVersion(cmd *cobra.Command) (int64, error) {
	if !cmd.Flags().Changed("if-version") {
		return configstore.AnyVersion, nil
	}
	version, err := cmd.Flags().GetInt64("if-version")
	if err == nil && version < 0 {
		err = errors.New("--if-version: must not be negative")
	}
	return version, err
}
