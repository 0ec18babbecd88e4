package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/storetest"
	"github.com/webordinary/router/internal/leaktest"
)

// childPath makes the test binary a process that writes to the store at this path.
const childPath = "EMBEDDED_TEST_CHILD"

// childWrites is how often a child puts the client "shared".
const childWrites = 20

// patient waits for other writers however slow the disk is.
var patient = Options{BusyTimeout: time.Minute}

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := childMain(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.VerifyTestMain(m)
}

func childMain(path string) error {
	store, err := Open(path, patient)
	if err != nil {
		return err
	}
	for range childWrites {
		if _, err := store.Put(context.Background(), testClient("shared"), configstore.AnyVersion); err != nil {
			return errors.Join(err, store.Close())
		}
	}
	return store.Close()
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "data", "webordinary.db")
		return func() (configstore.Store, error) { return Open(path, patient) }
	})
}

func testClient(id string) configstore.Client {
	return configstore.Client{
		ClientID:   id,
		Domains:    configstore.Domains{Production: id + ".example", Edit: "edit." + id + ".example"},
		Repository: configstore.Repository{URL: "https://git.example/" + id, Branch: "main"},
		Settings:   configstore.Settings{ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}
}

// open opens a store for one test.
func open(tb testing.TB, path string, o Options) *Store {
	tb.Helper()
	store, err := Open(path, o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close()) })
	return store
}

func put(tb testing.TB, store *Store, id string) configstore.Record {
	tb.Helper()
	record, err := store.Put(context.Background(), testClient(id), configstore.AnyVersion)
	require.NoError(tb, err)
	return record
}

func scan(tb testing.TB, store *Store) (map[string]configstore.Entry, configstore.Position) {
	tb.Helper()
	entries := make(map[string]configstore.Entry)
	position, err := store.Scan(context.Background(), func(e configstore.Entry) error {
		entries[e.ClientID] = e
		return nil
	})
	require.NoError(tb, err)
	return entries, position
}

func TestFileModes(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a folder?#%", "data")
	path := filepath.Join(folder, "configs.db")
	put(t, open(t, path, Options{}), "amelia")

	info, err := os.Stat(folder)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, files, 3, "the database, its log and its index")
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file.Name())
	}

	require.NoError(t, os.Chmod(path, 0o644))
	open(t, path, Options{})
	info, err = os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "an open file is closed to others")
}

func TestOpenErrors(t *testing.T) {
	_, err := Open(t.TempDir(), Options{})
	require.ErrorIs(t, err, configstore.ErrUnavailable, "a folder")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("not a database ", 1000)), 0o600))
	_, err = Open(file, Options{})
	require.ErrorContains(t, err, "not a database")
	_, err = Open(filepath.Join(file, "configs.db"), Options{})
	require.ErrorIs(t, err, configstore.ErrUnavailable, "below a file")

	newer := filepath.Join(t.TempDir(), "newer.db")
	execute(t, open(t, newer, Options{}), `UPDATE configstore_schema SET version = 99`)
	_, err = Open(newer, Options{})
	require.ErrorContains(t, err, "a newer version made them")
	require.NotErrorIs(t, err, configstore.ErrUnavailable, "trying again does not help")
}

// execute writes as another program would.
func execute(tb testing.TB, store *Store, statement string, args ...any) {
	tb.Helper()
	_, err := store.writer.ExecContext(context.Background(), statement, args...)
	require.NoError(tb, err)
}

func TestSharedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shared.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `PRAGMA user_version = 7; CREATE TABLE other (x); INSERT INTO other VALUES (1)`)
	require.NoError(t, err)
	put(t, open(t, path, Options{}), "amelia")
	var version, rows int
	require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA user_version`).Scan(&version))
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM other`).Scan(&rows))
	assert.Equal(t, 7, version)
	assert.Equal(t, 1, rows)
	require.NoError(t, db.Close())
}

func TestOpenedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "configs.db")
	const handles = 8
	stores := make(chan *Store, handles)
	for range handles {
		go func() {
			store, err := Open(path, patient)
			assert.NoError(t, err)
			stores <- store
		}()
	}
	ids := make(map[string]bool)
	for range handles {
		if store := <-stores; store != nil {
			ids[store.id] = true
			require.NoError(t, store.Close())
		}
	}
	assert.Len(t, ids, 1)
}

// A new file gets its journal from who opens it first, whom SQLite lets nobody wait for.
func TestOpenedWhileItIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.db")
	require.NoError(t, prepareFile(path))
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)")
	require.NoError(t, err)
	other, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = other.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	require.NoError(t, err)

	_, err = Open(path, Options{BusyTimeout: 50 * time.Millisecond})
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	made := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() {
		_, err := other.ExecContext(context.Background(), `COMMIT`)
		made <- errors.Join(err, other.Close(), db.Close())
	})
	put(t, open(t, path, patient), "amelia")
	require.NoError(t, <-made)
}

func TestProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.db")
	const processes = 3
	results := make(chan error, processes)
	for range processes {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childPath+"="+path)
		go func() {
			out, err := child.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			results <- err
		}()
	}
	for range processes {
		require.NoError(t, <-results)
	}
	record, err := open(t, path, Options{}).Get(t.Context(), "shared")
	require.NoError(t, err)
	assert.Equal(t, int64(processes*childWrites), record.Version, "no write is lost")
}

