package configstore

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Route is what routing needs of a client. Its strings share memory with the table;
// clone those that are kept for long.
type Route struct {
	ClientID string
	// EditHost is domains.edit: the host of preview URLs.
	EditHost string
	Settings Settings
	Version  int64
	// Disabled: every host of the client answers 403.
	Disabled bool
}

// Table is the routing table: every client of a store, by host and by id. Look-ups take
// no locks, do no I/O and allocate nothing; writers publish a new generation at once, so
// that a reader sees a change of a client whole. See Follow for what fills it.
type Table struct {
	current atomic.Pointer[generation]

	// What is noted beside the generations; see Info.
	checkedAt  atomic.Int64 // Unix nanoseconds; 0: never
	lastChange atomic.Pointer[SeenChange]
	failure    atomic.Pointer[failure]

	mu sync.Mutex // held by writers
	// contested has every host that several clients are entitled to, with their ids.
	contested map[string][]string
}

// generation is the table between two changes.
type generation struct {
	patterns []HostPattern
	base     *base
	overlay  overlay
	info     Info
}

// NewTable returns an empty table which is not loaded.
func NewTable(patterns []HostPattern) *Table {
	t := &Table{contested: make(map[string][]string)}
	t.current.Store(&generation{patterns: slices.Clone(patterns), base: &base{}})
	return t
}

// Lookup returns the route of a host in the form of LookupHost.
func (t *Table) Lookup(host string) (Route, bool) {
	g := t.current.Load()
	if len(g.overlay.hosts) > 0 {
		if l, ok := g.overlay.hosts[host]; ok {
			if l == nil {
				return Route{}, false
			}
			return l.route, true
		}
	}
	row, ok := g.base.lookup(host)
	if !ok {
		return Route{}, false
	}
	return g.base.route(row), true
}

// ByID returns the route of a client.
func (t *Table) ByID(id string) (Route, bool) {
	g := t.current.Load()
	if l, ok := g.overlay.ids[id]; ok {
		if l == nil {
			return Route{}, false
		}
		return l.route, true
	}
	row, ok := g.base.byID(id)
	if !ok {
		return Route{}, false
	}
	return g.base.route(row), true
}

// Loaded reports whether the table was ever loaded. Until then a host that it does not
// know may well be a client's.
func (t *Table) Loaded() bool { return !t.current.Load().info.LoadedAt.IsZero() }

// Len returns the number of clients.
func (t *Table) Len() int { return t.current.Load().info.Clients }

// Replace loads the table with these entries and nothing else, as a scan does. Broken
// rows are left out and reported.
func (t *Table) Replace(entries iter.Seq[Entry]) []RowFault {
	var bb baseBuilder
	for e := range entries {
		bb.add(e)
	}
	return t.load(loading{builder: &bb, source: SourceScan})
}

// loading is what a table is loaded with.
type loading struct {
	builder *baseBuilder
	// changes came after what was gathered; both are published as one.
	changes []Change
	source  Source
	// checkedAt is when the store said that this is all; zero: now.
	checkedAt time.Time
}

// load publishes what was gathered.
func (t *Table) load(l loading) []RowFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	held, heldContested := t.current.Load(), t.contested
	g := t.rebuild(held.patterns, l.builder)
	g.info.LoadedAt, g.info.ChangedAt, g.info.Source = now, now, l.source
	g, faults := t.edit(g, l.changes)
	if held.equal(g) {
		// Routes that are in use refer to the text of their base: many bases that
		// differ in nothing would all be kept alive by long connections.
		kept := *held
		kept.info.LoadedAt, kept.info.Source = now, g.info.Source
		if held.info.LoadedAt.IsZero() {
			kept.info.ChangedAt = now
		}
		g, t.contested = &kept, heldContested
	}
	t.current.Store(g)
	checkedAt := l.checkedAt
	if checkedAt.IsZero() {
		checkedAt = now
	}
	t.checkedAt.Store(checkedAt.UnixNano())
	t.saw(l.changes)
	return append(l.builder.faults, faults...)
}

