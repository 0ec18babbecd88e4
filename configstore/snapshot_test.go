package configstore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func testHead() snapshotHead {
	return snapshotHead{store: "memory:1", position: "log:7", checkedAt: time.Unix(1_700_000_000, 5)}
}

// tableOf returns a table of these entries.
func tableOf(tb testing.TB, entries ...Entry) *Table {
	tb.Helper()
	table := NewTable(testPatterns(tb))
	require.Empty(tb, table.Replace(slices.Values(entries)))
	return table
}

// sortedEntries are a table's, in the order of their ids.
func sortedEntries(table *Table) []Entry {
	return slices.SortedFunc(table.current.Load().entries(), func(a, b Entry) int { return strings.Compare(a.ClientID, b.ClientID) })
}

func TestSnapshotRoundTrip(t *testing.T) {
	disabled := testEntry("bramble", 1<<40, "shop.example")
	disabled.Disabled = true
	disabled.Settings = Settings{ContainerSize: SizeLarge, IdleTimeoutMinutes: 1440, MaxConcurrentSessions: 1000, MaxLifetimeMinutes: MaxLifetimeMinutes}
	aliases := make([]string, MaxAliases)
	for i := range aliases {
		aliases[i] = fmt.Sprintf("a%d.example", i)
	}
	old := Entry{ClientID: longLabel, Hosts: []string{longHost}, Settings: testSettings} // version 0
	table := tableOf(t, testEntry("amelia", 3), disabled, testEntry("clover", 1, aliases...))
	for range 2 { // from a base, and from an overlay above one
		path := filepath.Join(t.TempDir(), "new", "folder", "table.snapshot")
		require.NoError(t, writeSnapshot(path, testHead(), table.current.Load()))
		head, bb, err := readSnapshot(path, "memory:1")
		require.NoError(t, err)
		want := testHead()
		want.clients = table.Len()
		assert.Equal(t, want, head)
		again := NewTable(testPatterns(t))
		again.load(loading{builder: bb, source: SourceSnapshot, checkedAt: head.checkedAt})
		assert.Equal(t, sortedEntries(table), sortedEntries(again))
		info := again.Info()
		assert.Equal(t, SourceSnapshot, info.Source)
		assert.True(t, info.CheckedAt.Equal(head.checkedAt))
		table.Apply([]Change{change(old), tombstone("amelia", 4)})
	}
}

func TestSnapshotEmpty(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.snapshot")
	require.NoError(t, writeSnapshot(path, snapshotHead{}, tableOf(t).current.Load()))
	_, bb, err := readSnapshot(path, "")
	require.NoError(t, err)
	assert.Empty(t, bb.base.rows)
	_, _, err = readSnapshot(path+"x", "")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// encoded is a snapshot without its sum.
func encoded(tb testing.TB, entries ...Entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	head := testHead()
	head.clients = len(entries)
	require.NoError(tb, encodeSnapshot(&b, head, slices.Values(entries)))
	return b.Bytes()
}

func TestSnapshotOfAnotherKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.snapshot")
	good := encoded(t, testEntry("amelia", 1))
	later := bytes.Clone(good)
	later[len(snapshotMagic)-1]++
	miscounted := bytes.Replace(good, []byte("log:7"), []byte("log:7\x00"), 1)
	for name, test := range map[string]struct {
		data   []byte
		reason string
	}{
		"later version": {later, "this version"},
		"something":     {[]byte("something else"), "this version"},
		"more follows":  {append(bytes.Clone(good), 0), "damaged"},
		"too few":       {good[:len(good)-20], "damaged"},
		"shifted":       {miscounted, "damaged"},
	} {
		sum := sha256.Sum256(test.data)
		require.NoError(t, os.WriteFile(path, append(test.data, sum[:]...), 0o600))
		_, bb, err := readSnapshot(path, "memory:1")
		require.ErrorContains(t, err, test.reason, name)
		assert.Nil(t, bb, name)
	}
}

// An entry that this version could not route is left out, like a broken row.
func TestSnapshotWithAnEntryThatCannotBeRouted(t *testing.T) {
	bad := testEntry("bramble", 1)
	bad.Settings.IdleTimeoutMinutes = 0
	_, bb, err := decodeSnapshot(bytes.NewReader(encoded(t, testEntry("amelia", 1), bad)), "memory:1")
	require.NoError(t, err)
	table := NewTable(nil)
	faults := table.load(loading{builder: bb, source: SourceSnapshot})
	require.Len(t, faults, 1)
	assert.Equal(t, "bramble", faults[0].ClientID)
	assert.Contains(t, faults[0].Reason, "settings.idleTimeoutMinutes")
	requireRoutes(t, table, map[string]string{"edit.amelia.example": "amelia", "edit.bramble.example": ""})
}

