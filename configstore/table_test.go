package configstore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var testSettings = Settings{ContainerSize: SizeMedium, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3, WakeOn: WakeOnAny}

// testEntry is a client with edit.{id}.example and these aliases.
func testEntry(id string, version int64, aliases ...string) Entry {
	return Entry{ClientID: id, Hosts: append([]string{"edit." + id + ".example"}, aliases...), Settings: testSettings, Version: version}
}

func change(e Entry) Change { return Change{ClientID: e.ClientID, Version: e.Version, Entry: e} }

func tombstone(id string, version int64) Change {
	return Change{ClientID: id, Version: version, Deleted: true}
}

func testPatterns(tb testing.TB) []HostPattern {
	tb.Helper()
	return []HostPattern{mustPattern(tb, "edit.{client}.webordinary.com"), mustPattern(tb, "{client}-edit.webordinary.com")}
}

// requireRoutes requires that a host leads to a client; "" for nobody.
func requireRoutes(tb testing.TB, table *Table, want map[string]string) {
	tb.Helper()
	for host, id := range want {
		route, ok := table.Lookup(host)
		require.Equal(tb, id != "", ok, "host %s", host)
		require.Equal(tb, id, route.ClientID, "host %s", host)
	}
}

func TestTable(t *testing.T) {
	table := NewTable(testPatterns(t))
	assert.False(t, table.Loaded())
	assert.Zero(t, table.Info())
	requireRoutes(t, table, map[string]string{"edit.amelia.example": "", "": ""})

	amelia := testEntry("amelia", 3, "shop.example", "amelia-edit.webordinary.com")
	bramble := testEntry("bramble", 1)
	bramble.Disabled = true
	bramble.Settings = Settings{ContainerSize: SizeLarge, IdleTimeoutMinutes: 1440, MaxConcurrentSessions: 1000, MaxLifetimeMinutes: 525_600}
	require.Empty(t, table.Replace(slices.Values([]Entry{amelia, bramble})))
	assert.True(t, table.Loaded())
	assert.Equal(t, 2, table.Len())
	requireRoutes(t, table, map[string]string{
		"edit.amelia.example": "amelia", "shop.example": "amelia", "edit.amelia.webordinary.com": "amelia",
		"amelia-edit.webordinary.com": "amelia", "edit.bramble.example": "bramble", "bramble-edit.webordinary.com": "bramble",
		"edit.nobody.webordinary.com": "", "webordinary.com": "", "EDIT.amelia.example": "", "": "",
	})
	want := Route{ClientID: "amelia", EditHost: "edit.amelia.example", Settings: testSettings, Version: 3}
	route, _ := table.Lookup("shop.example")
	assert.Equal(t, want, route)
	route, ok := table.ByID("amelia")
	assert.True(t, ok)
	assert.Equal(t, want, route)
	route, ok = table.ByID("bramble")
	assert.True(t, ok)
	assert.Equal(t, Route{ClientID: "bramble", EditHost: "edit.bramble.example", Settings: bramble.Settings, Version: 1, Disabled: true}, route)
	_, ok = table.ByID("nobody")
	assert.False(t, ok)

	info := table.Info()
	assert.Equal(t, 2, info.Clients)
	assert.Equal(t, 4+3, info.Hosts, "a host that a client names and a pattern gives it counts once")
	assert.Equal(t, SourceScan, info.Source)
	assert.False(t, info.LoadedAt.IsZero())
	assert.Equal(t, info.LoadedAt, info.ChangedAt)
	assert.True(t, info.CheckedAt.Equal(info.LoadedAt))

	require.Empty(t, table.Replace(slices.Values([]Entry{bramble})))
	requireRoutes(t, table, map[string]string{"edit.amelia.example": "", "amelia-edit.webordinary.com": "", "edit.bramble.example": "bramble"})
	require.Empty(t, table.Replace(slices.Values([]Entry{})))
	assert.True(t, table.Loaded())
	assert.Zero(t, table.Len())
	requireRoutes(t, table, map[string]string{"edit.bramble.example": ""})
}

