package sessions

import (
	"context"
	"fmt"
	"sync"
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
	places chan struct{}
	mu     sync.Mutex
	byKey  map[string]*flight
}

type flight struct {
	callers   int           // under flights.mu
	abandoned chan struct{} // closed when the last caller has left
	done      chan struct{} // closed at the end
	record    Record        // set before done is closed
	err       error
}

func newFlights() *flights {
	return &flights{places: make(chan struct{}, maxFlights), byKey: make(map[string]*flight)}
}

// join waits for the outcome of a key's look-up, and begins it if there is none.
// ErrUnavailable if there are too many, ErrClosed, and what read and ctx say. read's
// context is not ctx: others may wait for the same answer.
func (l *flights) join(ctx context.Context, s *Service, key string, read func(context.Context) (Record, error)) (Record, error) {
	l.mu.Lock()
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

// forget lets the next caller begin a new look-up. l.mu is held.
func (l *flights) forget(key string, f *flight) {
	if l.byKey[key] == f {
		delete(l.byKey, key)
	}
}

func (l *flights) fly(life context.Context, key string, f *flight, read func(context.Context) (Record, error)) {
	patience := time.NewTimer(flightPatience)
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
	l.forget(key, f)
	l.mu.Unlock()
	close(f.done)
}
