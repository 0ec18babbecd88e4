package sessions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// errLeaseLost: the session is another edge's by now, or may be, or was deleted.
	errLeaseLost = errors.New("another edge has taken the session over")
	// errUnwanted ends a wake because another edge wants the session asleep.
	errUnwanted = errors.New("the session is to sleep")
	// errLeaseExpired: the lease could not be renewed in time.
	errLeaseExpired = fmt.Errorf("%w, or may have: the lease could not be renewed", errLeaseLost)
	// errInterrupted ends a wake because the session is to be put to sleep or deleted.
	errInterrupted = errors.New("interrupted")
)

// held is a record under this edge's lease, or about to be: writes go one after the
// other through it, and each begins from what the last one left.
type held struct {
	s    *Service
	e    *live
	turn turn // of whoever writes
	// unsaved says where work is that did not reach the branch when the container ended.
	unsaved string

	mu sync.Mutex // guards r; it waits for no registry
	r  Record     // written by whoever has the turn

	// written is when the last write that was stored was begun: others may have seen the
	// record as it is since then, and no longer.
	written atomic.Pointer[time.Time]
}

// newHeld returns a record as this edge read it, or began to write it at a time.
func newHeld(s *Service, e *live, r Record, written time.Time) *held {
	h := &held{s: s, e: e, r: r}
	h.written.Store(&written)
	return h
}

func (h *held) record() Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.r
}

func (h *held) set(r Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.r = r
}

// apply writes an event and publishes the record. While the registry is unavailable
// it tries again, until ctx ends. errLeaseLost if the record is no longer ours;
// ErrNotFound if it was deleted.
func (h *held) apply(ctx context.Context, ev Event) error {
	if err := h.turn.take(ctx); err != nil {
		return err
	}
	defer h.turn.give()
	wait, began := retryFirst, time.Now()
	for {
		sent := time.Now()
		next, err := Next(h.r, ev, sent)
		if err != nil {
			return err
		}
		stored, err := h.write(ctx, next)
		switch {
		case err == nil:
			h.set(stored)
			h.written.Store(&sent)
			h.e.publish(stored)
			return nil
		case errors.Is(err, ErrConflict):
			done, err := h.reread(ctx, next)
			if done {
				h.written.Store(&began) // by whichever try it was
			}
			if done || err != nil {
				return err
			}
		case !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, retryMost, max(h.s.leaseMargin(), retryFirst))
	}
}

// write is one try. A registry that says nothing must not cost the lease: that is what
// the next try is for.
func (h *held) write(ctx context.Context, next Record) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, h.s.tryFor())
	defer cancel()
	// No limit: a slot is only ever taken by a wake, which does not come here.
	return h.s.update(ctx, next, 0)
}

// reread looks why a write met another version: because an earlier try was written
// though its answer was lost (done), or because the record is no longer ours.
func (h *held) reread(ctx context.Context, next Record) (done bool, err error) {
	now, err := h.s.get(ctx, next.SessionID)
	switch {
	case errors.Is(asUnavailable(err), ErrUnavailable):
		return false, nil
	case err != nil:
		return false, err
	}
	next.Version++
	if now.Version == next.Version && now.Status == next.Status && now.Epoch == next.Epoch && now.Lease.same(next.Lease) &&
		now.SleepWanted == next.SleepWanted {
		h.set(now)
		h.e.publish(now)
		return true, nil
	}
	// A renewal of ours may have been written without our knowing it.
	ours := now.Lease.same(h.r.Lease) || (now.Lease != nil && now.Lease.Holder == h.s.edge)
	if now.Epoch != h.r.Epoch || now.Status != h.r.Status || !ours {
		h.e.publish(now)
		return false, errLeaseLost
	}
	unwanted := now.SleepWanted && !h.r.SleepWanted && next.Status != StatusFailed
	h.set(now)
	if unwanted {
		return false, errUnwanted
	}
	return false, nil
}

// keep renews the lease until ctx ends. If it is lost it calls lost.
func (h *held) keep(ctx context.Context, lost func(error)) {
	tick := time.NewTicker(h.s.renewEvery())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := h.apply(ctx, Event{Kind: EventRenew, Holder: h.s.edge})
		switch {
		case errors.Is(err, ErrTransition) || ctx.Err() != nil:
			return // it is settled
		case errors.Is(err, errLeaseLost) || errors.Is(err, ErrNotFound) || errors.Is(err, errUnwanted):
			lost(err)
			return
		}
	}
}

// expire calls lost when the lease was not renewed in time.
func (h *held) expire(ctx context.Context, lost func(error)) {
	for {
		left := time.Until(h.written.Load().Add(h.s.lease - h.s.leaseMargin()))
		if left <= 0 {
			lost(errLeaseExpired)
			return
		}
		if sleep(ctx, left) != nil {
			return
		}
	}
}

// leased runs fn while the lease is renewed. fn's context ends with the lease.
func (h *held) leased(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var keepers sync.WaitGroup
	keepers.Go(func() { h.keep(ctx, cancel) })
	if !h.s.exclusive { // nobody else could take over
		keepers.Go(func() { h.expire(ctx, cancel) })
	}
	err := fn(ctx)
	if err != nil {
		err = cause(ctx, err)
	}
	cancel(nil)
	keepers.Wait()
	return err
}

// The first and the longest wait between tries of what may succeed at another time.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }
