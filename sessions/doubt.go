package sessions

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Doubt. A container that runs, as its runner says, and does not answer may hang, and
// then its session needs another; or it is the edge that cannot reach it, and then
// others may be using it. One edge cannot tell. So it asks the others by a lease on the
// active session (EventDoubt): each of them looks at the sessions that some edge is at work on
// several times in a lease's length, and takes the lease away (EventFound) if the
// container answers it. If none does, the container is given up, by a write on the
// condition that none did. A deployment of one edge comes to the same, a little later.

// doubtAgain is how long an edge that was told that others reach a container leaves it
// at that.
const doubtAgain = time.Minute

// errUnreachable: the container answers another edge, and not this one.
var errUnreachable = errors.New("container cannot be reached from this edge, but from another")

// doubt is what an edge knows of a container that it cannot reach.
type doubt struct {
	asked   bool
	refuted time.Time // when another edge last answered for it; zero: none has
}

// answerTime is how long others have to answer for a container: a look of theirs which
// the registry leaves unanswered, the next one, and their question to the container.
func (s *Service) answerTime() time.Duration { return s.lease }

// maxAnswering is how many containers an edge answers for at once.
const maxAnswering = 64

// givenUp reports whether no edge answered for the container. The other edges are asked
// first, if need be. errLeaseLost if the session is no longer as it was; errUnreachable if
// another edge reaches the container, and nobody waits for it here.
func (d *doubt) givenUp(ctx context.Context, h *held) (bool, error) {
	s := h.s
	if s.exclusive {
		return true, nil
	}
	if err := h.refresh(ctx); err != nil {
		return false, err
	}
	r := h.record()
	switch {
	case r.Lease != nil: // another's doubt is as good
		d.asked = true
		return s.sightings.age(r) >= s.answerTime(), nil
	case d.asked:
		d.asked, d.refuted = false, time.Now()
		s.logger(r).Warn("session's container cannot be reached from this edge, but from another")
	}
	if !d.refuted.IsZero() && time.Since(d.refuted) < doubtAgain {
		return false, h.unlessWatched()
	}
	s.logger(r).Info("session's container runs and does not answer, asking other edges")
	err := h.apply(ctx, Event{Kind: EventDoubt, Holder: s.edge})
	d.asked = err == nil
	if err == nil {
		s.sightings.age(h.record())
	}
	return false, err
}

// refresh reads the record of an active session anew. errLeaseLost if it is another's by
// now, or in another state.
func (h *held) refresh(ctx context.Context) error {
	if err := h.turn.take(ctx); err != nil {
		return err
	}
	defer h.turn.give()
	r, err := h.s.get(ctx, h.r.SessionID)
	if err != nil {
		if isNotFound(err) {
			return err
		}
		return nil // it is read again
	}
	h.e.publish(r)
	if r.Status != h.r.Status || r.Epoch != h.r.Epoch {
		return errLeaseLost
	}
	h.set(r)
	return nil
}

// unlessWatched is errUnreachable, unless somebody waits for the session.
func (h *held) unlessWatched() error {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	if len(h.e.watches) == 0 {
		return errUnreachable
	}
	return nil
}

// answerAll answers for containers that other edges doubt. An edge that is cut off may
// doubt thousands: each is given its answer in time, but not all at once.
func (s *Service) answerAll(doubted []Record) {
	if len(doubted) == 0 || !s.answering.CompareAndSwap(false, true) {
		return // those before are not through; what is left is seen at the next look
	}
	running := s.spawn(func() {
		defer s.answering.Store(false)
		next := make(chan Record)
		var all sync.WaitGroup
		for range min(len(doubted), maxAnswering) {
			all.Go(func() {
				for r := range next {
					if o := s.answerFor(r); o != nil {
						<-o.done
					}
				}
			})
		}
		for _, r := range doubted {
			next <- r
		}
		close(next)
		all.Wait()
	})
	if !running {
		s.answering.Store(false)
	}
}

// answerFor begins to tell an edge that doubts a container, and may be the one that is
// cut off, that it answers this one, if it does; nil if something else is being done.
func (s *Service) answerFor(r Record) *op {
	e := s.hold(r.SessionID)
	defer s.release(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.op != nil || s.ctx.Err() != nil {
		return nil
	}
	return s.begin(e, opSettle, func(ctx context.Context, o *op) {
		o.announce()
		r, err := s.get(ctx, e.id)
		if err != nil || r.Status != StatusActive || r.Lease == nil ||
			s.containers.serves(ctx, r.address(), r.Start.Token) != nil {
			return
		}
		h := newHeld(s, e, r, time.Now())
		if err := h.apply(ctx, Event{Kind: EventFound}); err == nil {
			s.setRoute(e, h.record())
			s.logger(r).Info("session's container answers this edge, another doubts it")
		}
	})
}
