package configstore_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/embedded"
)

// faultyStore is a real store whose reads can be made to fail or to hang.
type faultyStore struct {
	*embedded.Store
	path string

	mu       sync.Mutex
	err      error
	scans    int
	scanning chan struct{} // a scan waits for it to be closed once it has read
}

func (s *faultyStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *faultyStore) holdScans(until chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanning = until
}

func (s *faultyStore) scanCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans
}

func (s *faultyStore) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	s.mu.Lock()
	s.scans++
	err, hold := s.err, s.scanning
	s.mu.Unlock()
	if err != nil {
		return "", err
	}
	position, err := s.Store.Scan(ctx, fn)
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return position, err
}

func (s *faultyStore) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	return s.Store.Changes(ctx, since)
}

// following is a table that follows a store, on the bubble's clock.
type following struct {
	t     *testing.T
	store *faultyStore
	table *configstore.Table
	logs  *observer.ObservedLogs
}

// follow runs a test with a table that follows a store with one client, amelia.
func follow(t *testing.T, o configstore.FollowOptions, storeErr error, test func(f following)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "configs.db")
	synctest.Test(t, func(t *testing.T) {
		store, err := embedded.Open(path, embedded.Options{KeepChanges: 3})
		require.NoError(t, err)
		defer func() { require.NoError(t, store.Close()) }()
		core, logs := observer.New(zapcore.InfoLevel)
		o.Logger = zap.New(core)
		f := following{t: t, store: &faultyStore{Store: store, path: path, err: storeErr}, table: configstore.NewTable(nil), logs: logs}
		f.put("amelia")

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			configstore.Follow(ctx, f.store, f.table, o)
		}()
		synctest.Wait()
		test(f)
		cancel()
		<-done
	})
}

// after lets time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (f following) put(id string) {
	t := f.t
	t.Helper()
	_, err := f.store.Put(t.Context(), configstore.Client{
		ClientID: id,
		Domains:  configstore.Domains{Edit: "edit." + id + ".example"},
		Settings: configstore.Settings{ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}, configstore.AnyVersion)
	require.NoError(t, err)
}

// execute changes the database as other tools would: past the change log.
func (f following) execute(statement string) {
	t := f.t
	t.Helper()
	db, err := sql.Open("sqlite", f.store.path)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	require.NoError(t, errors.Join(err, db.Close()))
}

func (f following) routed(id string) bool {
	_, ok := f.table.Lookup("edit." + id + ".example")
	return ok
}

// untilScan lets time pass until the follower begins its nth scan.
func (f following) untilScan(n int) {
	for range 15 * 60 {
		if f.store.scanCount() == n {
			return
		}
		after(time.Second)
	}
	require.FailNow(f.t, "no scan", n)
}

func TestFollow(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		t := f.t
		require.True(t, f.table.Loaded())
		assert.True(t, f.routed("amelia"))
		f.put("bramble")
		assert.False(t, f.routed("bramble"))
		after(time.Second)
		assert.True(t, f.routed("bramble"))
		require.NoError(t, f.store.Delete(t.Context(), "amelia", configstore.AnyVersion))
		after(time.Second)
		assert.False(t, f.routed("amelia"))

		after(5 * time.Minute)
		assert.Less(t, time.Since(f.table.Info().CheckedAt), 2*time.Second)
		assert.Equal(t, 1, f.store.scanCount(), "one scan, then changes only")
		assert.Zero(t, f.logs.Len())
	})
}

func TestFollowStoreUnavailableAtStart(t *testing.T) {
	follow(t, configstore.FollowOptions{}, configstore.ErrUnavailable, func(f following) {
		t := f.t
		after(time.Minute)
		assert.False(t, f.table.Loaded())
		assert.InDelta(t, 32, f.store.scanCount(), 8, "tries are spaced out to 2 s")
		assert.Equal(t, 1, f.logs.Len(), "one line, however long it lasts")
		f.store.fail(nil)
		after(5 * time.Second)
		assert.True(t, f.table.Loaded())
		assert.True(t, f.routed("amelia"))
		assert.Equal(t, 1, f.logs.FilterMessage("config store answers again").Len())
	})
}

func TestFollowStoreUnavailableLater(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		t := f.t
		f.store.fail(configstore.ErrUnavailable)
		f.put("bramble")
		after(time.Hour)
		assert.True(t, f.table.Loaded())
		assert.True(t, f.routed("amelia"))
		assert.False(t, f.routed("bramble"))
		assert.Greater(t, time.Since(f.table.Info().CheckedAt), 59*time.Minute)
		assert.LessOrEqual(t, f.logs.Len(), 2, "one line each for polls and scans")
		f.store.fail(nil)
		after(5 * time.Second)
		assert.True(t, f.routed("bramble"))
		assert.Less(t, time.Since(f.table.Info().CheckedAt), 2*time.Second)
	})
}

func TestFollowPositionLost(t *testing.T) {
	follow(t, configstore.FollowOptions{Interval: time.Minute}, nil, func(f following) {
		t := f.t
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			f.put(id)
		}
		require.NoError(t, f.store.Delete(t.Context(), "amelia", configstore.AnyVersion))
		after(time.Minute)
		assert.Equal(t, 2, f.store.scanCount())
		assert.True(t, f.routed("a"))
		assert.True(t, f.routed("e"))
		assert.False(t, f.routed("amelia"))
		f.put("f")
		after(time.Minute)
		assert.True(t, f.routed("f"))
	})
}

func TestFollowReconciles(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		t := f.t
		f.put("bramble")
		after(time.Second)
		f.execute(`UPDATE configstore_clients SET config = json_set(config, '$.disabled', json('true')), version = 0 WHERE id = 'amelia'`)
		f.execute(`DELETE FROM configstore_clients WHERE id = 'bramble'`)
		after(7 * time.Minute)
		assert.True(t, f.routed("bramble"))
		after(5 * time.Minute)
		assert.False(t, f.routed("bramble"))
		route, ok := f.table.ByID("amelia")
		assert.True(t, ok)
		assert.True(t, route.Disabled)
		assert.Zero(t, route.Version)
	})
}

func TestFollowSlowScan(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		t := f.t
		release := make(chan struct{})
		f.store.holdScans(release)
		f.untilScan(2) // it has read already
		f.put("bramble")
		after(time.Second)
		assert.True(t, f.routed("bramble"), "polls go on beside a scan")
		f.store.holdScans(nil)
		close(release)
		synctest.Wait()
		assert.True(t, f.routed("bramble"), "what a scan missed is not taken back")
		assert.Less(t, time.Since(f.table.Info().LoadedAt), time.Second)
	})
}

func TestFollowEndsDuringScan(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		f.store.holdScans(make(chan struct{})) // never released
		f.untilScan(2)
	})
}

func TestFollowBrokenRow(t *testing.T) {
	follow(t, configstore.FollowOptions{}, nil, func(f following) {
		t := f.t
		f.put("bramble")
		f.execute(`UPDATE configstore_clients SET config = json_set(config, '$.settings', 'x') WHERE id = 'bramble'`)
		after(5 * time.Minute)
		assert.True(t, f.routed("amelia"))
		assert.False(t, f.routed("bramble"))
		broken := f.logs.FilterMessage("client is not routed as stored")
		require.Equal(t, 1, broken.Len())
		fields := broken.All()[0].ContextMap()
		assert.Equal(t, "bramble", fields["client"])
		assert.Equal(t, "settings: must be an object, got a string", fields["reason"])
		f.put("bramble")
		after(time.Second)
		assert.True(t, f.routed("bramble"), "a put repairs it")
	})
}
