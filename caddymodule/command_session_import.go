package caddymodule

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func sessionImportCommand() *cobra.Command {
	cmd := command("import", "Upgrades the sessions of older tools in the registry's table",
		"  caddy webordinary session import --dry-run   # the plan alone\n  caddy webordinary session import             # after asking",
		cobra.NoArgs, runSessionImport)
	cmd.Long = `Gives the rows that older tools wrote into the registry's table the shape of this
version, in which their threads are known and all of them are listed. Their ids, and
what else a row holds, stay. Where several had one thread, the one used last keeps it,
and the others can be reached by their ids alone.

It is for when the older tools run no more. Their containers do not come along: it
names the tasks that may still run, for you to stop.

The plan is printed first; it is carried out with --yes, or after asking on a terminal.
Rows that are faulty are listed and left as they are, and the exit code is 1. It may be
repeated, and goes on where it was interrupted.`
	addPlanFlags(cmd)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

// importedSessions is the answer of `session import --json`.
type importedSessions struct {
	Sessions []ImportedSession `json:"sessions"`
	// Written is how many of them were written.
	Written int `json:"written"`
}

func runSessionImport(ctx context.Context, c *cli, _ []string) error {
	yes, dry, err := planFlags(c.cmd)
	if err != nil {
		return err
	}
	importer, ok := c.app.registry.(SessionImporter)
	if !ok {
		return errors.New("the configuration's session registry never held sessions of older tools")
	}
	done := importedSessions{Sessions: []ImportedSession{}}
	faulty := 0
	err = importer.ImportSessions(ctx, true, func(s ImportedSession) error {
		done.Sessions = append(done.Sessions, s)
		if s.Fault != "" {
			faulty++
		}
		return c.showImported(s)
	})
	if err != nil {
		return fmt.Errorf("reading sessions to import: %w", err)
	}
	todo := len(done.Sessions) - faulty
	if todo > 0 && !dry {
		if !yes {
			if err := c.ask(ctx, fmt.Sprintf("Write %d %s?", todo, plural(todo, "session")), nil); err != nil {
				return err
			}
		}
		err = importer.ImportSessions(ctx, false, func(s ImportedSession) error {
			if s.Fault == "" {
				done.Written++
			}
			return nil
		})
	}
	if faulty > 0 {
		err = errors.Join(err, fmt.Errorf("left as they are: %d faulty; mend them, then import again", faulty))
	}
	if c.json {
		return errors.Join(err, c.printJSON(done))
	}
	if dry {
		return errors.Join(err, c.note("dry run: nothing was written"))
	}
	_, printErr := fmt.Fprintf(c.out, "%d of %d %s written\n", done.Written, todo, plural(todo, "session"))
	return errors.Join(err, printErr)
}

// showImported prints what becomes of a session.
func (c *cli) showImported(s ImportedSession) error {
	if c.json {
		return nil
	}
	text := fmt.Sprintf("%s: client %s, thread %s", s.SessionID, s.ClientID, s.ThreadID)
	switch {
	case s.Fault != "":
		text = s.SessionID + ": left as it is: " + s.Fault
	case s.OwnedBy != "":
		text += ", which stays that of " + s.OwnedBy
	}
	if s.Task != "" {
		text += "; task " + s.Task + " may still run"
	}
	_, err := fmt.Fprintln(c.out, text)
	return err
}
