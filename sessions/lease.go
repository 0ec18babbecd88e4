package sessions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// Leases. Whoever begins a wake or a stop writes its lease into the record, and renews
// it three times in a lease's length. Another edge takes the session over when it has
// itself seen the record unchanged for that length. The holder, for its part, stops
// acting on the session when it could not renew for four fifths of it: whatever became
// of its writes, nobody else has taken over by then. What it does in spite of that,
// because its process stood still, changes no record, as each write is on the condition
// that nobody else wrote, and starts nothing twice, as a start is idempotent. A stop of
// its is of the container of its own epoch, and no later one.

// leaseMargin is how much earlier a lease ends for its holder than for others.
func (s *Service) leaseMargin() time.Duration { return s.lease / 5 }

// renewEvery is how often leases are renewed, and others' looked at.
func (s *Service) renewEvery() time.Duration { return max(s.lease/3, time.Millisecond) }

// tryFor bounds one call about a lease, so that there is time for the next one.
func (s *Service) tryFor() time.Duration { return max(s.renewEvery(), time.Second) }

// othersLease reports whether another edge's lease on a session must be respected.
func (s *Service) othersLease(r Record) bool {
	return r.Lease != nil && r.Lease.Holder != s.edge && !s.exclusive && s.sightings.age(r) < s.lease
}

// takeOver makes an initializing, draining or failed session this edge's. ErrConflict
// if another edge's lease on it must be respected.
func (s *Service) takeOver(ctx context.Context, h *held) error {
	r := h.record()
	if s.othersLease(r) {
		return fmt.Errorf("%w: edge %s is at work on it", ErrConflict, r.Lease.Holder)
	}
	if err := h.apply(ctx, Event{Kind: EventRenew, Holder: s.edge}); err != nil {
		return err
	}
	if l := r.Lease; l != nil && l.Holder != s.edge {
		s.logger(r).Info("session taken over", zap.String("status", string(r.Status)), zap.String("from", l.Holder))
	}
	return nil
}

// anothers reports whether a session has become another edge's while this one was at
// work on it, which is no fault.
func anothers(err error) bool { return errors.Is(err, errLeaseLost) || errors.Is(err, ErrConflict) }

// leaseLoop looks at the sessions that some edge is at work on often enough to succeed
// one that died within a third of a lease. It is one question to the registry, however
// many there are.
func (s *Service) leaseLoop() {
	for {
		s.sweepRecords()
		s.sightings.forget(max(unseen, 4*s.lease))
		if sleep(s.ctx, jitter(s.renewEvery())) != nil {
			return
		}
	}
}

// sweepRecords looks into the sessions that may have been left behind, and answers for
// the containers that another edge cannot reach. A registry that says nothing must not
// cost a container its answer: that is what the next look is for.
func (s *Service) sweepRecords() {
	ctx, cancel := context.WithTimeout(s.ctx, s.tryFor())
	defer cancel()
	records, err := s.registry.Unsettled(ctx, sweepMost)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("reading unsettled sessions", zap.Error(err))
		}
		return
	}
	var doubted []Record
	for _, r := range records {
		switch {
		case s.knowsMore(r):
		case !s.othersLease(r):
			select {
			case s.settling <- struct{}{}:
				s.settleSoon(r)
			default: // the next time
			}
		case r.Status == StatusActive:
			doubted = append(doubted, r)
		}
	}
	s.answerAll(doubted)
}

// settleSoon looks into a session in the background; its place among those that are
// looked into at once is taken.
func (s *Service) settleSoon(r Record) {
	done := func() { <-s.settling }
	if !s.spawn(func() { defer done(); s.settleOne(r) }) {
		done()
	}
}

// knowsMore reports whether this edge is at work on a session itself, or has read a
// later record of it than this one.
func (s *Service) knowsMore(r Record) bool {
	e, ok := s.holdKnown(r.SessionID)
	if !ok {
		return false
	}
	defer s.release(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.op != nil || e.record.Version > r.Version
}

// jitter is a time about as long as d, by a quarter more or less, so that edges do not
// do the same in step.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1) //nolint:gosec // no secret
}
