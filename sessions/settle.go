package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// lostPatience is how long a container which runs, as the runner says, may fail to
// answer before it is given up.
const lostPatience = 5 * time.Second

// Lost tells that the container behind a route did not answer, or was not the right
// one. The route is dropped at once; whether the container is gone is found out in the
// background. If it is, the session becomes inactive, and is woken if somebody waits
// for it; if it answers after all, it gets the same route back.
func (s *Service) Lost(route *Route, cause error) {
	e, ok := s.holdKnown(route.SessionID)
	if !ok {
		return
	}
	defer s.release(e)
	if !s.dropRoute(e, route) {
		return // somebody else said so already
	}
	s.log.Info("session's container does not answer", zap.String("client", route.ClientID),
		zap.String("session", route.SessionID), zap.Int64("epoch", route.Epoch), zap.Error(cause))
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.op != nil:
		e.want(wishSettle)
	case s.ctx.Err() == nil:
		s.beginSettle(e)
	}
}

// beginSettle begins to find out what became of a session's container. Its begun is
// closed when that is known. e.mu is held.
func (s *Service) beginSettle(e *live) *op {
	route, known := e.route, e.record
	return s.begin(e, opSettle, func(ctx context.Context, o *op) {
		defer o.announce()
		// Without the registry, which may be down, and as fast as it can be told.
		if route != nil && known.Status == StatusActive && known.Epoch == route.Epoch &&
			s.containers.serves(ctx, route.Address, known.Start.Token) == nil {
			s.setRoute(e, known)
			return
		}
		r, err := s.getPatiently(ctx, e)
		if err != nil {
			return // deleted, or the edge closes
		}
		had := r.HoldsSlot()
		if r, err = s.settle(ctx, o, e, r); err != nil || !had {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if r.Status == StatusInactive && len(e.watches) > 0 {
			e.want(wishWake)
		}
	})
}

// getPatiently reads a record and takes it in; while the registry is unavailable it
// tries again.
func (s *Service) getPatiently(ctx context.Context, e *live) (Record, error) {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		r, err := s.get(ctx, e.id)
		switch {
		case err == nil:
			e.publish(r)
			return r, nil
		case isNotFound(err):
			e.gone()
			return r, err
		}
		if err := sleep(ctx, wait); err != nil {
			return r, err
		}
	}
}

// settle finds out what became of the container that a record speaks of and which
// this edge has not started, or has lost sight of. It returns the record as it is then:
// active, with its route; inactive or failed, without a container; or, with an error,
// still open. A wake that an edge which died had begun is carried through.
func (s *Service) settle(ctx context.Context, o *op, e *live, r Record) (Record, error) {
	h := &held{s: s, e: e, r: r}
	err := s.settleHeld(ctx, o, h)
	if err != nil && ctx.Err() == nil {
		if c := s.logger(r).Check(zap.DebugLevel, "session not settled"); c != nil {
			c.Write(zap.String("status", string(r.Status)), zap.Error(err))
		}
	}
	return h.record(), err
}

func (s *Service) settleHeld(ctx context.Context, o *op, h *held) error {
	r := h.record()
	switch {
	case !r.HoldsSlot():
		return nil
	case r.Status == StatusActive:
		return s.find(ctx, h)
	}
	if err := s.takeOver(ctx, h); err != nil {
		return err
	}
	switch {
	case r.Status == StatusInitializing && !r.SleepWanted:
		return s.resume(ctx, o, h)
	case r.Status == StatusDraining:
		if err := s.finishDrain(ctx, h, false, "left behind"); !errors.Is(err, errCalledOff) {
			return err
		}
		return nil
	}
	if err := s.stop(ctx, h, "left behind"); err != nil {
		return err
	}
	s.logger(r).Info("session slept", zap.String("reason", "left behind while "+string(r.Status)))
	return nil
}

// takeOver makes an initializing, draining or failed session this edge's. ErrConflict
// if another edge's lease on it must be respected.
func (s *Service) takeOver(ctx context.Context, h *held) error {
	r := h.record()
	if r.Lease != nil && r.Lease.Holder != s.edge && !s.exclusive && !s.leases.expired(r, s.lease) {
		gone := false
		if r.Container != "" {
			running, err := s.describe(ctx, r)
			gone = err == nil && !running
		}
		if !gone {
			return fmt.Errorf("%w: edge %s is at work on it", ErrConflict, r.Lease.Holder)
		}
	}
	return h.apply(ctx, Event{Kind: EventRenew, Holder: s.edge})
}

// describe asks the runner whether a record's container runs, and where it did: one
// that only saves and ends, as those of a dead edge do, has lost its address.
func (s *Service) describe(ctx context.Context, r Record) (running bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	c, err := s.runner.Describe(ctx, r.Container)
	if errors.Is(err, ErrNoContainer) {
		return false, nil
	}
	moved := r.address() != "" && c.Address != r.address()
	return err == nil && c.Running && !moved, err
}

// find looks for the container of an active session: it has its route when that
// proves itself, and is inactive if it is gone.
func (s *Service) find(ctx context.Context, h *held) error {
	r := h.record()
	began := time.Now()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		found := s.containers.serves(ctx, r.address(), r.Start.Token)
		if errors.Is(found, errEnding) {
			break
		}
		// Asked of one that answers, too: it may not have noticed yet that its edge died.
		running, err := s.describe(ctx, r)
		if err == nil && !running {
			break
		}
		if found == nil {
			s.setRoute(h.e, r)
			s.logger(r).Info("session's container found")
			return nil
		}
		if err == nil && time.Since(began) > s.lostPatience {
			break
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	s.dropRoute(h.e, nil)
	h.e.lookFor(savingStep)
	defer h.e.lookFor("")
	// To be sure that nothing of it is left, before the slot is free.
	if err := s.stopSurely(ctx, r, "lost"); err != nil {
		return err
	}
	if err := h.apply(ctx, Event{Kind: EventLost}); err != nil {
		return err
	}
	s.logger(r).Warn("session's container was lost")
	return nil
}

// resume goes on with a wake that an edge which died had begun. If its container is
// gone, the session becomes inactive: the next wake is a new one.
func (s *Service) resume(ctx context.Context, o *op, h *held) error {
	r := h.record()
	running := false
	if r.Container != "" {
		var err error
		if running, err = s.describe(ctx, r); err != nil {
			return err
		}
	} else {
		containers, err := s.runner.List(ctx)
		if err != nil {
			return err
		}
		for _, c := range containers {
			if c.SessionID == r.SessionID && c.Epoch == r.Epoch && c.Running {
				if err := h.apply(ctx, Event{Kind: EventStarted, Container: c.Ref}); err != nil {
					return err
				}
				running = true
			}
		}
	}
	if !running {
		return s.leave(ctx, h)
	}
	client, err := s.client(ctx, r.ClientID)
	if err != nil {
		return err
	}
	o.announce()
	s.boot(ctx, o, h, client, r.Start.At, true)
	return nil
}

// leave gives up a wake that an edge which died had begun: its container has ended, or
// is about to, because that edge is gone.
func (s *Service) leave(ctx context.Context, h *held) error {
	h.e.step(savingStep)
	return h.leased(ctx, func(ctx context.Context) error {
		if err := s.stopSurely(ctx, h.record(), "left behind"); err != nil {
			return err
		}
		s.logger(h.record()).Info("session's wake was left behind")
		return h.apply(ctx, Event{Kind: EventLost})
	})
}
