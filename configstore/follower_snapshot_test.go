package configstore_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// restarted is an edge that had run on a store, was ended, and left its snapshot.
type restarted struct {
	store *memoryStore
	o     configstore.FollowOptions
	endAt time.Time
}

// runAndEnd runs an edge on a store of amelia and bramble.
func runAndEnd(t *testing.T) restarted {
	t.Helper()
	r := restarted{
		store: newMemoryStore("amelia", "bramble"),
		o:     configstore.FollowOptions{Snapshot: filepath.Join(t.TempDir(), "data", "table.snapshot"), Store: "memory:1"},
	}
	e := startEdge(t, r.store, r.o)
	require.True(t, e.table.Loaded())
	after(time.Minute + 100*time.Millisecond)
	r.store.put("amelia", "shop.example")
	after(time.Second)
	e.stop() // before the next snapshot is due
	r.endAt = time.Now()
	return r
}

func TestSnapshotServesARestartInAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		r := runAndEnd(t)
		file, err := os.Stat(r.o.Snapshot)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), file.Mode())
		others, err := os.ReadDir(filepath.Dir(r.o.Snapshot))
		require.NoError(t, err)
		assert.Len(t, others, 1, "nothing half-written is left")

		r.store.suffer(outage)
		r.store.put("clover")
		r.store.delete("bramble")
		after(time.Hour)
		e := startEdge(t, r.store, r.o)
		took := requireSoon(t, 3*time.Second, "serves from its snapshot", e.table.Loaded)
		t.Logf("served after %s", took)
		for range 60 {
			after(time.Minute)
			require.True(t, e.routed("shop.example"), "what changed last before the end is in it")
			require.True(t, e.routed("edit.bramble.example"))
			require.False(t, e.routed("edit.nobody.example"))
		}
		info := e.table.Info()
		assert.Equal(t, configstore.SourceSnapshot, info.Source)
		assert.WithinDuration(t, r.endAt, info.CheckedAt, 2*time.Second, "the age is that of what it knows")
		assert.True(t, info.Failing())
		assert.Equal(t, 1, e.logs.FilterMessageSnippet("serving from the routing table's snapshot").Len())

		// Ended and started once more, without having learnt anything.
		e.stop()
		e = startEdge(t, r.store, r.o)
		requireSoon(t, 3*time.Second, "serves from its snapshot again", e.table.Loaded)
		assert.WithinDuration(t, r.endAt, e.table.Info().CheckedAt, 2*time.Second)

		r.store.suffer(nil)
		took = requireSoon(t, 5*time.Second, "fresh again", func() bool { return e.routed("edit.clover.example") })
		t.Logf("fresh %s after the outage's end", took)
		assert.False(t, e.routed("edit.bramble.example"))
		assert.NotEqual(t, configstore.SourceSnapshot, e.table.Info().Source)
		requireSoon(t, 2*time.Minute, "reconciled", func() bool { return e.table.Info().Source == configstore.SourceScan })
	})
}

func TestSnapshotIsBroughtUpToDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runAndEnd(t)
		r.store.put("clover")
		r.store.delete("bramble")
		r.store.overwrite(entryOf("elder"))
		release := make(chan struct{})
		r.store.between = func() { <-release }
		e := startEdge(t, r.store, r.o)
		require.True(t, e.table.Loaded(), "before the scan is done")
		assert.True(t, e.routed("edit.clover.example"))
		assert.False(t, e.routed("edit.bramble.example"))
		assert.False(t, e.routed("edit.elder.example"))
		assert.Equal(t, configstore.SourceChanges, e.table.Info().Source)
		assert.WithinDuration(t, time.Now(), e.table.Info().CheckedAt, 0)
		close(release)
		synctest.Wait()
		assert.True(t, e.routed("edit.elder.example"), "the scan behind it finds what no log tells")
		assert.Equal(t, configstore.SourceScan, e.table.Info().Source)
	})
}

// Nothing has changed since: the store has said so, which makes it more than a snapshot.
func TestSnapshotThatIsUpToDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runAndEnd(t)
		r.store.suffer(refused)
		e := startEdge(t, r.store, r.o)
		assert.Equal(t, configstore.SourceSnapshot, e.table.Info().Source)
		r.store.suffer(nil)
		r.store.mu.Lock()
		release := make(chan struct{})
		r.store.between = func() { <-release }
		r.store.mu.Unlock()
		after(3 * time.Second)
		assert.Equal(t, configstore.SourceChanges, e.table.Info().Source)
		close(release)
	})
}

