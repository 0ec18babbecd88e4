package sessions

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
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
		r, err = s.settle(ctx, o, e, r)
		e.mu.Lock()
		defer e.mu.Unlock()
		switch {
		case !e.wanted():
		case err == nil && had && r.Status == StatusInactive,
			// Another edge was quicker to see that it is lost.
			anothers(err) && e.record.Status == StatusDraining:
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
	h := newHeld(s, e, r, time.Now())
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
	s.dropRoute(h.e, nil)
	err := s.sleepWaking(ctx, h, "left behind")
	if errors.Is(err, ErrNotSaved) {
		s.logger(r).Error(wakeNotSaved, zap.Error(err))
		return s.resume(ctx, o, h)
	}
	if err != nil {
		return err
	}
	s.logger(r).Info("session slept", zap.String("reason", "left behind while "+string(r.Status)))
	return nil
}

// describe asks the runner whether a record's container runs, and where it did.
// ErrNoContainer if the runner does not know it, which it may not yet where its answers
// are eventually consistent; an address that it does not tell is no other address.
func (s *Service) describe(ctx context.Context, r Record) (running bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	c, err := s.runner.Describe(ctx, r.Container)
	if err != nil {
		return false, err
	}
	moved := c.Address != "" && r.address() != "" && c.Address != r.address()
	return c.Running && !c.Ending && !moved, nil
}

// find looks for the container of an active session: it has its route when that
// proves itself, and is inactive if it is gone.
func (s *Service) find(ctx context.Context, h *held) error {
	began := time.Now()
	var d doubt
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		r := h.record()
		found := s.containers.serves(ctx, r.address(), r.Start.Token)
		if bootapi.Exhausted(found) {
			began = time.Now() // it was not asked
		}
		switch {
		case errors.Is(found, errEnding):
			return s.lose(ctx, h)
		case found == nil && !s.exclusive:
			return s.found(ctx, h) // whatever a runner says whose answers may lag
		}
		// Asked of one that answers, too: it may not have noticed yet that its edge died.
		running, err := s.describe(ctx, r)
		switch {
		case err == nil && !running, errors.Is(err, ErrNoContainer) && s.gone(began):
			return s.lose(ctx, h)
		case found == nil:
			return s.found(ctx, h)
		case err == nil && time.Since(began) > s.lostPatience:
			given, err := d.givenUp(ctx, h)
			if err != nil {
				return err
			}
			if given {
				return s.lose(ctx, h)
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// unseenPatience is how long a container that the runner does not know may be one that
// it does not know yet.
const unseenPatience = 3 * time.Second

// gone reports whether a container that the runner does not know, and that has been
// looked for since a time, has ended.
func (s *Service) gone(since time.Time) bool {
	return s.exclusive || time.Since(since) > unseenPatience
}

// found opens the way to the container of an active session, and tells an edge that
// doubts it.
func (s *Service) found(ctx context.Context, h *held) error {
	if h.record().Lease != nil {
		if err := h.apply(ctx, Event{Kind: EventFound}); err != nil {
			return err
		}
	}
	s.setRoute(h.e, h.record())
	s.logger(h.record()).Info("session's container found")
	return nil
}

// lose frees the slot of an active session whose container is gone. Of all edges that
// find it so the one whose write is the first does.
func (s *Service) lose(ctx context.Context, h *held) error {
	s.dropRoute(h.e, nil)
	h.e.lookFor(savingStep)
	defer h.e.lookFor("")
	if err := h.apply(ctx, Event{Kind: EventDrain, Holder: s.edge}); err != nil {
		return err
	}
	inOrder := false // as where the edge that started it was stopped
	err := h.leased(ctx, func(ctx context.Context) error {
		asking, cancel := context.WithTimeout(ctx, describeTimeout)
		c, err := s.runner.Describe(asking, h.record().Container)
		cancel()
		inOrder = err == nil && c.InOrder
		// To be sure that nothing of it is left, before the slot is free.
		if err := s.stopSurely(ctx, h.record(), "lost"); err != nil {
			return err
		}
		return h.apply(ctx, Event{Kind: EventLost})
	})
	switch {
	case err != nil:
	case inOrder:
		s.logger(h.record()).Info("session's container had ended in order")
	default:
		h.unsaved = "its container was lost: what it had not saved is in the workspace, and is saved at the next wake"
		s.logger(h.record()).Warn("session's container was lost")
	}
	return err
}

// resume goes on with a wake that an edge which died had begun: the same start again
// gives the same container. If that has ended, the session becomes inactive, and the
// next wake is a new one.
func (s *Service) resume(ctx context.Context, o *op, h *held) error {
	client, err := s.client(ctx, h.record().ClientID)
	if errors.Is(err, configstore.ErrNotFound) {
		return s.leave(ctx, h)
	}
	if err != nil {
		return err
	}
	o.announce()
	s.boot(ctx, o, h, client, time.Now(), true)
	return nil
}

// leave gives up a wake that an edge which died had begun: its container has ended, or
// is about to, because that edge is gone.
func (s *Service) leave(ctx context.Context, h *held) error {
	s.dropRoute(h.e, nil)
	h.e.step(savingStep)
	return h.leased(ctx, func(ctx context.Context) error {
		if err := s.stopSurely(ctx, h.record(), "left behind"); err != nil {
			return err
		}
		s.logger(h.record()).Info("session's wake was left behind")
		return h.apply(ctx, Event{Kind: EventLost})
	})
}
