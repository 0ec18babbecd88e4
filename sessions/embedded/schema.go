package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/webordinary/router/sessions"
)

// migrations are the steps from one version of the schema to the next. Version n is
// after the first n steps; a step never changes once it was released. The version is
// in a table of its own because PRAGMA user_version belongs to the whole file, which
// others may share.
var migrations = [...]string{
	`CREATE TABLE edit_sessions (
		session_id TEXT    NOT NULL PRIMARY KEY,
		client_id  TEXT    NOT NULL,
		thread_id  TEXT    NOT NULL,
		version    INTEGER NOT NULL,
		status     TEXT    NOT NULL,
		holds_slot INTEGER NOT NULL,
		ask_at     INTEGER,          -- nanoseconds since 1970; only while active
		record     TEXT    NOT NULL  -- JSON
	 ) WITHOUT ROWID;
	 CREATE UNIQUE INDEX edit_sessions_by_thread ON edit_sessions (client_id, thread_id);
	 CREATE INDEX edit_sessions_by_client ON edit_sessions (client_id, session_id);
	 CREATE INDEX edit_sessions_by_slot ON edit_sessions (client_id) WHERE holds_slot = 1;
	 CREATE INDEX edit_sessions_unsettled ON edit_sessions (session_id) WHERE holds_slot = 1 AND status <> 'active';
	 CREATE INDEX edit_sessions_due ON edit_sessions (ask_at) WHERE ask_at IS NOT NULL;`,
	`CREATE TABLE edit_sessions_duty (holder TEXT NOT NULL, beat INTEGER NOT NULL);
	 INSERT INTO edit_sessions_duty (holder, beat) VALUES ('', 0);`,
}

// migrate brings the schema to the version that this code knows.
func (r *Registry) migrate(ctx context.Context) error {
	return r.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx,
			`CREATE TABLE IF NOT EXISTS edit_sessions_schema (version INTEGER NOT NULL)`); err != nil {
			return err
		}
		var version int
		err := tx.QueryRowContext(ctx, `SELECT version FROM edit_sessions_schema`).Scan(&version)
		if errors.Is(err, sql.ErrNoRows) {
			_, err = tx.ExecContext(ctx, `INSERT INTO edit_sessions_schema (version) VALUES (0)`)
		}
		if err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("the file has version %d of the sessions' schema, written by a newer release; this one knows up to %d",
				version, len(migrations))
		}
		for _, step := range migrations[version:] {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE edit_sessions_schema SET version = ?`, len(migrations))
		return err
	})
}

func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// classify turns errors that another try may get over into ErrUnavailable, and those
// of an ended context into the context's; the rest it leaves as they are.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the primary code
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL:
			return fmt.Errorf("%w: %w", sessions.ErrUnavailable, err)
		}
	}
	return err
}