// The change log no longer reaches back to the snapshot: the table comes from a scan.
func TestSnapshotWhosePositionIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		r := runAndEnd(t)
		r.store.delete("bramble")
		r.store.trim()
		r.store.put("clover")
		e := startEdge(t, r.store, r.o)
		require.True(t, e.table.Loaded())
		assert.Equal(t, configstore.SourceScan, e.table.Info().Source)
		assert.False(t, e.routed("edit.bramble.example"), "nobody saw what the log has lost")
		e.stop()

		// The store answers that the position is lost, and then goes down: then an old
		// table is better than none.
		r.store.delete("clover")
		r.store.trim()
		lost := &losing{memoryStore: r.store, then: outage}
		e = startEdge(t, lost, r.o)
		requireSoon(t, 6*time.Second, "serves from its snapshot", e.table.Loaded)
		assert.Equal(t, configstore.SourceSnapshot, e.table.Info().Source)
		assert.True(t, e.routed("edit.clover.example"))
		after(time.Hour)
		r.store.suffer(nil)
		requireSoon(t, 5*time.Second, "fresh again", func() bool { return !e.routed("edit.clover.example") })
		assert.True(t, e.routed("edit.amelia.example"))
	})
}

// losing goes down with its first answer.
type losing struct {
	*memoryStore
	then fault
}

func (s *losing) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	changes, position, err := s.memoryStore.Changes(ctx, since)
	if s.then != nil {
		s.suffer(s.then)
		s.then = nil
	}
	return changes, position, err
}

func TestSnapshotThatIsIgnored(t *testing.T) {
	spoil := func(change func([]byte) []byte) func(t *testing.T, r *restarted) {
		return func(t *testing.T, r *restarted) {
			data, err := os.ReadFile(r.o.Snapshot)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(r.o.Snapshot, change(data), 0o600))
		}
	}
	for name, test := range map[string]struct {
		spoil  func(t *testing.T, r *restarted)
		reason string
	}{
		"of another store": {func(_ *testing.T, r *restarted) { r.o.Store = "memory:2" }, "another store"},
		"damaged": {spoil(func(data []byte) []byte {
			data[len(data)/2] ^= 1
			return data
		}), "damaged"},
		"cut off": {spoil(func(data []byte) []byte { return data[:len(data)-1] }), "damaged"},
		"empty":   {spoil(func([]byte) []byte { return nil }), "damaged"},
		"a folder": {func(t *testing.T, r *restarted) {
			require.NoError(t, os.Remove(r.o.Snapshot))
			require.NoError(t, os.MkdirAll(filepath.Join(r.o.Snapshot, "x"), 0o700))
		}, "directory"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := runAndEnd(t)
				test.spoil(t, &r)
				r.store.suffer(refused)
				e := startEdge(t, r.store, r.o)
				after(10 * time.Second)
				assert.False(t, e.table.Loaded())
				ignored := e.logs.FilterMessage("routing table's snapshot is ignored")
				require.Equal(t, 1, ignored.Len())
				assert.Contains(t, ignored.All()[0].ContextMap()["error"], test.reason)
				r.store.suffer(nil)
				requireSoon(t, 5*time.Second, "never fatal", e.table.Loaded)
			})
		})
	}
}

// A snapshot is written after a load, and at most every 30 s after changes.
func TestSnapshotIsWrittenNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore("amelia")
		o := configstore.FollowOptions{Snapshot: filepath.Join(t.TempDir(), "table.snapshot")}
		e := startEdge(t, store, o)
		content := func() string {
			data, err := os.ReadFile(o.Snapshot)
			require.NoError(t, err)
			return string(data)
		}
		written, last := 0, content()
		for i := range 5 * 60 {
			if i < 2*60 {
				store.put("bramble")
			}
			after(time.Second)
			if now := content(); now != last {
				written, last = written+1, now
			}
		}
		assert.InDelta(t, 4, written, 1, "not with every change, and not without any")
		require.NoError(t, os.Remove(o.Snapshot))
		after(time.Minute)
		assert.NoFileExists(t, o.Snapshot)
		e.stop()
		assert.FileExists(t, o.Snapshot, "how fresh it was at the end counts")
	})
}

// A folder that cannot be written keeps nothing from working.
func TestSnapshotThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore("amelia")
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		e := startEdge(t, store, configstore.FollowOptions{Snapshot: filepath.Join(file, "table.snapshot")})
		for range 100 {
			store.put("bramble")
			after(time.Minute)
		}
		assert.True(t, e.routed("edit.bramble.example"))
		assert.Equal(t, 1, e.logs.FilterMessageSnippet("saving the routing table failed").Len(), "it is said once")
	})
}

// What killed writers left behind is removed, what is not ours stays.
func TestSnapshotSweepsWhatWasLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "table.snapshot")
	long := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"table.snapshot.123.tmp", "table.snapshot.new.tmp", "other.123.tmp", "table.snapshot.123"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
		if !strings.Contains(name, "new") {
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), long, long))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it sweeps first
	configstore.Follow(ctx, newMemoryStore(), configstore.NewTable(nil), configstore.FollowOptions{Snapshot: path})
	assert.NoFileExists(t, path+".123.tmp")
	for _, name := range []string{"table.snapshot.new.tmp", "other.123.tmp", "table.snapshot.123"} {
		assert.FileExists(t, filepath.Join(dir, name))
	}
}
