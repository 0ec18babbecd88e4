package caddymodule

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/webordinary/router/configstore/bulk"
)

// mostNames is how many clients of a plan are named in a list that may hold all of them.
const mostNames = 20

// showPlan prints a plan for people: what is written in short, what is not in full.
func (c *cli) showPlan(plan bulk.Plan) error {
	var b strings.Builder
	for _, part := range []struct {
		outcome bulk.Outcome
		head    string
	}{
		{bulk.Create, "to create"},
		{bulk.Upgrade, "to upgrade"},
	} {
		rows := only(plan.Rows, func(r bulk.Planned) bool { return r.Outcome == part.outcome })
		if len(rows) > 0 {
			fmt.Fprintf(&b, "%d %s: %s\n", len(rows), part.head, names(rows))
		}
	}
	fmt.Fprintf(&b, "%d up to date\n", plan.Unchanged)
	for _, part := range []struct {
		outcome bulk.Outcome
		head    string
	}{
		{bulk.Conflict, "in conflict, left as they are"},
		{bulk.Faulty, "faulty, left as they are"},
	} {
		rows := only(plan.Rows, func(r bulk.Planned) bool { return r.Outcome == part.outcome })
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%d %s:\n", len(rows), part.head)
		for _, row := range rows {
			showReasons(&b, row)
		}
	}
	showDetails(&b, plan)
	_, err := fmt.Fprint(c.out, b.String())
	return err
}

// names lists the clients of rows; of many, the first.
func names(rows []bulk.Planned) string {
	var ids []string
	for _, row := range rows[:min(len(rows), mostNames)] {
		ids = append(ids, row.ClientID)
	}
	text := strings.Join(ids, ", ")
	if len(rows) > mostNames {
		text += fmt.Sprintf(", and %d more (--json names all)", len(rows)-mostNames)
	}
	return text
}

// showReasons prints a line for each reason why a row is left.
func showReasons(b *strings.Builder, row bulk.Planned) {
	name := row.ClientID
	if row.Place != "" {
		name = strings.TrimPrefix(name+", "+row.Place, ", ")
	}
	for _, reason := range row.Reasons {
		fmt.Fprintf(b, "  %s: %s\n", name, reason)
	}
}

// showDetails prints what becomes of single fields.
func showDetails(b *strings.Builder, plan bulk.Plan) {
	for _, row := range plan.Rows {
		if row.Outcome != bulk.Upgrade && row.Outcome != bulk.Create {
			continue
		}
		for _, change := range row.Changes {
			fmt.Fprintf(b, "%s: %s\n", row.ClientID, change)
		}
		if len(row.Kept) > 0 {
			fmt.Fprintf(b, "%s: unknown %s, kept: %s\n", row.ClientID, plural(len(row.Kept), "field"), strings.Join(row.Kept, ", "))
		}
		if len(row.Left) > 0 {
			fmt.Fprintf(b, "%s: beside the configuration, not kept: %s\n", row.ClientID, strings.Join(row.Left, ", "))
		}
	}
}

// addPlanFlags gives a command that shows what it would write, and asks, its two flags.
func addPlanFlags(cmd *cobra.Command) {
	cmd.Flags().Bool("yes", false, "carry the plan out without asking")
	cmd.Flags().Bool("dry-run", false, "print the plan, and write nothing")
}

// planFlags returns them.
func planFlags(cmd *cobra.Command) (yes, dry bool, err error) {
	if yes, err = cmd.Flags().GetBool("yes"); err != nil {
		return false, false, err
	}
	if dry, err = cmd.Flags().GetBool("dry-run"); err != nil {
		return false, false, err
	}
	if yes && dry {
		return false, false, errors.New("--yes and --dry-run exclude each other")
	}
	return yes, dry, nil
}
