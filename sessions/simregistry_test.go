package sessions_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/registrytest"
)

// simRegistry is a registry in memory, for many edges at once: it remembers what its
// records were a moment ago, which is what lists may show.
type simRegistry struct {
	lag    func() time.Duration                  // how old what lists show is; nil: not at all
	onFree func(r sessions.Record, deleted bool) // called under mu when a slot is freed
	mu     sync.Mutex
	rows   map[string][]simRow // by session, the newest last
	order  []string            // sessions in the order of their creation
	writes int
	duty   sessions.Lease
}

// simRow is a record as it was from a time on.
type simRow struct {
	from    time.Time
	record  sessions.Record
	deleted bool
}

// simMemory is how long a registry remembers what its records were.
const simMemory = 3 * time.Second

func newSimRegistry() *simRegistry { return &simRegistry{rows: map[string][]simRow{}} }

func TestSimRegistry(t *testing.T) {
	registrytest.Run(t, registrytest.Options{Open: func(*testing.T) (sessions.Registry, func() sessions.Registry) {
		reg := newSimRegistry()
		return reg, func() sessions.Registry { return reg }
	}})
}

func clone(r sessions.Record) sessions.Record {
	if r.Lease != nil {
		lease := *r.Lease
		r.Lease = &lease
	}
	if r.Start != nil {
		start := *r.Start
		r.Start = &start
	}
	if r.Failure != nil {
		failure := *r.Failure
		r.Failure = &failure
	}
	return r
}

// get returns a record as it is. g.mu is held.
func (g *simRegistry) get(id string) (sessions.Record, bool) {
	rows := g.rows[id]
	if len(rows) == 0 || rows[len(rows)-1].deleted {
		return sessions.Record{}, false
	}
	return clone(rows[len(rows)-1].record), true
}

// now is what a registry has, for the test itself.
func (g *simRegistry) now(id string) (sessions.Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.get(id)
}

// ids are all sessions that ever were.
func (g *simRegistry) ids() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.order)
}

// put makes a row the newest. g.mu is held.
func (g *simRegistry) put(row simRow) {
	id, now := row.record.SessionID, time.Now()
	row.from, row.record = now, clone(row.record)
	rows := append(g.rows[id], row)
	for len(rows) > 1 && now.Sub(rows[1].from) > simMemory {
		rows = rows[1:]
	}
	g.rows[id] = rows
	g.writes++
}

// running counts the sessions of a client that hold a slot. g.mu is held.
func (g *simRegistry) running(client string) (ids []string) {
	for _, id := range g.order {
		if r, ok := g.get(id); ok && r.ClientID == client && r.HoldsSlot() {
			ids = append(ids, id)
		}
	}
	return ids
}

func (g *simRegistry) Create(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	if ctx.Err() != nil {
		return sessions.Record{}, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range g.order {
		other, ok := g.get(id)
		if ok && other.ClientID == r.ClientID && other.ThreadID == r.ThreadID && id != r.SessionID {
			return sessions.Record{}, &sessions.ThreadTakenError{ThreadID: r.ThreadID, SessionID: id}
		}
	}
	if _, ok := g.get(r.SessionID); ok {
		return sessions.Record{}, sessions.ErrConflict
	}
	if r.HoldsSlot() && len(g.running(r.ClientID)) >= limit {
		return sessions.Record{}, sessions.ErrLimit
	}
	r.Version = 1
	if len(g.rows[r.SessionID]) == 0 {
		g.order = append(g.order, r.SessionID)
	}
	g.put(simRow{record: r})
	return clone(r), nil
}

func (g *simRegistry) Get(ctx context.Context, id string) (sessions.Record, error) {
	if ctx.Err() != nil {
		return sessions.Record{}, ctx.Err()
	}
	r, ok := g.now(id)
	if !ok {
		return sessions.Record{}, sessions.ErrNotFound
	}
	return r, nil
}

func (g *simRegistry) ByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	if ctx.Err() != nil {
		return sessions.Record{}, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range g.order {
		if r, ok := g.get(id); ok && r.ClientID == clientID && r.ThreadID == threadID {
			return r, nil
		}
	}
	return sessions.Record{}, sessions.ErrNotFound
}

func (g *simRegistry) Update(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	if ctx.Err() != nil {
		return sessions.Record{}, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.get(r.SessionID)
	switch {
	case !ok:
		return sessions.Record{}, sessions.ErrNotFound
	case old.Version != r.Version:
		return sessions.Record{}, sessions.ErrConflict
	case old.ClientID != r.ClientID || old.ThreadID != r.ThreadID:
		return sessions.Record{}, errors.New("a session's client and thread never change")
	case r.HoldsSlot() && !old.HoldsSlot() && len(g.running(r.ClientID)) >= limit:
		return sessions.Record{}, sessions.ErrLimit
	}
	r.Version++
	if g.onFree != nil && old.HoldsSlot() && !r.HoldsSlot() {
		g.onFree(old, false)
	}
	g.put(simRow{record: r})
	return clone(r), nil
}

func (g *simRegistry) Delete(ctx context.Context, id string, version int64) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.get(id)
	switch {
	case !ok:
		return sessions.ErrNotFound
	case old.Version != version:
		return sessions.ErrConflict
	}
	if g.onFree != nil {
		g.onFree(old, true)
	}
	g.put(simRow{record: old, deleted: true})
	return nil
}

// listed returns what a list shows of the records that fit, in the order of their ids.
func (g *simRegistry) listed(ctx context.Context, fits func(sessions.Record) bool) ([]sessions.Record, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	at := time.Now()
	if g.lag != nil {
		at = at.Add(-g.lag())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []sessions.Record
	for _, id := range g.order {
		rows := g.rows[id]
		i := len(rows) - 1
		for i > 0 && rows[i].from.After(at) {
			i--
		}
		if row := rows[i]; !row.from.After(at) && !row.deleted && fits(row.record) {
			found = append(found, clone(row.record))
		}
	}
	slices.SortFunc(found, func(a, b sessions.Record) int { return compareText(a.SessionID, b.SessionID) })
	return found, nil
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (g *simRegistry) List(ctx context.Context, clientID, after string, limit int) ([]sessions.Record, error) {
	found, err := g.listed(ctx, func(r sessions.Record) bool {
		return (clientID == "" || r.ClientID == clientID) && r.SessionID > after
	})
	return found[:min(limit, len(found))], err
}

func (g *simRegistry) Running(ctx context.Context, clientID string) ([]string, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running(clientID), nil
}

func (g *simRegistry) Due(ctx context.Context, t time.Time, limit int) ([]sessions.Record, error) {
	found, err := g.listed(ctx, func(r sessions.Record) bool {
		return r.Status == sessions.StatusActive && !r.AskAt.IsZero() && !r.AskAt.After(t)
	})
	slices.SortStableFunc(found, func(a, b sessions.Record) int { return a.AskAt.Compare(b.AskAt) })
	return found[:min(limit, len(found))], err
}

func (g *simRegistry) Unsettled(ctx context.Context, limit int) ([]sessions.Record, error) {
	found, err := g.listed(ctx, func(r sessions.Record) bool {
		return r.HoldsSlot() && (r.Status != sessions.StatusActive || r.Lease != nil)
	})
	return found[:min(limit, len(found))], err
}

func (g *simRegistry) Duty(ctx context.Context) (sessions.Lease, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.duty, ctx.Err()
}

func (g *simRegistry) SetDuty(ctx context.Context, old, next sessions.Lease) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.duty != old {
		return sessions.ErrConflict
	}
	g.duty = next
	return nil
}

func (g *simRegistry) Close() error { return nil }
