package sessions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFlights is how many look-ups the registry gets at once.
	maxFlights = 64
	// flightPatience is how long a look-up waits for its turn: a registry that keeps
	// 64 others waiting for longer is as good as down.
	flightPatience = 2 * time.Second
)

// flights are look-ups in the registry, by key: one for all who ask for the same, and
// a bounded number at once. One that has to wait for its turn is given up when nobody
// waits for it any more.
type flights struct {
	places   chan struct{}
	patience atomic.Int64 // flightPatience, but in tests
	unknown  *unknownIDs  // keys of which a look-up found nothing

	mu    sync.Mutex
	byKey map[string]*flight
}

type flight struct {
	callers   int           // under flights.mu
	abandoned chan struct{} // closed when the last caller has left
	done      chan struct{} // closed at the end
	record    Record        // set before done is closed
	err       error
}

func newFlights(unknown *unknownIDs) *flights {
	l := &flights{places: make(chan struct{}, maxFlights), unknown: unknown, byKey: make(map[string]*flight)}
	l.patience.Store(int64(flightPatience))
	return l
}

// join waits for the outcome of a key's look-up, and begins it if there is none.
// ErrNotFound at once if the key is remembered as unknown, ErrUnavailable if there are
// too many, ErrClosed, and what read and ctx say. read's context is not ctx: others may
// wait for the same answer.
func (l *flights) join(ctx context.Context, s *Service, key string, read func(context.Context) (Record, error)) (Record, error) {
	l.mu.Lock()
	if l.unknown.has(key) {
		l.mu.Unlock()
		return Record{}, ErrNotFound
	}
	f, ok := l.byKey[key]
	if !ok {
		f = &flight{abandoned: make(chan struct{}), done: make(chan struct{})}
		if !s.spawn(func() { l.fly(s.ctx, key, f, read) }) {
			l.mu.Unlock()
			return Record{}, ErrClosed
		}
		l.byKey[key] = f
	}
	f.callers++
	l.mu.Unlock()
	select {
	case <-f.done:
		return f.record, f.err
	case <-ctx.Done():
		l.leave(key, f)
		return Record{}, ctx.Err()
	}
}

func (l *flights) leave(key string, f *flight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.callers--
	if f.callers == 0 {
		l.forget(key, f) // who comes now must not join what is given up
		close(f.abandoned)
	}
}

// forget lets the next caller begin a new look-up, and reports whether that was not so
// already. l.mu is held.
func (l *flights) forget(key string, f *flight) bool {
	if l.byKey[key] != f {
		return false
	}
	delete(l.byKey, key)
	return true
}

// outdate tells that what a key stands for was made or deleted: who asks from now on
// gets neither what is remembered nor what a look-up finds that began before.
func (l *flights) outdate(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey, key)
	l.unknown.remove(key)
}

func (l *flights) fly(life context.Context, key string, f *flight, read func(context.Context) (Record, error)) {
	patience := time.NewTimer(time.Duration(l.patience.Load()))
	defer patience.Stop()
	select {
	case l.places <- struct{}{}:
		ctx, cancel := context.WithTimeout(life, registryTimeout)
		f.record, f.err = read(ctx)
		cancel()
		<-l.places
	case <-f.abandoned:
		f.err = context.Canceled
	case <-patience.C:
		f.err = fmt.Errorf("%w: too many look-ups wait for it", ErrUnavailable)
	case <-life.Done():
		f.err = ErrClosed
	}
	l.mu.Lock()
	if l.forget(key, f) && errors.Is(f.err, ErrNotFound) {
		l.unknown.add(key)
	}
	l.mu.Unlock()
	close(f.done)
}