func TestTableApply(t *testing.T) {
	table := NewTable(testPatterns(t))
	table.Replace(slices.Values([]Entry{testEntry("amelia", 2, "shop.example")}))

	require.Empty(t, table.Apply([]Change{change(testEntry("amelia", 3, "new.example")), change(testEntry("bramble", 1))}))
	requireRoutes(t, table, map[string]string{
		"shop.example": "", "new.example": "amelia", "amelia-edit.webordinary.com": "amelia",
		"edit.bramble.example": "bramble", "bramble-edit.webordinary.com": "bramble",
	})
	assert.Equal(t, 2, table.Len())
	changedAt := table.Info().ChangedAt

	// What is known already changes nothing.
	require.Empty(t, table.Apply([]Change{change(testEntry("amelia", 2, "shop.example")), change(testEntry("amelia", 3, "new.example")), tombstone("bramble", 0)}))
	requireRoutes(t, table, map[string]string{"shop.example": "", "new.example": "amelia", "edit.bramble.example": "bramble"})
	assert.Equal(t, changedAt, table.Info().ChangedAt)
	require.Empty(t, table.Apply(nil))
	assert.False(t, table.Info().CheckedAt.Before(changedAt))

	require.Empty(t, table.Apply([]Change{tombstone("amelia", 4), tombstone("nobody", 9)}))
	requireRoutes(t, table, map[string]string{"new.example": "", "edit.amelia.example": "", "amelia-edit.webordinary.com": "", "edit.bramble.example": "bramble"})
	_, ok := table.ByID("amelia")
	assert.False(t, ok)
	assert.Equal(t, 1, table.Len())

	require.Empty(t, table.Apply([]Change{change(testEntry("amelia", 5))}))
	requireRoutes(t, table, map[string]string{"edit.amelia.example": "amelia"})

	// Rows of the older tools have no versions; what they hold counts.
	require.Empty(t, table.Apply([]Change{change(testEntry("clover", 0, "one.example"))}))
	require.Empty(t, table.Apply([]Change{change(testEntry("clover", 0, "two.example"))}))
	requireRoutes(t, table, map[string]string{"one.example": "", "two.example": "clover"})
}

func TestTablePatternsProtectTheirOwner(t *testing.T) {
	table := NewTable(testPatterns(t))
	thief := testEntry("amelia", 1, "bramble-edit.webordinary.com", "edit.nobody.webordinary.com")
	load := func() []RowFault { return table.Replace(slices.Values([]Entry{thief, testEntry("bramble", 1)})) }
	update := func() []RowFault {
		table.Replace(slices.Values([]Entry{testEntry("bramble", 1)}))
		return table.Apply([]Change{change(thief)})
	}
	for name, fill := range map[string]func() []RowFault{"load": load, "change": update} {
		faults := fill()
		require.Len(t, faults, 2, name)
		for i, host := range []string{"bramble-edit.webordinary.com", "edit.nobody.webordinary.com"} {
			assert.Equal(t, "amelia", faults[i].ClientID)
			assert.Equal(t, host, faults[i].Host)
			assert.Contains(t, faults[i].Reason, "host pattern")
		}
		requireRoutes(t, table, map[string]string{
			"bramble-edit.webordinary.com": "bramble", "edit.bramble.example": "bramble",
			"edit.nobody.webordinary.com": "", "edit.amelia.example": "amelia",
		})
	}
	// A client whose very edit host is another's gets its preview URLs elsewhere.
	thief.Hosts, thief.Version = []string{"bramble-edit.webordinary.com", "own.example"}, 2
	require.Len(t, table.Apply([]Change{change(thief)}), 1)
	route, ok := table.ByID("amelia")
	require.True(t, ok)
	assert.Equal(t, "own.example", route.EditHost)
}

func TestTableOverlappingPatterns(t *testing.T) {
	table := NewTable([]HostPattern{mustPattern(t, "{client}.w.example"), mustPattern(t, "{client}-edit.w.example")})
	faults := table.Replace(slices.Values([]Entry{testEntry("amelia", 1), testEntry("amelia-edit", 1)}))
	require.Len(t, faults, 2, "the second pattern gives both clients what the first gives to others")
	requireRoutes(t, table, map[string]string{
		"amelia.w.example": "amelia", "amelia-edit.w.example": "amelia-edit", "amelia-edit-edit.w.example": "",
	})
}

func TestTableBrokenRows(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	broken := map[string]Entry{
		"unreadable":        {ClientID: "x", Version: 2, Broken: "settings: must be an object"},
		"bad id":            testEntry("Amelia", 2),
		"no host":           {ClientID: "x", Version: 2, Settings: testSettings},
		"host not normal":   testEntry("x", 2, "Shop.example"),
		"host of 300 bytes": testEntry("x", 2, strings.Repeat("a.", 150)),
		"too many hosts":    testEntry("x", 2, slices.Repeat([]string{"a.example"}, 300)...),
		"no settings":       {ClientID: "x", Version: 2, Hosts: []string{"a.example"}},
		"absurd settings": {
			ClientID: "x", Version: 2, Hosts: []string{"a.example"},
			Settings: Settings{ContainerSize: SizeSmall, IdleTimeoutMinutes: 1 << 20, MaxConcurrentSessions: 1},
		},
	}
	for name, bad := range broken {
		t.Run(name, func(t *testing.T) {
			table := NewTable(testPatterns(t))
			faults := table.Replace(slices.Values([]Entry{testEntry("amelia", 1), bad, testEntry("bramble", 1)}))
			require.Len(t, faults, 1)
			assert.Equal(t, bad.ClientID, faults[0].ClientID)
			assert.NotEmpty(t, faults[0].Reason)
			requireRoutes(t, table, map[string]string{"edit.amelia.example": "amelia", "edit.bramble.example": "bramble"})
			assert.Equal(t, 2, table.Len())

			table.Apply([]Change{change(testEntry(strings.ToLower(bad.ClientID), 1))})
			require.Len(t, table.Apply([]Change{change(bad)}), 1)
			_, ok := table.ByID(bad.ClientID)
			assert.False(t, ok, "a client whose row somebody broke is unavailable")
			requireRoutes(t, table, map[string]string{"edit.bramble.example": "bramble"})
		})
	}

	table := NewTable(testPatterns(t))
	faults := table.Replace(slices.Values([]Entry{testEntry(long, 1)}))
	require.Len(t, faults, 1)
	assert.Contains(t, faults[0].Reason, "no valid host")
	requireRoutes(t, table, map[string]string{"edit." + long + ".webordinary.com": long, long + "-edit.webordinary.com": ""})
}

func TestTableSetPatterns(t *testing.T) {
	table := NewTable(testPatterns(t)[:1])
	table.Replace(slices.Values([]Entry{testEntry("amelia", 1), testEntry("bramble", 1, "amelia-edit.webordinary.com")}))
	table.Apply([]Change{change(testEntry("clover", 1))})
	requireRoutes(t, table, map[string]string{
		"edit.amelia.webordinary.com": "amelia", "edit.clover.webordinary.com": "clover",
		"amelia-edit.webordinary.com": "bramble", "clover-edit.webordinary.com": "",
	})
	faults := table.SetPatterns(testPatterns(t)[1:])
	require.Len(t, faults, 1)
	assert.Equal(t, "bramble", faults[0].ClientID)
	requireRoutes(t, table, map[string]string{
		"edit.amelia.webordinary.com": "", "edit.clover.webordinary.com": "", "edit.amelia.example": "amelia",
		"amelia-edit.webordinary.com": "amelia", "clover-edit.webordinary.com": "clover",
	})
	require.Empty(t, table.SetPatterns(testPatterns(t)[:1]))
	requireRoutes(t, table, map[string]string{"amelia-edit.webordinary.com": "bramble"})
	assert.True(t, table.Loaded())

	empty := NewTable(nil)
	empty.SetPatterns(testPatterns(t))
	assert.False(t, empty.Loaded(), "patterns load nothing")
}

