package embedded_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/embedded"
	"github.com/webordinary/router/sessions/registrytest"
)

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Options{
		Open: func(t *testing.T) (sessions.Registry, func() sessions.Registry) {
			t.Helper()
			path := filepath.Join(t.TempDir(), "a folder?", "router.db")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			reopen := func() sessions.Registry {
				r, err := embedded.Open(path)
				require.NoError(t, err)
				return r
			}
			return reopen(), reopen
		},
	})
}

func openFile(t *testing.T) (*embedded.Registry, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "router.db")
	r, err := embedded.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r, path
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.db")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	r, err := embedded.Open(path)
	require.NoError(t, err)
	defer r.Close()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e.Name())
	}
}

func TestSharesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.db")
	other, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer other.Close()
	_, err = other.ExecContext(t.Context(), `PRAGMA user_version = 42; CREATE TABLE clients (id TEXT)`)
	require.NoError(t, err)

	r, err := embedded.Open(path)
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Create(t.Context(), sessions.Record{SessionID: "s", ClientID: "c", ThreadID: "t"}, 1)
	require.NoError(t, err)

	var version int
	require.NoError(t, other.QueryRowContext(t.Context(), `PRAGMA user_version`).Scan(&version))
	assert.Equal(t, 42, version)
	_, err = other.ExecContext(t.Context(), `INSERT INTO clients VALUES ('c')`)
	require.NoError(t, err)
}

func TestRefusesNewerSchema(t *testing.T) {
	r, path := openFile(t)
	require.NoError(t, r.Close())
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `UPDATE edit_sessions_schema SET version = 99`)
	require.NoError(t, err)
	_, err = embedded.Open(path)
	require.ErrorContains(t, err, "version 99")
}

func TestFileThatIsNoDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.db")
	require.NoError(t, os.WriteFile(path, []byte("this is a text, and long enough to be taken for a header of a file"), 0o600))
	_, err := embedded.Open(path)
	require.ErrorContains(t, err, path)
	_, err = embedded.Open(filepath.Join(path, "below-a-file.db"))
	require.Error(t, err)
}

func TestLockedIsUnavailable(t *testing.T) {
	r, path := openFile(t)
	other, err := sql.Open("sqlite", path+"?_txlock=immediate")
	require.NoError(t, err)
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)

	rec := sessions.Record{SessionID: "s", ClientID: "c", ThreadID: "t"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = r.Create(ctx, rec, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded, "an impatient caller does not wait for the whole busy timeout")

	_, err = r.Create(t.Context(), rec, 1)
	require.ErrorIs(t, err, sessions.ErrUnavailable)
	_, err = r.Get(t.Context(), "s")
	require.ErrorIs(t, err, sessions.ErrNotFound, "readers are not locked out")

	require.NoError(t, tx.Rollback())
	_, err = r.Create(t.Context(), rec, 1)
	require.NoError(t, err)
}

// A new file gets its journal from who opens it first, whom SQLite lets nobody wait for.
func TestOpenedWhileItIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.db")
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)")
	require.NoError(t, err)
	other, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	require.NoError(t, err)

	made := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		_, err := other.ExecContext(context.Background(), `COMMIT`)
		made <- errors.Join(err, other.Close(), db.Close())
	})
	r, err := embedded.Open(path)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, <-made)
}

func TestFullIsUnavailable(t *testing.T) {
	r, path := openFile(t)
	require.NoError(t, r.Close())
	// A file that may not grow stands for a full disk.
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), `PRAGMA max_page_count = 1`)
	require.NoError(t, err)
	full := embedded.FromDB(db)
	var last error
	for n := 0; n < 200 && last == nil; n++ {
		id := string(rune('a'+n%26)) + time.Duration(n).String()
		_, last = full.Create(t.Context(), sessions.Record{
			SessionID: id, ClientID: "c", ThreadID: id, Instruction: string(make([]byte, 4096)),
		}, 1)
	}
	require.ErrorIs(t, last, sessions.ErrUnavailable)
}
