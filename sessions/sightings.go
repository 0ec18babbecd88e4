package sessions

import (
	"sync"
	"time"
)

// sighting is a version of a record, and since when and until when this edge has seen it.
type sighting struct {
	version     int64
	since, last time.Time
}

// sightings remembers for how long this edge has seen records unchanged, by its own
// clock, which only ever goes forward: a time that another machine wrote is never
// compared with it. It is how another edge's lease is told to have expired. The version
// is what is compared, because it never comes back, as the beat of a lease does.
type sightings struct {
	mu   sync.Mutex
	seen map[string]sighting
}

// unseen is after how long a session that nobody looked at is forgotten: that costs no
// more than a wait from the beginning.
const unseen = 2 * maxBackOff

// age takes in a record as it was read, and returns for how long this edge has seen it so.
func (w *sightings) age(r Record) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	s, ok := w.seen[r.SessionID]
	switch {
	case !ok || s.version < r.Version:
		s = sighting{version: r.Version, since: now}
	case s.version > r.Version:
		return 0 // read before the other
	}
	s.last = now
	w.seen[r.SessionID] = s
	return now.Sub(s.since)
}

// forget removes what nobody has looked at for so long.
func (w *sightings) forget(after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for id, s := range w.seen {
		if now.Sub(s.last) > after {
			delete(w.seen, id)
		}
	}
}

// bound sets right what another machine's clock wrote, as far as it matters: no wake
// failed later than when this edge first saw that it did, so that a clock that is ahead
// prolongs no back-off. One that is behind shortens it.
func (s *Service) bound(r Record) Record {
	if r.Failure == nil || !r.Failure.At.After(time.Now()) {
		return r
	}
	f := *r.Failure
	f.At = time.Now().Add(-s.sightings.age(r))
	r.Failure = &f
	return r
}
