package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/webordinary/router/configstore"
)

const selectRows = `SELECT id, config, version, created_at, updated_at FROM configstore_clients`

// row is a row of configstore_clients.
type row struct {
	id, config           string
	version              int64
	createdAt, updatedAt time.Time
}

func scanRow(from interface{ Scan(...any) error }) (row, error) {
	var r row
	var created, updated int64
	if err := from.Scan(&r.id, &r.config, &r.version, &created, &updated); err != nil {
		return row{}, err
	}
	r.createdAt, r.updatedAt = time.UnixMicro(created).UTC(), time.UnixMicro(updated).UTC()
	return r, nil
}

// record decodes a row. One that cannot be read, or that has another client's id, is
// a broken record.
func (r row) record() configstore.Record {
	record := configstore.Record{Version: r.version, CreatedAt: r.createdAt, UpdatedAt: r.updatedAt}
	client, err := configstore.DecodeStored([]byte(r.config))
	if err == nil && client.ClientID != r.id {
		err = errors.New("clientId: is not that of the row")
	}
	if err != nil {
		record.Client.ClientID = r.id
		record.Broken = err.Error()
		return record
	}
	record.Client = client
	return record
}

// Get implements configstore.Store.
func (s *Store) Get(ctx context.Context, id string) (configstore.Record, error) {
	r, err := scanRow(s.reader.QueryRowContext(ctx, selectRows+` WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = configstore.ErrNotFound
	}
	if err != nil {
		return configstore.Record{}, fmt.Errorf("getting client %q: %w", id, translate(err))
	}
	record := r.record()
	if record.Broken != "" {
		return configstore.Record{}, fmt.Errorf("getting client %q: %w: %s", id, configstore.ErrBroken, record.Broken)
	}
	return record, nil
}

// List implements configstore.Store.
func (s *Store) List(ctx context.Context, after string, limit int) ([]configstore.Record, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("listing clients: limit must be positive, got %d", limit)
	}
	var records []configstore.Record
	err := each(ctx, s.reader, func(rows *sql.Rows) error {
		r, err := scanRow(rows)
		if err == nil {
			records = append(records, r.record())
		}
		return err
	}, selectRows+` WHERE id > ? ORDER BY id LIMIT ?`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", translate(err))
	}
	return records, nil
}

// Scan implements configstore.Store. It reads one consistent state of the database,
// which a reader keeps without holding up writers.
func (s *Store) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	var at configstore.Position
	err := s.read(ctx, func(tx *sql.Tx) error {
		log, err := s.logState(ctx, tx)
		if err != nil {
			return err
		}
		at = s.position(log.seq)
		return each(ctx, tx, func(rows *sql.Rows) error {
			r, err := scanRow(rows)
			if err != nil {
				return err
			}
			return fn(r.record().Entry())
		}, selectRows)
	})
	if err != nil {
		return "", fmt.Errorf("scanning clients: %w", translate(err))
	}
	return at, nil
}

// Changes implements configstore.Store.
func (s *Store) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	var changes []configstore.Change
	var at configstore.Position
	err := s.read(ctx, func(tx *sql.Tx) error {
		log, err := s.logState(ctx, tx)
		if err != nil {
			return err
		}
		seq, ok := s.sequence(since)
		if !ok || seq < log.trimmed || seq > log.seq {
			return configstore.ErrPositionLost
		}
		at = s.position(log.seq)
		return each(ctx, tx, func(rows *sql.Rows) error {
			change, err := scanChange(rows)
			changes = append(changes, change)
			return err
		}, `SELECT h.client_id, h.version, h.deleted, coalesce(c.config, '') FROM configstore_changes h
			LEFT JOIN configstore_clients c ON c.id = h.client_id WHERE h.seq > ? ORDER BY h.seq`, seq)
	})
	if err != nil {
		return nil, "", fmt.Errorf("reading changes of clients: %w", translate(err))
	}
	return changes, at, nil
}

func scanChange(rows *sql.Rows) (configstore.Change, error) {
	var c configstore.Change
	var config string
	if err := rows.Scan(&c.ClientID, &c.Version, &c.Deleted, &config); err != nil {
		return configstore.Change{}, err
	}
	if !c.Deleted {
		c.Entry = row{id: c.ClientID, config: config, version: c.Version}.record().Entry()
	}
	return c, nil
}

// logState is how far the change log reaches.
type logState struct{ seq, trimmed int64 }

func (s *Store) logState(ctx context.Context, tx *sql.Tx) (logState, error) {
	var l logState
	err := tx.QueryRowContext(ctx, `SELECT seq, trimmed FROM configstore_log`).Scan(&l.seq, &l.trimmed)
	return l, err
}

// position is the store's id and a sequence number.
func (s *Store) position(seq int64) configstore.Position {
	return configstore.Position(s.id + ":" + strconv.FormatInt(seq, 10))
}

// sequence is false for a position that another database gave out.
func (s *Store) sequence(p configstore.Position) (seq int64, ok bool) {
	id, number, _ := strings.Cut(string(p), ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	return seq, err == nil && seq >= 0 && id == s.id
}

// read runs fn in a transaction that sees one state of the database.
func (s *Store) read(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return fn(tx)
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls fn for every row of a query.
func each(ctx context.Context, q querier, fn func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