// Readers and writers side by side: a reader finds a whole one, whichever.
func TestSnapshotIsReplacedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.snapshot")
	g := tableOf(t, slices.Collect(manyEntries(500))...).current.Load()
	require.NoError(t, writeSnapshot(path, testHead(), g))
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for range 20 {
				assert.NoError(t, writeSnapshot(path, testHead(), g))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		writers.Wait()
	}()
	for {
		_, bb, err := readSnapshot(path, "memory:1")
		require.NoError(t, err)
		require.Len(t, bb.base.rows, 500)
		select {
		case <-done:
			return
		default:
		}
	}
}

// A full disk, or any other failure to write, leaves the old snapshot.
func TestSnapshotWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "table.snapshot")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "in the way"), 0o700))
	require.ErrorContains(t, writeSnapshot(path, testHead(), tableOf(t).current.Load()), "writing snapshot")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1, "no half-written file stays")

	full := &fullDisk{room: 100}
	require.ErrorIs(t, encodeSnapshot(full, testHead(), manyEntries(5000)), io.ErrShortWrite)
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestSnapshotTimeAndMemory(t *testing.T) {
	const clients = 100_000
	path := filepath.Join(t.TempDir(), "table.snapshot")
	table := NewTable(testPatterns(t))
	table.Replace(manyEntries(clients))
	began := time.Now()
	peak := peakHeap(func() { require.NoError(t, writeSnapshot(path, testHead(), table.current.Load())) })
	file, err := os.Stat(path)
	require.NoError(t, err)
	t.Logf("%d clients, %.1f MB: written in %s, heap at most %.1f MB above", clients, mega(file.Size()), time.Since(began), mega(peak))
	assert.Less(t, peak, int64(16<<20), "written as it goes")

	again := NewTable(testPatterns(t))
	began = time.Now()
	peak = peakHeap(func() {
		_, bb, err := readSnapshot(path, "memory:1")
		require.NoError(t, err)
		again.load(loading{builder: bb, source: SourceSnapshot})
	})
	t.Logf("loaded in %s, heap at most %.1f MB above", time.Since(began), mega(peak))
	assert.Equal(t, table.Info().Hosts, again.Info().Hosts)
}

func mega(n int64) float64 { return float64(n) / 1e6 }

// peakHeap returns by how much the heap grew at most while fn ran.
func peakHeap(fn func()) int64 {
	before := heapBytes()
	done := make(chan struct{})
	peak := make(chan int64)
	go func() {
		var most int64
		var m runtime.MemStats
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&m)
			most = max(most, int64(m.HeapAlloc)-before)
			select {
			case <-done:
				peak <- most
				return
			case <-tick.C:
			}
		}
	}()
	fn()
	close(done)
	return <-peak
}

func BenchmarkSnapshot(b *testing.B) {
	path := filepath.Join(b.TempDir(), "table.snapshot")
	table := NewTable(testPatterns(b))
	table.Replace(manyEntries(100_000))
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, writeSnapshot(path, testHead(), table.current.Load()))
		}
	})
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, bb, err := readSnapshot(path, "memory:1")
			require.NoError(b, err)
			NewTable(testPatterns(b)).load(loading{builder: bb, source: SourceSnapshot})
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	good := encoded(f, testEntry("amelia", 1), testEntry("bramble", 0, "shop.example"))
	f.Add(good, true)
	f.Add(good, false)
	f.Add(good[:len(good)-3], true)
	f.Add(append([]byte(snapshotMagic), 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 7), true)
	f.Add([]byte(snapshotMagic+"\xff\xff\xff\xff\x07"), true)
	f.Add([]byte{}, false)
	path := filepath.Join(f.TempDir(), "table.snapshot")
	f.Fuzz(func(t *testing.T, data []byte, summed bool) {
		if summed { // so that what is behind the sum is reached
			sum := sha256.Sum256(data)
			data = append(bytes.Clone(data), sum[:]...)
		}
		require.NoError(t, os.WriteFile(path, data, 0o600))
		head, bb, err := readSnapshot(path, "memory:1")
		if err != nil {
			require.Nil(t, bb, "nothing of a damaged file is loaded")
			require.Empty(t, head)
			return
		}
		require.Equal(t, head.clients, len(bb.base.rows)+len(bb.faults))
		table := NewTable(testPatterns(t))
		table.load(loading{builder: bb, source: SourceSnapshot})
		// What was read can be written, and is the same then.
		require.NoError(t, writeSnapshot(path, head, table.current.Load()))
		again, bb, err := readSnapshot(path, "memory:1")
		require.NoError(t, err)
		require.Equal(t, table.Len(), again.clients)
		require.True(t, head.checkedAt.Equal(again.checkedAt))
		require.Equal(t, head.position, again.position)
		next := NewTable(testPatterns(t))
		next.load(loading{builder: bb, source: SourceSnapshot})
		require.Equal(t, sortedEntries(table), sortedEntries(next))
	})
}
