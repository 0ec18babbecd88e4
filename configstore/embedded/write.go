package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/webordinary/router/configstore"
)

// Put implements configstore.Store.
func (s *Store) Put(ctx context.Context, c configstore.Client, expect int64) (configstore.Record, error) {
	records, err := s.PutAll(ctx, []configstore.Write{{Client: c, Expect: expect}})
	if err != nil {
		return configstore.Record{}, err
	}
	return records[0], nil
}

// PutAll implements configstore.Store.
func (s *Store) PutAll(ctx context.Context, writes []configstore.Write) ([]configstore.Record, error) {
	if err := configstore.CheckWrites(writes); err != nil || len(writes) == 0 {
		return nil, err
	}
	var stored []configstore.Record
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		stored, err = s.putAll(ctx, tx, writes)
		return err
	})
	var named *configstore.WriteError
	switch {
	case err == nil:
		return stored, nil
	case errors.As(err, &named):
		return nil, &configstore.WriteError{ClientID: named.ClientID, Err: translate(named.Err)}
	case len(writes) == 1:
		return nil, &configstore.WriteError{ClientID: writes[0].Client.ClientID, Err: translate(err)}
	default:
		return nil, fmt.Errorf("putting %d clients: %w", len(writes), translate(err))
	}
}

// putAll checks all writes and releases the hosts of all before it claims those of any, so
// that hosts may move among them.
func (s *Store) putAll(ctx context.Context, tx *sql.Tx, writes []configstore.Write) ([]configstore.Record, error) {
	held := make([]*row, len(writes))
	for i, w := range writes {
		var err error
		var record *configstore.Record
		if held[i], err = heldRow(ctx, tx, w.Client.ClientID); held[i] != nil {
			record = new(held[i].record())
		}
		if err == nil {
			err = w.Check(record)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM configstore_hosts WHERE client_id = ?`, w.Client.ClientID)
		}
		if err != nil {
			return nil, &configstore.WriteError{ClientID: w.Client.ClientID, Err: err}
		}
	}
	stored := make([]configstore.Record, len(writes))
	for i, w := range writes {
		var err error
		if stored[i], err = s.replace(ctx, tx, held[i], w.Client); err != nil {
			return nil, &configstore.WriteError{ClientID: w.Client.ClientID, Err: err}
		}
	}
	return stored, nil
}

// Delete implements configstore.Store.
func (s *Store) Delete(ctx context.Context, id string, expect int64) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		held, err := heldRow(ctx, tx, id)
		if err != nil {
			return err
		}
		if held == nil {
			return configstore.ErrNotFound
		}
		if expect != configstore.AnyVersion && expect != held.version {
			return &configstore.ConflictError{ClientID: id, Have: held.version, Expect: expect}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM configstore_clients WHERE id = ?`, id); err != nil {
			return err
		}
		return s.log(ctx, tx, id, held.version+1, true)
	})
	if err != nil {
		return fmt.Errorf("deleting client %q: %w", id, translate(err))
	}
	return nil
}

// write runs fn in a transaction that holds the write lock from its beginning.
func (s *Store) write(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // err is what matters; the connection is dropped if this fails
		return err
	}
	return tx.Commit()
}

// heldRow returns a client's row; nil if there is none.
func heldRow(ctx context.Context, tx *sql.Tx, id string) (*row, error) {
	r, err := scanRow(tx.QueryRowContext(ctx, selectRows+` WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// replace writes the row, its claims and its change.
func (s *Store) replace(ctx context.Context, tx *sql.Tx, held *row, c configstore.Client) (configstore.Record, error) {
	now := s.now().UTC().Truncate(time.Microsecond)
	r := configstore.Record{Client: c, Version: 1, CreatedAt: now, UpdatedAt: now}
	if held != nil {
		r.Version, r.CreatedAt = held.version+1, held.createdAt
		// A row that cannot be read has nothing to keep.
		if old := held.record(); old.Broken == "" {
			r.Client = configstore.MergeUnknown(c, old.Client.Unknown)
		}
	} else {
		err := tx.QueryRowContext(ctx, `SELECT version + 1 FROM configstore_changes WHERE client_id = ?`, c.ClientID).Scan(&r.Version)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return configstore.Record{}, err
		}
	}
	config, err := configstore.EncodeStored(r.Client)
	if err != nil {
		return configstore.Record{}, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO configstore_clients (id, config, version, created_at, updated_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET config = excluded.config, version = excluded.version, updated_at = excluded.updated_at`,
		c.ClientID, string(config), r.Version, r.CreatedAt.UnixMicro(), r.UpdatedAt.UnixMicro())
	if err != nil {
		return configstore.Record{}, err
	}
	if err := claim(ctx, tx, c); err != nil {
		return configstore.Record{}, err
	}
	return r, s.log(ctx, tx, c.ClientID, r.Version, false)
}

// claim claims the hosts of a client, which holds none.
func claim(ctx context.Context, tx *sql.Tx, c configstore.Client) error {
	hosts, err := c.EditHosts()
	if err != nil {
		return err
	}
	for _, host := range hosts {
		_, err := tx.ExecContext(ctx, `INSERT INTO configstore_hosts (host, client_id) VALUES (?, ?)`, host, c.ClientID)
		if isConstraint(err) {
			return &configstore.HostTakenError{Host: host}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// log records a change as the newest one, and forgets the oldest.
func (s *Store) log(ctx context.Context, tx *sql.Tx, id string, version int64, deleted bool) error {
	var seq int64
	if err := tx.QueryRowContext(ctx, `UPDATE configstore_log SET seq = seq + 1 RETURNING seq`).Scan(&seq); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM configstore_changes WHERE client_id = ?`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO configstore_changes (seq, client_id, version, deleted) VALUES (?, ?, ?, ?)`,
		seq, id, version, deleted); err != nil {
		return err
	}
	var trimmed sql.NullInt64
	err := tx.QueryRowContext(ctx, `SELECT max(seq) FROM configstore_changes WHERE seq <= ?`, seq-int64(s.keep)).Scan(&trimmed)
	if err != nil || !trimmed.Valid {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM configstore_changes WHERE seq <= ?`, trimmed.Int64); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE configstore_log SET trimmed = ?`, trimmed.Int64)
	return err
}