func TestChangeLogIsTrimmed(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "configs.db"), Options{KeepChanges: 3})
	_, first := scan(t, store)
	var positions []configstore.Position
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		put(t, store, id)
		_, position := scan(t, store)
		positions = append(positions, position)
	}
	for _, lost := range []configstore.Position{first, positions[0]} {
		_, _, err := store.Changes(t.Context(), lost)
		require.ErrorIs(t, err, configstore.ErrPositionLost)
	}
	changes, at, err := store.Changes(t.Context(), positions[1])
	require.NoError(t, err)
	assert.Len(t, changes, 3)
	assert.Equal(t, positions[4], at)
	var kept int
	require.NoError(t, store.reader.QueryRowContext(t.Context(), `SELECT count(*) FROM configstore_changes`).Scan(&kept))
	assert.Equal(t, 3, kept)
}

func TestPositionOfOtherData(t *testing.T) {
	one := open(t, filepath.Join(t.TempDir(), "one.db"), Options{})
	two := open(t, filepath.Join(t.TempDir(), "two.db"), Options{})
	_, elsewhere := scan(t, two)
	_, _, err := one.Changes(t.Context(), elsewhere)
	require.ErrorIs(t, err, configstore.ErrPositionLost)
	// A backup was put back: the position is of a future that did not happen.
	_, _, err = one.Changes(t.Context(), one.position(5))
	require.ErrorIs(t, err, configstore.ErrPositionLost)
}

func TestBrokenRows(t *testing.T) {
	for name, config := range map[string]string{
		"not JSON":          `{`,
		"wrong type":        `{"clientId":"bramble","domains":7}`,
		"another's id":      `{"clientId":"amelia"}`,
		"no id":             `{}`,
		"not a JSON object": `null`,
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t, filepath.Join(t.TempDir(), "configs.db"), Options{})
			_, position := scan(t, store)
			put(t, store, "amelia")
			put(t, store, "bramble")
			put(t, store, "clover")
			execute(t, store, `UPDATE configstore_clients SET config = ? WHERE id = 'bramble'`, config)

			_, err := store.Get(t.Context(), "bramble")
			require.ErrorIs(t, err, configstore.ErrBroken)
			records, err := store.List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Len(t, records, 3)
			assert.Equal(t, "bramble", records[1].Client.ClientID)
			assert.NotEmpty(t, records[1].Broken)
			assert.Empty(t, records[2].Broken)
			entries, _ := scan(t, store)
			assert.NotEmpty(t, entries["bramble"].Broken)
			assert.Empty(t, entries["amelia"].Broken)
			changes, _, err := store.Changes(t.Context(), position)
			require.NoError(t, err)
			require.Len(t, changes, 3)
			assert.Equal(t, entries["bramble"], changes[1].Entry)

			record := put(t, store, "bramble")
			assert.Equal(t, int64(2), record.Version)
			_, err = store.Get(t.Context(), "bramble")
			require.NoError(t, err)
		})
	}
}

func TestUnavailableWhileLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.db")
	store := open(t, path, Options{BusyTimeout: 50 * time.Millisecond})
	put(t, store, "amelia")
	other := open(t, path, Options{})
	tx, err := other.writer.BeginTx(t.Context(), nil)
	require.NoError(t, err)

	_, err = store.Put(t.Context(), testClient("bramble"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	require.ErrorIs(t, store.Delete(t.Context(), "amelia", configstore.AnyVersion), configstore.ErrUnavailable)
	_, err = store.Get(t.Context(), "amelia")
	require.NoError(t, err, "a writer holds up no reader")
	scan(t, store)

	waiting := open(t, path, patient)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = waiting.Put(ctx, testClient("bramble"), configstore.AnyVersion)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the caller's patience counts")

	require.NoError(t, tx.Rollback())
	put(t, store, "bramble")
}

func TestUnavailableWhenFull(t *testing.T) {
	store := open(t, filepath.Join(t.TempDir(), "configs.db"), Options{})
	put(t, store, "amelia")
	var pages int
	require.NoError(t, store.writer.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&pages))
	execute(t, store, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages))
	large := testClient("bramble")
	large.Build = &configstore.Build{Env: map[string]string{"LARGE": strings.Repeat("x", 100<<10)}}
	_, err := store.Put(t.Context(), large, configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	_, err = store.Get(t.Context(), "bramble")
	require.ErrorIs(t, err, configstore.ErrNotFound)
	execute(t, store, `PRAGMA max_page_count = 1000000`)
	_, err = store.Put(t.Context(), large, configstore.AnyVersion)
	require.NoError(t, err)
}

// A scan keeps its view of the data while others write.
func TestScanIsConsistent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "configs.db")
	store, other := open(t, path, Options{}), open(t, path, Options{})
	for i := range 10 {
		put(t, store, fmt.Sprintf("c%d", i))
	}
	seen := 0
	position, err := store.Scan(t.Context(), func(e configstore.Entry) error {
		if seen++; seen == 1 {
			for i := range 10 {
				put(t, other, fmt.Sprintf("c%d", i))
			}
		}
		assert.Equal(t, int64(1), e.Version)
		return nil
	})
	require.NoError(t, err)
	changes, _, err := store.Changes(t.Context(), position)
	require.NoError(t, err)
	assert.Len(t, changes, 10)
}

func BenchmarkPut(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "configs.db"), Options{})
	n := 0
	for b.Loop() {
		put(b, store, fmt.Sprintf("client-%d", n%1000))
		n++
	}
}

func BenchmarkScan(b *testing.B) {
	store := open(b, filepath.Join(b.TempDir(), "configs.db"), Options{})
	const clients = 5000
	for i := range clients {
		put(b, store, fmt.Sprintf("client-%d", i))
	}
	b.ResetTimer()
	for b.Loop() {
		scan(b, store)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*clients), "µs/client")
}
