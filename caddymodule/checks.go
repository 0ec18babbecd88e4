package caddymodule

import (
	"context"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/runner/ecs"
)

// TableMaker is implemented by guests that keep their data in tables which an operator
// creates, by `caddy webordinary tables create`.
type TableMaker interface {
	// CreateTables makes what is missing of the tables, or with dryRun says what it would
	// make: nothing where all is as it should be. The error comes beside what was done.
	CreateTables(ctx context.Context, dryRun bool) ([]TableChange, error)
}

// SessionImporter is implemented by registries whose table may hold sessions of older
// tools, for `caddy webordinary session import`.
type SessionImporter interface {
	// ImportSessions gives those sessions the shape of this version, or with dryRun only
	// looks at them, and tells of each. An error of report ends it.
	ImportSessions(ctx context.Context, dryRun bool, report func(ImportedSession) error) error
}

// ImportedSession is what becomes of one session of the older tools.
type ImportedSession struct {
	SessionID string `json:"sessionId"`
	ClientID  string `json:"clientId,omitempty"`
	ThreadID  string `json:"threadId,omitempty"`
	// Task is what an older tool started for it, and what may still run.
	Task string `json:"task,omitempty"`
	// OwnedBy is the session that has its thread instead of it, as the one used last.
	OwnedBy string `json:"ownedBy,omitempty"`
	// Fault says why it stays as it is.
	Fault string `json:"fault,omitempty"`
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

// findingsOf are those of what lies on AWS.
func findingsOf[F dynamo.Finding | ecs.Finding](found []F) []Finding {
	findings := make([]Finding, 0, len(found))
	for _, f := range found {
		findings = append(findings, Finding(f))
	}
	return findings
}

func fine(check, detail string) Finding { return Finding{Check: check, OK: true, Detail: detail} }

func failing(check, detail, remedy string) Finding {
	return Finding{Check: check, Detail: detail, Remedy: remedy}
}

// guests are the app's guests, in the order in which they are set up.
func (a *App) guests() []any { return []any{a.configStore, a.registry, a.runner} }