// TestTableRandom holds the table against a plain map while random changes come in,
// and across the merges of its overlay.
func TestTableRandom(t *testing.T) {
	const clients, rounds = 300, 4000
	random := rand.New(rand.NewPCG(1, 2))
	table := NewTable(testPatterns(t))
	table.Replace(slices.Values([]Entry{}))
	model := make(map[string]Entry)
	version := int64(0)
	merges, lastBase := 0, table.current.Load().base
	for round := range rounds {
		var batch []Change
		for range 1 + random.IntN(5) {
			id := fmt.Sprintf("c%d", random.IntN(clients))
			version++
			if _, ok := model[id]; ok && random.IntN(4) == 0 {
				delete(model, id)
				batch = append(batch, tombstone(id, version))
				continue
			}
			model[id] = testEntry(id, version, fmt.Sprintf("alias%d.%s.example", random.IntN(3), id))
			batch = append(batch, change(model[id]))
		}
		require.Empty(t, table.Apply(batch))
		if base := table.current.Load().base; base != lastBase {
			lastBase = base
			merges++
		}
		if round%100 != 0 && round != rounds-1 {
			continue
		}
		requireModel(t, table, model, clients)
		held := table.current.Load()
		require.Empty(t, table.Replace(maps.Values(model)))
		assert.Same(t, held.base, table.current.Load().base, "a load that finds nothing new keeps what there is")
	}
	assert.Positive(t, merges)
	requireModel(t, table, model, clients)
}

// requireModel compares a table with what it should hold, by every host and id.
func requireModel(t *testing.T, table *Table, model map[string]Entry, clients int) {
	t.Helper()
	hosts := make(map[string]string)
	for i := range clients {
		id := fmt.Sprintf("c%d", i)
		for _, host := range []string{
			"edit." + id + ".webordinary.com", id + "-edit.webordinary.com", "edit." + id + ".example",
			"alias0." + id + ".example", "alias1." + id + ".example", "alias2." + id + ".example",
		} {
			hosts[host] = ""
		}
		entry, want := model[id]
		route, ok := table.ByID(id)
		require.Equal(t, want, ok, id)
		require.Equal(t, entry.Version, route.Version)
		if want {
			hosts["edit."+id+".webordinary.com"], hosts[id+"-edit.webordinary.com"] = id, id
			for _, host := range entry.Hosts {
				hosts[host] = id
			}
		}
	}
	requireRoutes(t, table, hosts)
	require.Equal(t, len(model), table.Len())
	routed := 0
	for _, id := range hosts {
		if id != "" {
			routed++
		}
	}
	require.Equal(t, routed, table.Info().Hosts)
}

// TestTableReaders looks up while changes come in: a client is always seen whole.
func TestTableReaders(t *testing.T) {
	table := NewTable(testPatterns(t))
	table.Replace(slices.Values([]Entry{testEntry("amelia", 1, "a.example"), testEntry("bramble", 1)}))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, ok := table.Lookup("a.example")
				assert.True(t, ok)
				assert.Equal(t, r.Version%2 == 0, r.Disabled)
				_, ok = table.Lookup("edit.bramble.example")
				assert.True(t, ok)
				_, ok = table.ByID("nobody")
				assert.False(t, ok)
			}
		})
	}
	for version := int64(2); version < 1500; version++ {
		e := testEntry("amelia", version, "a.example")
		e.Disabled = version%2 == 0
		table.Apply([]Change{change(e), change(testEntry(fmt.Sprintf("c%d", version), 1))})
		if version%500 == 0 {
			table.SetPatterns(testPatterns(t)[:version/500%2])
		}
	}
	close(stop)
	readers.Wait()
}
