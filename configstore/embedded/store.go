// Package embedded is the configstore.Store on a SQLite file: the default where there is
// no cloud. Several processes may have the file open at once, such as an edge and the
// command line, and other packages may keep tables of their own in it.
package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/webordinary/router/configstore"
)

// Options tune a Store. The zero value is ready to use.
type Options struct {
	// KeepChanges is how many clients' latest changes the change log holds. A
	// follower that is further behind must scan again. Default: 10,000.
	KeepChanges int
	// BusyTimeout is how long a call waits for another process's write before it
	// is ErrUnavailable. Default: 5s.
	BusyTimeout time.Duration
	// Now is the clock of CreatedAt and UpdatedAt. Default: time.Now.
	Now func() time.Time
}

const (
	// openTimeout bounds creating or upgrading the tables.
	openTimeout = 30 * time.Second
	// lockPoll is how often opening is tried again while others open the file.
	lockPoll = 10 * time.Millisecond
	// readers is the number of connections that read at the same time.
	readers = 4
)

// Store is a configstore.Store. See Open.
type Store struct {
	// One connection writes, so that writers of this process queue up in order
	// rather than wait for each other by polling.
	writer *sql.DB
	reader *sql.DB
	// id tells this data from that of another file, in positions.
	id   string
	keep int
	now  func() time.Time
}

// Open opens the database at path, and makes what is missing of it: the folder (mode
// 0700), the file (0600) and the tables. It returns ErrUnavailable where that cannot be
// done, and another error for tables that a newer version made.
func Open(path string, o Options) (*Store, error) {
	if o.KeepChanges <= 0 {
		o.KeepChanges = 10_000
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := prepareFile(path); err != nil {
		return nil, fmt.Errorf("opening config store %s: %w: %w", path, configstore.ErrUnavailable, err)
	}
	s := &Store{keep: o.KeepChanges, now: o.Now}
	var err error
	if s.writer, err = connect(path, 1, o.BusyTimeout); err != nil {
		return nil, fmt.Errorf("opening config store %s: %w", path, err)
	}
	if s.reader, err = connect(path, readers, o.BusyTimeout); err != nil {
		return nil, errors.Join(fmt.Errorf("opening config store %s: %w", path, err), s.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if s.id, err = s.prepare(ctx, o.BusyTimeout); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", configstore.ErrUnavailable, err)
		}
		return nil, errors.Join(fmt.Errorf("opening config store %s: %w", path, translate(err)), s.Close())
	}
	return s, nil
}

// prepare is prepareTables, but waits for others who open the file at the same time: of
// those who are about to give a new one its journal SQLite lets none wait.
func (s *Store) prepare(ctx context.Context, busyTimeout time.Duration) (id string, _ error) {
	for deadline := time.Now().Add(busyTimeout); ; {
		id, err := s.prepareTables(ctx)
		if code, _ := resultCode(err); code != sqlite3.SQLITE_BUSY || time.Now().After(deadline) {
			return id, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return "", err
		}
	}
}

// Close closes the connections.
func (s *Store) Close() error {
	err := s.writer.Close()
	if s.reader != nil {
		err = errors.Join(err, s.reader.Close())
	}
	if err != nil {
		return fmt.Errorf("closing config store: %w", err)
	}
	return nil
}

// prepareFile makes the folder and the file for their owner only: configs hold keys.
// SQLite gives the files beside it the mode of the database.
func prepareFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Chmod(0o600), file.Close())
}

func connect(path string, connections int, busyTimeout time.Duration) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := url.Values{
		// Transactions that are not marked read-only take the write lock at once:
		// one that has read before would fail rather than wait for it.
		"_txlock": {"immediate"},
		"_pragma": {
			fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
			"journal_mode(WAL)",
			"synchronous(FULL)", // a change that was acknowledged survives a power cut
			"foreign_keys(1)",
		},
	}
	dsn := url.URL{Scheme: "file", Path: absolute, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

var _ configstore.Store = (*Store)(nil)
