package configstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/configstore"
)

// edge is a table that follows a store, as an edge does; its clock is the bubble's.
type edge struct {
	t     *testing.T
	table *configstore.Table
	logs  *observer.ObservedLogs
	stop  func() // ends it and waits
}

// startEdge starts one in a bubble.
func startEdge(t *testing.T, store configstore.Store, o configstore.FollowOptions) *edge {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	o.Logger = zap.New(core)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	e := &edge{t: t, table: configstore.NewTable(nil), logs: logs}
	e.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(e.stop)
	go func() {
		defer close(done)
		configstore.Follow(ctx, store, e.table, o)
	}()
	synctest.Wait()
	return e
}

func (e *edge) routed(host string) bool {
	_, ok := e.table.Lookup(host)
	return ok
}

// requireSoon lets time pass until a condition holds, and says how long it took.
func requireSoon(t *testing.T, within time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !condition() {
		require.Less(t, time.Since(began), within, what)
		after(10 * time.Millisecond)
	}
	return time.Since(began)
}

// inBubble runs a test once for errors and once for calls that hang.
func inBubble(t *testing.T, test func(t *testing.T, outage fault)) {
	t.Helper()
	for name, outage := range map[string]fault{"refused": refused, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, outage) })
		})
	}
}

func TestFollowAnHourOfOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		store := newMemoryStore("amelia", "bramble")
		e := startEdge(t, store, configstore.FollowOptions{})
		require.True(t, e.table.Loaded())
		for _, offset := range []time.Duration{0, 700 * time.Millisecond, 1900 * time.Millisecond, 2990 * time.Millisecond} {
			scansBefore, _ := store.calls()
			store.suffer(outage)
			store.put("clover")
			store.put("amelia", "shop.example")
			store.delete("bramble")
			for range 2 * 3600 {
				after(500 * time.Millisecond)
				require.True(t, e.routed("edit.amelia.example"))
				require.True(t, e.routed("edit.bramble.example"), "known clients are answered throughout")
				require.False(t, e.routed("edit.nobody.example"), "and unknown ones are unknown")
				require.False(t, e.routed("edit.clover.example"))
			}
			after(offset)
			info := e.table.Info()
			assert.True(t, info.Failing())
			assert.NotEmpty(t, info.LastError)
			assert.GreaterOrEqual(t, time.Since(info.CheckedAt), time.Hour, "the age is told")
			scans, _ := store.calls()
			assert.LessOrEqual(t, scans-scansBefore, 90, "a store that is down is not scanned time and again")

			store.suffer(nil)
			took := requireSoon(t, 5*time.Second, "fresh again", func() bool { return e.routed("edit.clover.example") })
			t.Logf("fresh %s after the outage's end", took)
			assert.True(t, e.routed("shop.example"))
			assert.False(t, e.routed("edit.bramble.example"))
			assert.False(t, e.table.Info().Failing())
			assert.Contains(t, e.table.Info().LastError, "ing the ", "the last failure is kept")

			after(2 * time.Minute) // the reconcile that was due is made up for
			assert.WithinDuration(t, time.Now(), e.table.Info().LoadedAt, 2*time.Minute+10*time.Second)
			store.delete("clover")
			store.put("amelia")
			store.put("bramble")
			after(time.Second)
			require.True(t, e.routed("edit.bramble.example"))
		}
		assert.LessOrEqual(t, e.logs.FilterLevelExact(zapcore.WarnLevel).Len(), 2*4, "a line each for polls and scans")
	})
}

func TestFollowStartsInAnOutageWithoutSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		store := newMemoryStore("amelia")
		store.suffer(outage)
		e := startEdge(t, store, configstore.FollowOptions{Snapshot: t.TempDir() + "/table.snapshot"})
		after(time.Hour)
		assert.False(t, e.table.Loaded())
		info := e.table.Info()
		assert.Empty(t, info.Source)
		assert.True(t, info.Failing())
		assert.Contains(t, info.LastError, "scanning the config store: config store unavailable")
		assert.Less(t, time.Since(info.FailedAt), 10*time.Second)
		lines := e.logs.FilterLevelExact(zapcore.ErrorLevel).All()
		require.Len(t, lines, 1, "it is said once")
		assert.Contains(t, lines[0].Message, "503")
		assert.Contains(t, lines[0].ContextMap()["error"], "config store unavailable")

		store.suffer(nil)
		took := requireSoon(t, 5*time.Second, "loaded", e.table.Loaded)
		t.Logf("loaded %s after the outage's end", took)
		assert.True(t, e.routed("edit.amelia.example"))
		assert.Equal(t, configstore.SourceScan, e.table.Info().Source)
	})
}

func TestFollowOutageInTheMiddleOfAScan(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		store := newMemoryStore("amelia", "bramble")
		store.between = func() { store.suffer(outage) }
		e := startEdge(t, store, configstore.FollowOptions{})
		after(time.Hour)
		require.False(t, e.table.Loaded(), "half a scan is none")
		store.suffer(nil)
		requireSoon(t, 5*time.Second, "loaded", e.table.Loaded)
		assert.Equal(t, 2, e.table.Len())
	})
}

func TestFollowChangesDuringAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore("amelia", "bramble", "clover")
		meanwhile := func() {
			store.put("amelia", "shop.example") // the scan has seen it already
			store.delete("bramble")             // the scan will not see it
			store.put("dahlia")                 // nor this one
			store.put("clover", "shop.example") // the scan sees two who hold one host
			store.put("amelia")
		}
		store.between = meanwhile
		e := startEdge(t, store, configstore.FollowOptions{})
		require.True(t, e.table.Loaded())
		check := func() {
			t.Helper()
			for host, want := range map[string]string{"edit.amelia.example": "amelia", "shop.example": "clover", "edit.dahlia.example": "dahlia", "edit.bramble.example": ""} {
				route, _ := e.table.Lookup(host)
				assert.Equal(t, want, route.ClientID, host)
			}
		}
		check()
		assert.Equal(t, configstore.SourceChanges, e.table.Info().Source)
		seen := e.table.Info().LastChange
		assert.Equal(t, "amelia", seen.ClientID)
		assert.Equal(t, int64(3), seen.Version)

		store.put("bramble")
		store.put("clover")
		after(time.Second)
		store.mu.Lock()
		store.between = meanwhile
		store.mu.Unlock()
		after(13 * time.Minute)
		check()
	})
}

// The store goes down between a first scan and what changed meanwhile.
func TestFollowFirstScanWithoutItsChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, outage fault) {
		store := newMemoryStore("amelia")
		store.between = func() {
			store.put("bramble")
			store.suffer(outage)
		}
		e := startEdge(t, store, configstore.FollowOptions{})
		requireSoon(t, 5*time.Second, "served at least", func() bool { return e.routed("edit.amelia.example") })
		assert.Equal(t, configstore.SourceScan, e.table.Info().Source)
		after(time.Minute)
		assert.False(t, e.routed("edit.bramble.example"))
		store.suffer(nil)
		requireSoon(t, 5*time.Second, "complete", func() bool { return e.routed("edit.bramble.example") })
		scans, _ := store.calls()
		assert.Equal(t, 1, scans, "polls go on from where the scan began")
	})
}

// What older tools write is in no change log, has no version, or has one that went back.
func TestFollowReconcilesWhatNoLogTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemoryStore("amelia", "bramble", "clover", "dahlia")
		for range 4 {
			store.put("bramble")
		}
		e := startEdge(t, store, configstore.FollowOptions{})
		after(time.Minute)
		old := entryOf("amelia", "old.example") // overwritten: version 0
		store.overwrite(old)
		back := entryOf("bramble", "back.example") // a backup put back
		back.Version = 2
		store.overwrite(back)
		store.overwrite(configstore.Entry{ClientID: "clover", Broken: "settings.idleTimeoutMinutes: must be a whole number, got a string"})
		store.overwrite(entryOf("elder")) // new
		store.mu.Lock()
		delete(store.rows, "dahlia")
		store.mu.Unlock()

		after(6 * time.Minute)
		assert.False(t, e.routed("old.example"), "not yet")
		after(6 * time.Minute)
		for host, want := range map[string]bool{
			"old.example": true, "edit.amelia.example": true, "back.example": true, "edit.elder.example": true,
			"edit.clover.example": false, "edit.dahlia.example": false,
		} {
			assert.Equal(t, want, e.routed(host), host)
		}
		assert.Equal(t, configstore.SourceScan, e.table.Info().Source)
		broken := e.logs.FilterMessage("client is not routed as stored")
		require.Equal(t, 1, broken.Len())
		assert.Equal(t, "clover", broken.All()[0].ContextMap()["client"])
		assert.Contains(t, broken.All()[0].ContextMap()["reason"], "settings.idleTimeoutMinutes")

		// Our tools go on above what was.
		store.put("amelia", "new.example")
		store.put("clover")
		after(time.Second)
		assert.True(t, e.routed("new.example"))
		assert.False(t, e.routed("old.example"))
		assert.True(t, e.routed("edit.clover.example"))
	})
}

// A store that is slow to begin a scan, but is there, is waited for.
func TestFollowSlowToBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{memoryStore: newMemoryStore("amelia"), delay: 25 * time.Second}
		e := startEdge(t, store, configstore.FollowOptions{})
		after(29 * time.Second)
		assert.True(t, e.table.Loaded())
		scans, _ := store.calls()
		assert.LessOrEqual(t, scans, 2)
	})
}

// One whose scan never ends, though all else is answered, is asked again.
func TestFollowScanThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{memoryStore: newMemoryStore("amelia"), delay: time.Hour}
		e := startEdge(t, store, configstore.FollowOptions{})
		after(30 * time.Second)
		store.mu.Lock()
		store.delay = 0
		store.mu.Unlock()
		after(15 * time.Second)
		assert.True(t, e.table.Loaded())
	})
}

// What changed is more than can be read in the time of a poll: a scan helps.
func TestFollowChangesThatTakeTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &longLog{memoryStore: newMemoryStore("amelia")}
		e := startEdge(t, store, configstore.FollowOptions{})
		require.True(t, e.table.Loaded())
		store.put("bramble")
		store.mu.Lock()
		store.tooLong = store.position()
		store.mu.Unlock()
		took := requireSoon(t, 5*time.Second, "fresh again", func() bool { return e.routed("edit.bramble.example") })
		t.Logf("fresh %s after the change", took)
		after(5 * time.Second)
		scans, _ := store.calls()
		assert.Equal(t, 2, scans, "one scan is enough")
		store.put("clover")
		after(time.Second)
		assert.True(t, e.routed("edit.clover.example"))
	})
}

// slowStore takes its time to begin a scan.
type slowStore struct {
	*memoryStore
	delay time.Duration
}

func (s *slowStore) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return s.memoryStore.Scan(ctx, fn)
}

// longLog is a store that cannot read its log up from before a position in time.
type longLog struct {
	*memoryStore
	tooLong configstore.Position
}

func (s *longLog) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	s.mu.Lock()
	hang := since < s.tooLong
	s.mu.Unlock()
	if hang {
		return nil, "", hanging(ctx)
	}
	return s.memoryStore.Changes(ctx, since)
}
