package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "webordinary",
		Short: "Manages clients and their edit sessions, and checks what an edge needs",
		Long: `
Manages the clients of the router and their edit sessions.

Stores are found through the same configuration file that the edge runs with.
Client commands work whether or not an edge is running; waking and sleeping a
session is done by the running edge, through its admin endpoint.`,
		CobraFunc: webordinaryCommand,
	})
}

// webordinaryCommand sets up `caddy webordinary`.
func webordinaryCommand(cmd *cobra.Command) {
	cmd.PersistentFlags().String("config", "Caddyfile", "configuration file of the edge")
	cmd.PersistentFlags().Bool("json", false, "print JSON, for programs")
	_ = cmd.MarkPersistentFlagFilename("config") // fails only for a flag that does not exist
	cmd.AddCommand(clientCommand(), sessionCommand(), tablesCommand(), doctorCommand())
	group(cmd)
}

// cli is what a command works with.
type cli struct {
	cmd   *cobra.Command
	app   *App
	admin *adminClient
	json  bool
	out   io.Writer
	errs  io.Writer
}

// group makes a command of one that only has subcommands: alone it prints its help, and
// what it does not know is an error.
func group(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return cmd.Help()
		default:
			return fmt.Errorf("unknown command %q for %q: see --help", args[0], cmd.CommandPath())
		}
	}
}

// command makes a subcommand whose work is run. Errors are printed once, by cobra.
func command(use, short, example string, args cobra.PositionalArgs, run func(ctx context.Context, c *cli, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use:          use,
		Short:        short,
		Example:      example,
		Args:         usedAs(args),
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process
			c, closeCLI, err := newCLI(cmd)
			if err != nil {
				return err
			}
			defer closeCLI()
			return run(ctx, c, args)
		},
	}
}

// usedAs makes the fault of a command's arguments say how it is used.
func usedAs(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if args(cmd, given) != nil {
			return fmt.Errorf("wrong number of arguments (%d): the command is `%s`", len(given), cmd.UseLine())
		}
		return nil
	}
}

// newCLI reads the configuration file that the command's flags name.
func newCLI(cmd *cobra.Command) (*cli, func(), error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, nil, err
	}
	asJSON, err := cmd.Flags().GetBool("json")
	if err != nil {
		return nil, nil, err
	}
	raw, err := readConfig(file)
	if err != nil {
		return nil, nil, err
	}
	app, closeApp, err := appOfConfig(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", file, err)
	}
	address, err := caddycmd.DetermineAdminAPIAddress("", raw, file, "")
	if err != nil {
		closeApp()
		return nil, nil, fmt.Errorf("reading %s: %w", file, err)
	}
	admin, err := newAdminClient(address, app.dataIdentity())
	if err != nil {
		closeApp()
		return nil, nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return &cli{cmd: cmd, app: app, admin: admin, json: asJSON, out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr()}, closeApp, nil
}

// readConfig returns a configuration file as JSON: a Caddyfile is adapted.
func readConfig(file string) ([]byte, error) {
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: name the edge's configuration file with --config", file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	if strings.EqualFold(filepath.Ext(file), ".json") {
		return body, nil
	}
	adapter := caddyconfig.GetAdapter("caddyfile")
	if adapter == nil {
		return nil, errors.New("this build has no Caddyfile adapter")
	}
	raw, _, err := adapter.Adapt(body, map[string]any{"filename": file})
	if err != nil {
		return nil, fmt.Errorf("adapting %s: %w", file, err)
	}
	return raw, nil
}

// appOfConfig provisions the app of a configuration, which opens nothing, without the
// rest of the configuration.
func appOfConfig(raw []byte) (*App, func(), error) {
	var cfg struct {
		Apps struct {
			Webordinary json.RawMessage `json:"webordinary"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return nil, nil, fmt.Errorf("decoding configuration: %w", err)
	}
	if cfg.Apps.Webordinary == nil {
		return nil, nil, errors.New("it has no global option webordinary, so it is not an edge's")
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(cfg.Apps.Webordinary, app); err != nil {
		cancel()
		return nil, nil, fmt.Errorf("decoding the webordinary app: %w", err)
	}
	if err := app.Provision(ctx); err != nil {
		cancel()
		return nil, nil, err
	}
	return app, func() {
		cancel()
		_ = app.Cleanup() // its state was never opened
	}, nil
}

// printJSON prints a value for programs.
func (c *cli) printJSON(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printTable prints rows for people, with the first as head.
func (c *cli) printTable(rows [][]string) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}
