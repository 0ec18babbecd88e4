// Package embedded is a session registry in a SQLite file: for one machine, without
// any service beside it. An edge and the CLI may have the file open at once, and the
// embedded config store may be in the same file; each keeps to tables of its own.
package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/webordinary/router/sessions"
)

// busyTimeout is how long a statement waits for another process's write to end.
const busyTimeout = 5 * time.Second

// lockPoll is how often opening is tried again while others open the file.
const lockPoll = 10 * time.Millisecond

// maxConns bounds the connections of one process: one writes, the others read.
const maxConns = 4

// Registry keeps session records in a SQLite file.
type Registry struct {
	db *sql.DB
	// writer has room for one: writers of this process wait here, in turn, not in
	// SQLite's busy handler, which polls.
	writer chan struct{}
}

// Open opens or makes the registry in the file at path. The file is readable by its
// owner only: it holds the tokens of running containers. Its folder is made if need be.
func Open(path string) (*Registry, error) {
	if err := restrict(path); err != nil {
		return nil, fmt.Errorf("opening session registry: %w", err)
	}
	// synchronous=normal: in WAL mode a crash of the process loses nothing, a power
	// cut may lose the last writes, with the containers that they spoke of.
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
			"journal_mode(wal)",
			"synchronous(normal)",
		},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening session registry: %w", err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	r := &Registry{db: db, writer: make(chan struct{}, 1)}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening session registry %s: %w", path, err), db.Close())
	}
	return r, nil
}

// prepare is migrate, but waits for others who open the file at the same time: of those
// who are about to give a new one its journal SQLite lets none wait.
func (r *Registry) prepare() error {
	for deadline := time.Now().Add(busyTimeout); ; <-time.After(lockPoll) {
		err := r.migrate(context.Background())
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
	}
}

// restrict makes the file and its folder, if need be, and takes the file from all but its
// owner. SQLite gives the same mode to the files it puts beside it.
func restrict(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// Close closes the file.
func (r *Registry) Close() error {
	if err := r.db.Close(); err != nil {
		return fmt.Errorf("closing session registry: %w", err)
	}
	return nil
}

// Create adds a session. See sessions.Registry.
func (r *Registry) Create(ctx context.Context, rec sessions.Record, limit int) (sessions.Record, error) {
	rec.Version = 1
	err := r.write(ctx, func(tx *sql.Tx) error {
		var taken string
		err := tx.QueryRowContext(ctx, `SELECT session_id FROM edit_sessions WHERE client_id = ? AND thread_id = ?`,
			rec.ClientID, rec.ThreadID).Scan(&taken)
		if err == nil && taken != rec.SessionID {
			return &sessions.ThreadTakenError{ThreadID: rec.ThreadID, SessionID: taken}
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := stored(ctx, tx, rec.SessionID); err == nil {
			return sessions.ErrConflict
		} else if !errors.Is(err, sessions.ErrNotFound) {
			return err
		}
		if rec.HoldsSlot() {
			if err := slotFree(ctx, tx, rec.ClientID, limit); err != nil {
				return err
			}
		}
		row, err := encode(rec)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edit_sessions
			(session_id, client_id, thread_id, version, status, holds_slot, ask_at, record)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			rec.SessionID, rec.ClientID, rec.ThreadID, rec.Version, statusOf(rec), rec.HoldsSlot(), askAt(rec), row)
		return err
	})
	if err != nil {
		return sessions.Record{}, fmt.Errorf("creating session of client %q: %w", rec.ClientID, err)
	}
	return rec, nil
}

// statusOf is a record's status as the schema has it: an active session with a lease is
// unsettled.
func statusOf(rec sessions.Record) string {
	if rec.Status == sessions.StatusActive && rec.Lease != nil {
		return "doubted"
	}
	return string(rec.Status)
}

// Update replaces a session. See sessions.Registry.
func (r *Registry) Update(ctx context.Context, rec sessions.Record, limit int) (sessions.Record, error) {
	err := r.write(ctx, func(tx *sql.Tx) error {
		old, err := stored(ctx, tx, rec.SessionID)
		if err != nil {
			return err
		}
		if old.Version != rec.Version {
			return sessions.ErrConflict
		}
		if old.ClientID != rec.ClientID || old.ThreadID != rec.ThreadID {
			return errors.New("a session's client and thread never change")
		}
		if rec.HoldsSlot() && !old.HoldsSlot() {
			if err := slotFree(ctx, tx, rec.ClientID, limit); err != nil {
				return err
			}
		}
		rec.Version++
		row, err := encode(rec)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE edit_sessions
			SET version = ?, status = ?, holds_slot = ?, ask_at = ?, record = ? WHERE session_id = ?`,
			rec.Version, statusOf(rec), rec.HoldsSlot(), askAt(rec), row, rec.SessionID)
		return err
	})
	if err != nil {
		return sessions.Record{}, fmt.Errorf("updating session of client %q: %w", rec.ClientID, err)
	}
	return rec, nil
}

// Delete removes a session. See sessions.Registry.
func (r *Registry) Delete(ctx context.Context, id string, version int64) error {
	err := r.write(ctx, func(tx *sql.Tx) error {
		old, err := stored(ctx, tx, id)
		if err != nil {
			return err
		}
		if old.Version != version {
			return sessions.ErrConflict
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM edit_sessions WHERE session_id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting session: %w", err)
	}
	return nil
}

// write runs fn in one transaction which is a writer's from its beginning, so that
// what fn reads is still so when it writes.
func (r *Registry) write(ctx context.Context, fn func(*sql.Tx) error) error {
	select {
	case r.writer <- struct{}{}:
		defer func() { <-r.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return classify(ctx, err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it has nothing to do
	if err := fn(tx); err != nil {
		return classify(ctx, err)
	}
	return classify(ctx, tx.Commit())
}

// slotFree returns ErrLimit if the client has limit sessions that hold a slot.
func slotFree(ctx context.Context, tx *sql.Tx, clientID string, limit int) error {
	var held int
	if err := tx.QueryRowContext(ctx,
		`SELECT COUNT(*) FROM edit_sessions WHERE client_id = ? AND holds_slot = 1`, clientID).Scan(&held); err != nil {
		return err
	}
	if held >= limit {
		return sessions.ErrLimit
	}
	return nil
}

// encode returns the record as it is stored. The version has a column of its own as
// well, by which rows can be looked at by hand.
func encode(rec sessions.Record) (string, error) {
	b, err := json.Marshal(rec)
	if err != nil {
		return "", fmt.Errorf("encoding session: %w", err)
	}
	return string(b), nil
}

// askAt is a record's place in the order of Due, NULL for none.
func askAt(rec sessions.Record) any {
	if rec.Status != sessions.StatusActive || rec.AskAt.IsZero() {
		return nil
	}
	return rec.AskAt.UnixNano()
}
