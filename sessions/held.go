package sessions

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	// errLeaseLost: another edge has taken the session over, or it was deleted.
	errLeaseLost = errors.New("another edge has taken the session over")
	// errUnwanted ends a wake because another edge wants the session asleep.
	errUnwanted = errors.New("the session is to sleep")
	// errInterrupted ends a wake because the session is to be put to sleep or deleted.
	errInterrupted = errors.New("interrupted")
)

// held is a record under this edge's lease, or about to be: writes go one after the
// other through it, and each begins from what the last one left.
type held struct {
	s    *Service
	e    *live
	turn turn // of whoever writes

	mu sync.Mutex // guards r; it waits for no registry
	r  Record     // written by whoever has the turn
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
	wait := retryFirst
	for {
		next, err := Next(h.r, ev, time.Now())
		if err != nil {
			return err
		}
		// No limit: a slot is only ever taken by a wake, which does not come here.
		stored, err := h.s.update(ctx, next, 0)
		switch {
		case err == nil:
			h.set(stored)
			h.e.publish(stored)
			return nil
		case errors.Is(err, ErrConflict):
			done, err := h.reread(ctx, next)
			if done || err != nil {
				return err
			}
		case !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, retryMost)
	}
}

// reread looks why a write met another version: because an earlier try was written
// though its answer was lost (done), or because the record is no longer ours.
func (h *held) reread(ctx context.Context, next Record) (done bool, err error) {
	now, err := h.s.get(ctx, next.SessionID)
	switch {
	case errors.Is(err, ErrUnavailable):
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
	tick := time.NewTicker(max(h.s.lease/3, time.Millisecond))
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

// leased runs fn while the lease is renewed. fn's context ends with the lease.
func (h *held) leased(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { h.keep(ctx, cancel) })
	err := fn(ctx)
	if err != nil {
		err = cause(ctx, err)
	}
	cancel(nil)
	keeper.Wait()
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

// leaseSighting is a lease and since when it has been seen unchanged.
type leaseSighting struct {
	lease Lease
	since time.Time
}

// leaseWatch remembers other edges' leases, by session, to tell whether they expired:
// only by how long they were seen unchanged, never by a time that another machine wrote.
type leaseWatch struct {
	mu   sync.Mutex
	seen map[string]leaseSighting
}

// expired reports whether a record's lease has been seen unchanged for its length.
func (w *leaseWatch) expired(r Record, length time.Duration) bool {
	if r.Lease == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	sighting, ok := w.seen[r.SessionID]
	if !ok || sighting.lease != *r.Lease {
		w.seen[r.SessionID] = leaseSighting{lease: *r.Lease, since: now}
		return false
	}
	return now.Sub(sighting.since) >= length
}

// keepOnly forgets all sessions but these.
func (w *leaseWatch) keepOnly(records []Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := make(map[string]leaseSighting, len(records))
	for _, r := range records {
		if sighting, ok := w.seen[r.SessionID]; ok {
			kept[r.SessionID] = sighting
		}
	}
	w.seen = kept
}
