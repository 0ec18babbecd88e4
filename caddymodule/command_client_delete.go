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
	cmd.Flags().Var(new(versionFlag), "if-version", "only if this version is stored (0: a row of the older tools)")
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
	version, ok := cmd.Flags().Lookup("if-version").Value.(*versionFlag)
	if !ok {
		return 0, errors.New("--if-version: is no version")
	}
	return int64(*version), nil
}

// versionFlag is a version in a flag.
type versionFlag int64

// String is the number.
func (v *versionFlag) String() string { return strconv.FormatInt(int64(*v), 10) }

// Type is what stands for it in the help.
func (*versionFlag) Type() string { return "version" }

// Set reads it.
func (v *versionFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return errors.New("must be a number")
	case n < 0:
		return errors.New("must not be negative")
	}
	*v = versionFlag(n)
	return nil
}