// Apply brings the table up to date with changes, in their order; those that it knows
// already change nothing. What is broken is left out and reported.
func (t *Table) Apply(changes []Change) []RowFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.current.Load()
	g, faults := t.edit(held, changes)
	if g == held && held.info.Source == SourceSnapshot {
		current := *held // the store has said that the snapshot is all there is
		current.info.Source = SourceChanges
		g = &current
	}
	t.current.Store(g)
	t.checkedAt.Store(time.Now().UnixNano())
	t.saw(changes)
	return faults
}

// SetPatterns replaces the host patterns and with them the hosts of every client, at once.
func (t *Table) SetPatterns(patterns []HostPattern) []RowFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.current.Load()
	if slices.Equal(g.patterns, patterns) {
		return nil
	}
	bb := g.builder()
	next := t.rebuild(slices.Clone(patterns), bb)
	next.info.LoadedAt, next.info.ChangedAt, next.info.Source = g.info.LoadedAt, time.Now(), g.info.Source
	t.current.Store(next)
	return bb.faults
}

// edit returns the generation after some changes: g itself where they change nothing.
func (t *Table) edit(g *generation, changes []Change) (*generation, []RowFault) {
	if len(changes) == 0 {
		return g, nil
	}
	e := newEditor(g, t.contested)
	for _, c := range changes {
		e.apply(c)
	}
	if !e.changed {
		return g, e.faults
	}
	next := *g
	next.overlay = e.next
	next.info.Clients += e.clients
	next.info.Hosts += e.hosts
	next.info.ChangedAt, next.info.Source = time.Now(), SourceChanges
	if len(next.overlay.ids) > overlayLimit(len(g.base.rows)) {
		merged := t.rebuild(g.patterns, next.builder())
		merged.info.LoadedAt, merged.info.ChangedAt, merged.info.Source = next.info.LoadedAt, next.info.ChangedAt, next.info.Source
		return merged, e.faults
	}
	return &next, e.faults
}

// overlayLimit bounds the cost of copying the overlay at each change (a fraction of a
// millisecond) against that of building a new base every so often (about 0.1 s for
// 100,000 clients).
func overlayLimit(rows int) int { return 256 + rows/64 }

// rebuild makes a generation without an overlay; its info has the counts only.
func (t *Table) rebuild(patterns []HostPattern, bb *baseBuilder) *generation {
	g := &generation{patterns: patterns}
	g.base, t.contested = bb.finish(patterns)
	for i := range g.base.rows {
		if !g.base.rows[i].replaced {
			g.info.Clients++
		}
	}
	g.info.Hosts = len(g.base.granted)
	return g
}

// entries yields every client of the generation.
func (g *generation) entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, l := range g.overlay.ids {
			if l != nil && !yield(l.entry) {
				return
			}
		}
		for i := range g.base.rows {
			row := &g.base.rows[i]
			if _, changed := g.overlay.ids[g.base.string(row.id)]; changed || row.replaced {
				continue
			}
			if !yield(g.base.entry(uint32(i))) {
				return
			}
		}
	}
}

// equal reports whether two generations with the same patterns hold the same clients.
func (g *generation) equal(other *generation) bool {
	if g.info.Clients != other.info.Clients || !slices.Equal(g.patterns, other.patterns) {
		return false
	}
	for e := range other.entries() {
		held, ok := g.entry(e.ClientID)
		if !ok || !sameEntry(e, held) {
			return false
		}
	}
	return true
}

// entry returns a client's entry.
func (g *generation) entry(id string) (Entry, bool) {
	if l, ok := g.overlay.ids[id]; ok {
		if l == nil {
			return Entry{}, false
		}
		return l.entry, true
	}
	row, ok := g.base.byID(id)
	if !ok {
		return Entry{}, false
	}
	return g.base.entry(row), true
}

// builder returns a builder with every client of the generation.
func (g *generation) builder() *baseBuilder {
	bb := new(baseBuilder)
	for e := range g.entries() {
		bb.add(e)
	}
	return bb
}
