package progress

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// maxSubscribers bounds how many streams may be open at once: visitors of a
	// session can open them.
	maxSubscribers = 256
	// maxQueued bounds what waits for one slow reader. Log lines give way first.
	maxQueued = 512
)

// Errors of subscriptions.
var (
	// ErrClosed: the board was closed and everything before that was read.
	ErrClosed = errors.New("progress ended")
	// ErrSlow: the reader fell so far behind that it was dropped.
	ErrSlow = errors.New("reader is too slow")
	// ErrTooMany: as many readers as may be are there already.
	ErrTooMany = errors.New("too many readers")
)

// Event is one change, ready to be sent.
type Event struct {
	Name string // bootapi.EventStatus or bootapi.EventLog
	Data []byte // JSON, shared by all subscribers
}

// Subscription is one reader's queue of events.
type Subscription struct {
	wake chan struct{} // capacity 1

	mu    sync.Mutex
	queue []Event
	end   error // set when no more will come
}

// Subscribe returns a subscription whose first event is the present status.
// ErrTooMany if there are too many already. The caller must Unsubscribe.
func (b *Board) Subscribe() (*Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) >= maxSubscribers {
		return nil, ErrTooMany
	}
	data, err := json.Marshal(b.statusLocked())
	if err != nil {
		return nil, err
	}
	s := &Subscription{wake: make(chan struct{}, 1)}
	s.push(Event{Name: bootapi.EventStatus, Data: data})
	if b.closed {
		s.close(ErrClosed)
		return s, nil
	}
	b.subs[s] = struct{}{}
	return s, nil
}

// Unsubscribe ends a subscription.
func (b *Board) Unsubscribe(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Close ends all streams, once they have been read to their end. Status goes on working.
func (b *Board) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.subs {
		s.close(ErrClosed)
	}
	clear(b.subs)
}

// Wait returns all events there are, after the first has come, or none after a time.
// Its error is the context's, ErrClosed or ErrSlow.
func (s *Subscription) Wait(ctx context.Context, atMost time.Duration) ([]Event, error) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		s.mu.Lock()
		events, end := s.queue, s.end
		s.queue = nil
		s.mu.Unlock()
		switch {
		case errors.Is(end, ErrSlow):
			return nil, end
		case len(events) > 0:
			return events, nil
		case end != nil:
			return nil, end
		}
		select {
		case <-s.wake:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// push queues an event. A full queue loses its oldest log line; if it holds none,
// the reader is dropped and push reports false.
func (s *Subscription) push(e Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxQueued && !s.makeRoom() {
		s.queue, s.end = nil, ErrSlow
		s.notify()
		return false
	}
	s.queue = append(s.queue, e)
	s.notify()
	return true
}

// makeRoom removes the older half of the log lines, so that a flood of them costs
// one pass in many.
func (s *Subscription) makeRoom() bool {
	lines := 0
	for _, e := range s.queue {
		if e.Name == bootapi.EventLog {
			lines++
		}
	}
	if lines == 0 {
		return false
	}
	drop := (lines + 1) / 2
	kept := s.queue[:0]
	for _, e := range s.queue {
		if e.Name == bootapi.EventLog && drop > 0 {
			drop--
			continue
		}
		kept = append(kept, e)
	}
	s.queue = kept
	return true
}

func (s *Subscription) close(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = err
	s.notify()
}

func (s *Subscription) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
