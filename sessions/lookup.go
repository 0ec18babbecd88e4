package sessions

import (
	"context"
	"strings"
	"sync"
	"time"
)

const (
	// maxIDLength is more than any id that was ever issued, the older tools' included.
	maxIDLength = 256
	// unknownFor is how long an id that nobody issued is remembered as such, and
	// maxUnknown how many are.
	unknownFor = 5 * time.Second
	maxUnknown = 4096
)

// Route returns the way to a session's container, from memory: for a session that is
// active and whose container this edge knows.
func (s *Service) Route(id string) (*Route, bool) { return s.routes.get(id) }

// Lookup returns what is known of a session: from memory if it is live on this edge,
// else from the registry, which is asked once however many ask. An id that nobody
// issued is remembered for some seconds. ErrNotFound, ErrUnavailable.
func (s *Service) Lookup(ctx context.Context, id string) (View, error) {
	if !possible(id) {
		return View{}, ErrNotFound
	}
	if v, ok := s.lookupLive(id); ok {
		return v, nil
	}
	r, err := s.lookupRecord(ctx, id)
	if err != nil {
		return View{}, err
	}
	return present(s.learn(r))
}

// LookupThread is Lookup for the session of a client's thread.
func (s *Service) LookupThread(ctx context.Context, clientID, threadID string) (View, error) {
	if !possible(threadID) {
		return View{}, ErrNotFound
	}
	r, err := s.lookUp(ctx, threadKey(clientID, threadID), func(ctx context.Context) (Record, error) {
		return s.registry.ByThread(ctx, clientID, threadID)
	})
	if err != nil {
		return View{}, err
	}
	if v, ok := s.lookupLive(r.SessionID); ok {
		return v, nil
	}
	return present(s.learn(r))
}

// present returns a view, or ErrNotFound if its session was deleted in the meantime.
func present(v View) (View, error) {
	if v.Record.Status == "" {
		return View{}, ErrNotFound
	}
	return v, nil
}

// possible reports whether there may be such an id at all. A zero byte would make it a
// threadKey.
func possible(id string) bool {
	return len(id) > 0 && len(id) <= maxIDLength && strings.IndexByte(id, 0) < 0
}

// lookupLive returns the view of a session which this edge itself keeps up to date.
func (s *Service) lookupLive(id string) (View, bool) {
	e, ok := s.holdKnown(id)
	if !ok {
		return View{}, false
	}
	defer s.release(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.record.Status == "" || (!e.routed && e.op == nil) {
		return View{}, false
	}
	return e.view(), true
}

// lookupRecord reads a record, in one flight with all who ask for the same.
func (s *Service) lookupRecord(ctx context.Context, id string) (Record, error) {
	return s.lookUp(ctx, id, func(ctx context.Context) (Record, error) { return s.registry.Get(ctx, id) })
}

// lookUp reads a record by what a stranger may have made up, in one flight with all
// who ask for the same key.
func (s *Service) lookUp(ctx context.Context, key string, read func(context.Context) (Record, error)) (Record, error) {
	return s.flights.join(ctx, s, key, func(ctx context.Context) (Record, error) {
		r, err := read(ctx)
		return s.bound(r), asUnavailable(err)
	})
}

// learn takes in a record that was read, and returns what it shows. If it says that
// there is a container of which this edge knows nothing, that is looked into, unless
// another edge is at work on it.
func (s *Service) learn(r Record) View {
	open := r.HoldsSlot() && s.runner != nil
	e, ok := s.holdKnown(r.SessionID)
	if !ok {
		if !open {
			return viewOf(r, false, "")
		}
		e = s.hold(r.SessionID)
	}
	defer s.release(e)
	e.publish(r)
	s.outlived(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.record
	if open && e.op == nil && s.ctx.Err() == nil && now.HoldsSlot() &&
		(!e.routed || now.Status != StatusActive) && (now.Status == StatusActive || !s.othersLease(now)) {
		s.beginSettle(e)
	}
	return e.view()
}

// outlived takes away the route of a session whose record says that another edge has put
// it to sleep since, or woken it anew. e.mu is not held.
func (s *Service) outlived(e *live) {
	e.mu.Lock()
	r, route := e.record, e.route
	// One that drains may serve on: its container says so.
	gone := e.op == nil && e.routed && (r.Epoch > route.Epoch || !r.HoldsSlot())
	e.mu.Unlock()
	if gone {
		s.dropRoute(e, route)
	}
}

// unknownIDs remembers ids that nobody issued: a bounded number for a bounded time.
type unknownIDs struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func newUnknownIDs() *unknownIDs { return &unknownIDs{until: make(map[string]time.Time)} }

func (u *unknownIDs) has(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until, ok := u.until[id]
	if ok && time.Now().After(until) {
		delete(u.until, id)
		ok = false
	}
	return ok
}

// add remembers an id. When there is no room, what is past its time goes, and if
// that is nothing, everything does: remembering is only there to save work.
func (u *unknownIDs) add(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.until) >= maxUnknown {
		now := time.Now()
		for other, until := range u.until {
			if now.After(until) {
				delete(u.until, other)
			}
		}
		if len(u.until) >= maxUnknown {
			clear(u.until)
		}
	}
	u.until[id] = time.Now().Add(unknownFor)
}

func (u *unknownIDs) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.until, id)
}

// threadKey is a thread's place among the ids that are looked up; see possible.
func threadKey(clientID, threadID string) string { return clientID + "\x00" + threadID }
