package caddymodule

import (
	"context"
)

// TableMaker is implemented by guests that keep their data in tables which an operator
// creates, by `caddy webordinary tables create`.
type TableMaker interface {
	// CreateTables makes what is missing of the tables, or with dryRun says what it would
	// make: nothing where all is as it should be. The error comes beside what was done.
	CreateTables(ctx context.Context, dryRun bool) ([]TableChange, error)
}

// TableChange is one thing that is done to a table.
type TableChange struct {
	Table string `json:"table"`
	// Change says it in words ("create it, billed on demand").
	Change string `json:"change"`
}

// Examiner is implemented by guests that can say whether what they need is there, for
// `caddy webordinary doctor`. It may use the network, and changes nothing.
type Examiner interface {
	// Examine returns what was looked at, good or bad, within some seconds.
	Examine(ctx context.Context, dataDir string) []Finding
}

// Finding is one thing that was looked at.
type Finding struct {
	// Check names it ("data folder").
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	// Detail says what was found.
	Detail string `json:"detail"`
	// Remedy says what to do; empty where all is well.
	Remedy string `json:"remedy,omitempty"`
}

// String is "ok    check: detail" or "FAIL  check: detail: what to do".
func (f Finding) String() string {
	if f.OK {
		return "ok    " + f.Check + ": " + f.Detail
	}
	text := "FAIL  " + f.Check + ": " + f.Detail
	if f.Remedy != "" {
		text += ": " + f.Remedy
	}
	return text
}

func fine(check, detail string) Finding { return Finding{Check: check, OK: true, Detail: detail} }

func failing(check, detail, remedy string) Finding {
	return Finding{Check: check, Detail: detail, Remedy: remedy}
}

// guests are the app's guests, in the order in which they are set up.
func (a *App) guests() []any { return []any{a.configStore, a.registry, a.runner} }
