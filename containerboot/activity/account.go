// Package activity keeps the account of when a session was last used, and by what.
//
// Activity is a person's or an agent's doing: a document, a request that is not a
// plain read, a transfer under way, data frames that a browser sends on a WebSocket.
// Assets, polls, silent sockets, pings and hot-reload sockets are not: a forgotten
// tab must not keep a container awake.
package activity

import (
	"sync"
	"time"
)

// Kinds of activity, as a status names them.
const (
	KindWake     = "wake"     // the session became ready
	KindDocument = "document" // somebody opened a page
	KindWrite    = "write"    // a request other than a plain read
	KindTransfer = "transfer" // an upload or download that takes its time
	KindSocket   = "socket"   // data from a browser on a WebSocket
)

const (
	// transferAfter is how long a read must be in its answer to count as a transfer:
	// longer than an asset takes, shorter than any idle timeout.
	transferAfter = time.Second
	// stalledAfter is how long a transfer may move no byte and still count, so that a
	// reader who is gone without a word does not keep the container awake for ever.
	stalledAfter = 5 * time.Minute
	// workedAfter is how long a write may move no byte and still count, and how long
	// one counts that is answered by an event stream, which moves for as long as the
	// tab is open: as long as the agent's API may work on one request.
	workedAfter = 15 * time.Minute
)

// Account says when the last activity was. Make one with New; its methods are safe
// for concurrent use.
type Account struct {
	now func() time.Time

	mu      sync.Mutex
	last    time.Time
	kind    string
	flights map[*flight]struct{}
}

// flight is a request being served.
type flight struct {
	kind  string
	since time.Time
	moved time.Time // when the last byte went either way; of a stream, when it began
	// stream: the answer is an event stream.
	stream bool
}

// New returns an account without activity; it counts idleness from now on.
func New(now func() time.Time) *Account {
	return &Account{now: now, last: now(), flights: make(map[*flight]struct{})}
}

// Touch notes an activity.
func (a *Account) Touch(kind string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.kind = a.now(), kind
}

// Idle returns how long ago the last activity was and its kind ("" before the
// first). While a write or a transfer is under way it is zero.
func (a *Account) Idle() (time.Duration, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for f := range a.flights {
		if f.counts(now) {
			return 0, f.kind
		}
	}
	return max(0, now.Sub(a.last)), a.kind
}

// begin notes that a request is being served; end must follow.
func (a *Account) begin(kind string) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	f := &flight{kind: kind, since: now, moved: now}
	a.flights[f] = struct{}{}
	if kind == KindWrite {
		a.last, a.kind = now, kind
	}
	return f
}

// move notes that bytes of a request went either way.
func (a *Account) move(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !f.stream {
		f.moved = a.now()
	}
}

// streams notes that the answer to a request is an event stream.
func (a *Account) streams(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.moved, f.stream = a.now(), true
}

// end notes that a request was served. What counted until now was the last activity.
func (a *Account) end(f *flight) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.flights, f)
	now := a.now()
	at := now
	if !f.counts(now) {
		if now.Sub(f.moved) < f.patience() {
			return // an asset
		}
		at = f.moved // it stalled, and counted up to then
	}
	if at.After(a.last) || f.counts(now) {
		a.last, a.kind = at, f.kind
	}
}

// counts reports whether a flight is activity at this moment.
func (f *flight) counts(now time.Time) bool {
	return (f.kind == KindWrite || now.Sub(f.since) >= transferAfter) && now.Sub(f.moved) < f.patience()
}

// patience is how long a flight may move no byte and still count. A write's is longer:
// an agent may work for minutes on one request without a byte.
func (f *flight) patience() time.Duration {
	if f.kind == KindWrite {
		return workedAfter
	}
	return stalledAfter
}
