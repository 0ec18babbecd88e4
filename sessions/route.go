package sessions

import (
	"encoding/base32"
	"hash/maphash"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Route is the way to the container of an active session. It never changes, and it is
// the same pointer for as long as the container serves; a new epoch has a new one.
type Route struct {
	SessionID string
	ClientID  string
	Address   string // "host:port"
	Token     string // a secret: for bootapi.HeaderToken only
	Epoch     int64
	// Prefix is the path under which the session is served; see Prefix.
	Prefix string
	// PoolKey is a host name which no other session and no other epoch has, so that
	// connections of one are never used for another.
	PoolKey string
}

// newRoute returns the way to the container that a record names.
func newRoute(r Record) *Route {
	return &Route{
		SessionID: r.SessionID, ClientID: r.ClientID, Address: r.address(),
		Token: string(r.Start.Token), Epoch: r.Epoch,
		Prefix: Prefix(r.SessionID), PoolKey: poolKey(r.SessionID, r.Epoch),
	}
}

// poolKey makes a Route's PoolKey. Ids of the older tools hold characters that no host may.
func poolKey(id string, epoch int64) string {
	if !IsUnguessable(id) {
		id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(id)))
	}
	return strconv.FormatInt(epoch, 10) + "." + id
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
	m[r.SessionID] = r
	s.m.Store(&m)
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
