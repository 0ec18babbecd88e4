package embedded

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// migrations[i] takes the tables from version i to i+1. The file is shared with other
// packages, so that its user_version is not ours to use.
var migrations = [...]string{`
CREATE TABLE configstore_clients (
	id         TEXT PRIMARY KEY,
	config     TEXT NOT NULL,    -- JSON, as of configstore.EncodeStored
	version    INTEGER NOT NULL,
	created_at INTEGER NOT NULL, -- Unix microseconds
	updated_at INTEGER NOT NULL
);
CREATE TABLE configstore_hosts (
	host      TEXT PRIMARY KEY,
	client_id TEXT NOT NULL REFERENCES configstore_clients (id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX configstore_hosts_by_client ON configstore_hosts (client_id);

-- The latest change of each client. Tombstones keep the version of a deleted client, so
-- that one of the same name goes on counting from there.
CREATE TABLE configstore_changes (
	seq       INTEGER PRIMARY KEY,
	client_id TEXT NOT NULL UNIQUE,
	version   INTEGER NOT NULL,
	deleted   INTEGER NOT NULL
);

-- One row: the id of this data, the last seq given out, and the last one forgotten.
CREATE TABLE configstore_log (
	store   TEXT NOT NULL,
	seq     INTEGER NOT NULL,
	trimmed INTEGER NOT NULL
);
`}

// prepareTables returns the id of the data. It takes the write lock only where tables
// are missing or old: reading must not wait for anybody's write.
func (s *Store) prepareTables(ctx context.Context) (id string, err error) {
	var version int
	err = s.reader.QueryRowContext(ctx, `SELECT version, store FROM configstore_schema, configstore_log`).Scan(&version, &id)
	if err == nil && version == len(migrations) {
		return id, nil
	}
	return migrate(ctx, s.writer)
}

// migrate brings the tables up to date and returns the id of the data.
func migrate(ctx context.Context, db *sql.DB) (id string, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after a commit

	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS configstore_schema (version INTEGER NOT NULL)`); err != nil {
		return "", err
	}
	var version int
	err = tx.QueryRowContext(ctx, `SELECT version FROM configstore_schema`).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.ExecContext(ctx, `INSERT INTO configstore_schema (version) VALUES (0)`)
	}
	if err != nil {
		return "", err
	}
	if version > len(migrations) {
		return "", fmt.Errorf("its tables have version %d, this program knows %d: a newer version made them", version, len(migrations))
	}
	for i, statements := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, statements); err != nil {
			return "", fmt.Errorf("upgrading tables to version %d: %w", version+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE configstore_schema SET version = ?`, len(migrations)); err != nil {
		return "", err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO configstore_log (store, seq, trimmed)
		SELECT ?, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM configstore_log)`, rand.Text()); err != nil {
		return "", err
	}
	if err := tx.QueryRowContext(ctx, `SELECT store FROM configstore_log`).Scan(&id); err != nil {
		return "", err
	}
	return id, tx.Commit()
}
