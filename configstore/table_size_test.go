package configstore

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

// manyEntries yields n clients of the usual shape: own edit host and one alias.
func manyEntries(n int) func(func(Entry) bool) {
	return func(yield func(Entry) bool) {
		for i := range n {
			id := fmt.Sprintf("client-%06d", i)
			e := Entry{
				ClientID: id, Hosts: []string{"edit." + id + "-pottery.com", "preview." + id + ".com"},
				Settings: testSettings, Version: 1,
			}
			if !yield(e) {
				return
			}
		}
	}
}

func TestTableMemory(t *testing.T) {
	const clients, limit = 100_000, 400
	before := heapBytes()
	table := NewTable(testPatterns(t))
	table.Replace(manyEntries(clients))
	perClient := float64(heapBytes()-before) / clients
	t.Logf("%.0f bytes a client with an edit host, an alias and two patterns", perClient)
	assert.Less(t, perClient, float64(limit))
	assert.InEpsilon(t, perClient, float64(table.Bytes())/clients, 0.1)
	requireRoutes(t, table, map[string]string{"client-099999-edit.webordinary.com": "client-099999"})
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestTableLookupAllocations(t *testing.T) {
	table := NewTable(testPatterns(t))
	table.Replace(manyEntries(1000))
	table.Apply([]Change{change(testEntry("amelia", 1))})
	for _, host := range []string{
		"edit.client-000007-pottery.com", "preview.client-000007.com", "client-000007-edit.webordinary.com",
		"edit.amelia.example", "edit.nobody.com", "",
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() {
			name, _ := LookupHost(host)
			table.Lookup(name)
		}), host)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { table.ByID("client-000007") }))
}

func BenchmarkTableLookup(b *testing.B) {
	for _, clients := range []int{10, 100_000} {
		table := NewTable(testPatterns(b))
		table.Replace(manyEntries(clients))
		changed := NewTable(testPatterns(b))
		changed.Replace(manyEntries(clients))
		changed.Apply([]Change{change(testEntry("amelia", 1))})
		for _, bench := range []struct {
			name, host string
			table      *Table
		}{
			{"hit", "edit.client-000007-pottery.com", table},
			{"alias", "preview.client-000007.com", table},
			{"pattern", "client-000007-edit.webordinary.com", table},
			{"miss", "edit.nobody.webordinary.com", table},
			{"hit-with-overlay", "edit.client-000007-pottery.com", changed},
		} {
			b.Run(fmt.Sprintf("%s/%d", bench.name, clients), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					host, _ := LookupHost(bench.host)
					bench.table.Lookup(host)
				}
			})
		}
	}
}

func BenchmarkTableLoad(b *testing.B) {
	table := NewTable(testPatterns(b))
	for b.Loop() {
		table.Replace(manyEntries(0)) // empty, so that the next load is not found equal
		table.Replace(manyEntries(100_000))
	}
}

func BenchmarkTableApply(b *testing.B) {
	table := NewTable(testPatterns(b))
	table.Replace(manyEntries(100_000))
	version := int64(1)
	b.ReportAllocs()
	for b.Loop() {
		version++
		table.Apply([]Change{change(testEntry(fmt.Sprintf("c%d", version%5000), version))})
	}
}
