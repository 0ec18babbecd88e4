package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func clientValidateCommand() *cobra.Command {
	cmd := command("validate FILE|-", "Checks configurations and reports every fault; writes nothing",
		"  caddy webordinary client validate amelia.json\n  caddy webordinary client validate - --json <clients.jsonl",
		cobra.ExactArgs(1), runClientValidate)
	cmd.Long = `Checks configurations as put does before it writes: one configuration, an array of
them, or one per line; "-" is the standard input. Every fault is reported on a line of
its own with the path of its field. Whether a host is another client's, only put finds
out.

With --json the faults are printed as JSON.`
	return cmd
}

// validation is the answer of `client validate --json`.
type validation struct {
	Valid  int          `json:"valid"`
	Faults []inputFault `json:"faults"`
}

func runClientValidate(ctx context.Context, c *cli, args []string) error {
	clients, err := c.readClients(ctx, args[0])
	if c.json {
		result := validation{Valid: len(clients), Faults: []inputFault{}}
		if invalid, ok := errors.AsType[*inputError](err); ok {
			result = validation{Valid: invalid.valid, Faults: invalid.faults}
		} else if err != nil {
			return err
		}
		return errors.Join(c.printJSON(result), err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%d valid\n", len(clients))
	return err
}
