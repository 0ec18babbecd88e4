package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore"
)

// clientCommand is `caddy webordinary client`.
func clientCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client",
		Short: "Adds, changes, lists, imports and removes clients",
	}
	cmd.AddCommand(
		clientPutCommand(),
		clientGetCommand(),
		clientListCommand(),
		clientValidateCommand(),
		clientDeleteCommand(),
		clientImportCommand(),
	)
	group(cmd)
	return cmd
}

// withStore runs fn on the config store of the configuration.
func (c *cli) withStore(fn func(configstore.Store) error) (err error) {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return fn(store)
}

// openStore opens the config store of the configuration.
func (c *cli) openStore() (configstore.Store, error) {
	store, err := c.app.configStore.OpenConfigStore(c.app.DataDir)
	if err != nil {
		return nil, fmt.Errorf("opening config store: %w", err)
	}
	return store, nil
}

// clientInfo is a client as the CLI and the admin API show it: never with its key.
type clientInfo struct {
	ClientID string             `json:"clientId"`
	Config   configstore.Client `json:"config"`
	// Version is 0 for a row of the older tools.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
	// Broken says why the client cannot be served. Config has nothing but the id where
	// the row cannot even be read.
	Broken string `json:"broken,omitempty"`
}

// describeClient shows a record without its key.
func describeClient(r configstore.Record) clientInfo {
	return clientInfo{
		ClientID: r.Client.ClientID, Config: r.Client.Redacted(), Version: r.Version,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Broken: r.Entry().Fault(),
	}
}

// completionTimeout bounds what the shell waits for after a Tab.
const completionTimeout = 3 * time.Second

// completeClients offers the ids of clients to the shell.
func completeClients(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, closeCLI, err := newCLI(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer closeCLI()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var ids []string
	err = c.withStore(func(store configstore.Store) error {
		page, err := store.List(ctx, before(typed), pageSize)
		for _, rec := range page {
			ids = append(ids, rec.Client.ClientID)
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// before returns an id after which every id that begins with a prefix is listed.
func before(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]-1) + "~" // which no id holds, and which is behind all that ids hold
}

// completeFlag has a flag's values offered by fn.
func completeFlag(cmd *cobra.Command, flag string, fn cobra.CompletionFunc) {
	_ = cmd.RegisterFlagCompletionFunc(flag, fn) // fails only for a flag that does not exist
}
