package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// doctorTimeout bounds each part of an examination.
const doctorTimeout = 30 * time.Second

// doctorCommand is `caddy webordinary doctor`.
func doctorCommand() *cobra.Command {
	cmd := command("doctor", "Checks what the edge needs and says what to do",
		"  caddy webordinary doctor\n  caddy webordinary doctor --config /etc/caddy/Caddyfile --json", cobra.NoArgs, runDoctor)
	cmd.Long = `Checks whether what the edge of the configuration needs is there: its data folder and
stores (credentials, tables, indexes, permissions and the clock, where they are on AWS),
what its runner starts, and the edge itself if one runs. It changes nothing.

Each line begins with ok, or with FAIL and ends with what to do. The exit code is 1 where
any fails.`
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

func runDoctor(ctx context.Context, c *cli, _ []string) error {
	findings := []Finding{}
	failures := 0
	for _, examine := range []func(context.Context) []Finding{
		c.examineData, c.examineStore, c.examineRegistry, c.examineRunner, c.examineEdge,
	} {
		part, cancel := context.WithTimeout(ctx, doctorTimeout)
		found := examine(part)
		cancel()
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		for _, f := range found {
			if !f.OK {
				failures++
			}
			if c.json {
				continue
			}
			if _, err := fmt.Fprintln(c.out, f); err != nil {
				return err
			}
		}
		findings = append(findings, found...)
	}
	if c.json {
		if err := c.printJSON(findings); err != nil {
			return err
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d checks failed", failures, len(findings))
	}
	return nil
}
