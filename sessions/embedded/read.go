package embedded

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/webordinary/router/sessions"
)

// rower is what *sql.DB and *sql.Tx have in common for reading one row.
type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// stored reads a record. ErrNotFound.
func stored(ctx context.Context, q rower, id string) (sessions.Record, error) {
	return one(q.QueryRowContext(ctx, `SELECT record FROM edit_sessions WHERE session_id = ?`, id))
}

func one(row *sql.Row) (sessions.Record, error) {
	var text string
	if err := row.Scan(&text); errors.Is(err, sql.ErrNoRows) {
		return sessions.Record{}, sessions.ErrNotFound
	} else if err != nil {
		return sessions.Record{}, err
	}
	return decode(text)
}

func decode(text string) (sessions.Record, error) {
	var rec sessions.Record
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		return sessions.Record{}, fmt.Errorf("decoding stored session: %w", err)
	}
	return rec, nil
}

// Get returns a session. See sessions.Registry.
func (r *Registry) Get(ctx context.Context, id string) (sessions.Record, error) {
	rec, err := stored(ctx, r.db, id)
	if err != nil {
		return sessions.Record{}, fmt.Errorf("reading session: %w", classify(ctx, err))
	}
	return rec, nil
}

// ByThread returns the session of a thread. See sessions.Registry.
func (r *Registry) ByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	rec, err := one(r.db.QueryRowContext(ctx,
		`SELECT record FROM edit_sessions WHERE client_id = ? AND thread_id = ?`, clientID, threadID))
	if err != nil {
		return sessions.Record{}, fmt.Errorf("reading session of thread %q: %w", threadID, classify(ctx, err))
	}
	return rec, nil
}

// List returns a page of sessions. See sessions.Registry.
func (r *Registry) List(ctx context.Context, clientID, after string, limit int) ([]sessions.Record, error) {
	if clientID == "" {
		return r.records(ctx, "listing sessions",
			`SELECT record FROM edit_sessions WHERE session_id > ? ORDER BY session_id LIMIT ?`, after, limit)
	}
	return r.records(ctx, "listing sessions",
		`SELECT record FROM edit_sessions WHERE client_id = ? AND session_id > ? ORDER BY session_id LIMIT ?`,
		clientID, after, limit)
}

// Due returns the active sessions to ask. See sessions.Registry.
func (r *Registry) Due(ctx context.Context, t time.Time, limit int) ([]sessions.Record, error) {
	return r.records(ctx, "reading due sessions",
		`SELECT record FROM edit_sessions WHERE ask_at <= ? ORDER BY ask_at, session_id LIMIT ?`, t.UnixNano(), limit)
}

// Unsettled returns what a dead edge may have left behind. See sessions.Registry.
func (r *Registry) Unsettled(ctx context.Context, limit int) ([]sessions.Record, error) {
	return r.records(ctx, "reading unsettled sessions",
		`SELECT record FROM edit_sessions WHERE holds_slot = 1 AND status <> 'active'
		 ORDER BY session_id LIMIT ?`, limit)
}

// Running returns which sessions of a client hold a slot. See sessions.Registry.
func (r *Registry) Running(ctx context.Context, clientID string) ([]string, error) {
	const doing = "reading running sessions"
	rows, err := r.db.QueryContext(ctx,
		`SELECT session_id FROM edit_sessions WHERE client_id = ? AND holds_slot = 1 ORDER BY session_id`, clientID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, classify(ctx, err))
	}
	ids, err := collect(rows, func(text string) (string, error) { return text, nil })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, classify(ctx, err))
	}
	return ids, nil
}

func (r *Registry) records(ctx context.Context, doing, query string, args ...any) ([]sessions.Record, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, classify(ctx, err))
	}
	recs, err := collect(rows, decode)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, classify(ctx, err))
	}
	return recs, nil
}

// collect reads rows of one text column, to their end.
func collect[T any](rows *sql.Rows, decode func(string) (T, error)) ([]T, error) {
	defer rows.Close()
	var all []T
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		v, err := decode(text)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
