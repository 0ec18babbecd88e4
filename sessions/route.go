package sessions

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Route is the way to the container of an active session. It never changes, and it is
// the same pointer for as long as the container serves, though it may be dropped and
// set again in between; a new epoch has a new one.
type Route struct {
	SessionID string
	ClientID  string
	Address   string // "host:port"
	Token     string // a secret: for bootapi.HeaderToken only
	Epoch     int64
	// Prefix is the path under which the session is served; see Prefix.
	Prefix string
	// Proof is what each response of the container has in bootapi.HeaderProof.
	Proof string

	life atomic.Pointer[routeLife] // nil before it is in the table
}

// routeLife is one stay of a route in the table.
type routeLife struct {
	ended context.Context //nolint:containedctx // is not handed on: it only ends
	end   context.CancelFunc
}

// OnDrop has fn called, in a goroutine of its own, when the route is dropped; at once
// if it is. stop takes that back, as context.AfterFunc's does. What holds connections
// to the container closes them so. A route that was never in a table is never dropped.
func (r *Route) OnDrop(fn func()) (stop func() bool) {
	life := r.life.Load()
	if life == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(life.ended, fn)
}

// begin and end are called by the table, one at a time.
func (r *Route) begin() {
	ended, end := context.WithCancel(context.Background())
	r.life.Store(&routeLife{ended: ended, end: end})
}

func (r *Route) end() { r.life.Load().end() }

// newRoute returns the way to the container that a record names.
func newRoute(r Record) *Route {
	return &Route{
		SessionID: r.SessionID, ClientID: r.ClientID, Address: r.address(),
		Token: string(r.Start.Token), Epoch: r.Epoch,
		Prefix: Prefix(r.SessionID), Proof: bootapi.ResponseProof(string(r.Start.Token), r.SessionID, r.Epoch),
	}
}

// String names the route without its token.
func (r *Route) String() string { return r.SessionID + " at " + r.Address }

// routeShards is how many parts the table of routes has. A change copies one part, so
// that reading needs no lock: 64 parts keep a copy at 10,000 sessions below 200 entries.
const routeShards = 64

// routes is the table of routes, made for many readers and few changes.
type routes struct {
	seed   maphash.Seed
	shards [routeShards]routeShard
}

type routeShard struct {
	mu sync.Mutex // held by writers
	m  atomic.Pointer[map[string]*Route]
}

func newRoutes() *routes {
	t := &routes{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].m.Store(&map[string]*Route{})
	}
	return t
}

func (t *routes) shard(id string) *routeShard {
	return &t.shards[maphash.String(t.seed, id)%routeShards]
}

func (t *routes) get(id string) (*Route, bool) {
	r, ok := (*t.shard(id).m.Load())[id]
	return r, ok
}

func (t *routes) set(r *Route) {
	s := t.shard(r.SessionID)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := maps.Clone(*s.m.Load())
	before := m[r.SessionID]
	if before == r {
		return
	}
	r.begin()
	m[r.SessionID] = r
	s.m.Store(&m)
	if before != nil {
		before.end()
	}
}

// drop removes a session's route; if only is not nil, only that one. It reports
// whether it removed one.
func (t *routes) drop(id string, only *Route) bool {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := (*s.m.Load())[id]
	if !ok || (only != nil && have != only) {
		return false
	}
	m := maps.Clone(*s.m.Load())
	delete(m, id)
	s.m.Store(&m)
	have.end()
	return true
}

// all returns the ids of all sessions that have a route.
func (t *routes) all() []string {
	var ids []string
	for i := range t.shards {
		for id := range *t.shards[i].m.Load() {
			ids = append(ids, id)
		}
	}
	return ids
}
