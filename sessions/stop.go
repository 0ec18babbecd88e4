package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// stopTries is how often a stop is tried before it is left to the sweep.
	stopTries = 5
	// stopTimeout bounds one stop, of which a save is part.
	stopTimeout = 5 * time.Minute
	// sleepPatience is how long another edge, which is at work on a session that is to
	// be put to sleep, may take to see to it.
	sleepPatience = 2 * time.Minute
)

// Sleep puts a session to sleep: its work is saved, its container stopped, its slot
// freed. A session without a container is left as it is. The sleep is carried through
// even if ctx ends before.
//
// A session that another edge is waking, or puts to sleep, is seen to by that edge, and
// waited for.
//
// ErrNotFound; ErrNotSaved, with the session left active; ErrConflict if another edge
// was at work on it for two minutes; ErrUnavailable; ErrNoRunner; ErrClosed.
func (s *Service) Sleep(ctx context.Context, id, reason string) error {
	_, err := s.SleepTold(ctx, id, reason)
	return err
}

// SleepTold is Sleep, and says where work is that has not reached the session's branch; ""
// if all has, as far as is known.
func (s *Service) SleepTold(ctx context.Context, id, reason string) (string, error) {
	if s.runner == nil {
		return "", ErrNoRunner
	}
	var unsaved string
	err := s.exclusively(ctx, id, func(ctx context.Context, e *live) (err error) {
		_, unsaved, err = s.putToSleep(ctx, e, reason)
		return err
	})
	if err != nil {
		return "", err // it may go on, and write to unsaved
	}
	return unsaved, nil
}

// Delete puts a session to sleep, from whatever state, and then removes it, with what
// the runner keeps of it. Errors as of Sleep; ErrNoRunner only if the session has a
// container. ErrUnsaved, with the session asleep and not deleted, if what the runner
// keeps of it may hold work that is nowhere else: the error's text says where, and a wake
// saves it. Without a runner what is kept is left to the next start of an edge.
func (s *Service) Delete(ctx context.Context, id string) error { return s.delete(ctx, id, false) }

// DeleteUnsaved is Delete, but with ErrUnsaved the session was deleted all the same, and
// what is kept of it stays.
func (s *Service) DeleteUnsaved(ctx context.Context, id string) error { return s.delete(ctx, id, true) }

func (s *Service) delete(ctx context.Context, id string, forced bool) error {
	return s.exclusively(ctx, id, func(ctx context.Context, e *live) error {
		for {
			r, _, err := s.putToSleep(ctx, e, "deleted")
			if err != nil {
				return err
			}
			// Before the record goes, by which the work can still be saved. Where another
			// edge wakes the session meanwhile, the runner refuses or the wake begins from
			// the remote, and the deletion is a conflict.
			var kept error
			if s.runner != nil {
				kept = s.forget(ctx, r.SessionID)
			}
			if kept != nil && !forced {
				return fmt.Errorf("session is not deleted: %w", kept)
			}
			deleting, cancel := context.WithTimeout(ctx, registryTimeout)
			err = s.registry.Delete(deleting, r.SessionID, r.Version)
			cancel()
			if errors.Is(err, ErrConflict) {
				continue // it was woken or written in between
			}
			if err != nil {
				return err
			}
			e.gone()
			s.flights.outdate(r.SessionID)
			s.flights.outdate(threadKey(r.ClientID, r.ThreadID))
			s.logger(r).Info("session deleted")
			if kept != nil {
				return fmt.Errorf("session was deleted, but not all that is kept of it: %w", kept)
			}
			return nil
		}
	})
}

// forget has the runner remove what it keeps of a session that is deleted. What it
// could not remove for any other reason than ErrUnsaved is tried again by the sweep of
// the next start.
func (s *Service) forget(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := s.runner.Forget(ctx, id)
	if err == nil || errors.Is(err, ErrUnsaved) {
		return err
	}
	s.log.Error("removing what is kept of a deleted session", zap.String("session", id), zap.Error(err))
	return nil
}

// exclusively runs fn as the session's op. A wake that is under way is given up for
// it, and fn then run even if ctx ends; anything else is waited for.
func (s *Service) exclusively(ctx context.Context, id string, fn func(context.Context, *live) error) error {
	e := s.hold(id)
	defer s.release(e)
	for {
		e.mu.Lock()
		if e.op == nil {
			err := ErrClosed // unless fn is run
			o := s.begin(e, opStop, func(ctx context.Context, _ *op) { err = fn(ctx, e) })
			e.mu.Unlock()
			select {
			case <-o.done:
				if err != nil && s.ctx.Err() != nil {
					return ErrClosed
				}
				return asUnavailable(err)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		o := e.op
		interrupted := o.kind == opWake || o.kind == opSettle
		if interrupted {
			e.wish = wishNothing
			o.cancel(errInterrupted)
		}
		e.mu.Unlock()
		if interrupted {
			<-o.done // what is half done must not be left so because a caller went away
			continue
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// putToSleep ends the session's container, if it has one, after its work was saved,
// and returns the record as it is then, and what SleepTold says. Another edge that is at work on the session is
// asked to see to it, and waited for.
func (s *Service) putToSleep(ctx context.Context, e *live, reason string) (Record, string, error) {
	began := time.Now()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		r, unsaved, err := s.tryToSleep(ctx, e, reason)
		faster := errors.Is(err, errLeaseLost) || errors.Is(err, ErrTransition) // another edge
		if !faster && !errors.Is(err, ErrConflict) {
			return r, unsaved, err
		}
		if time.Since(began) > sleepPatience {
			return r, "", fmt.Errorf("%w: another edge is at work on the session, and has not put it to sleep within %s: %w", ErrConflict, sleepPatience, err)
		}
		if err := sleep(ctx, wait); err != nil {
			return r, "", err
		}
	}
}

// tryToSleep is putToSleep, but waits for no other edge: errLeaseLost, ErrTransition or
// ErrConflict if one is at work.
func (s *Service) tryToSleep(ctx context.Context, e *live, reason string) (Record, string, error) {
	r, err := s.get(ctx, e.id)
	if err != nil {
		return r, "", err
	}
	e.publish(r)
	if !r.HoldsSlot() {
		return r, "", nil
	}
	if s.runner == nil {
		return r, "", ErrNoRunner
	}
	h := newHeld(s, e, r, time.Now())
	switch r.Status {
	case StatusActive:
		err = s.sleepActive(ctx, h, reason)
	case StatusDraining:
		if err = s.takeOver(ctx, h); err == nil {
			err = s.finishDrain(ctx, h, true, reason)
		}
	default:
		if err = s.takeOver(ctx, h); errors.Is(err, ErrConflict) && r.Status == StatusInitializing && !r.SleepWanted {
			if werr := h.apply(ctx, Event{Kind: EventUnwake}); werr != nil {
				return r, "", werr
			}
		}
		if err == nil {
			if err = s.sleepWaking(ctx, h, reason); err == nil {
				s.logger(r).Info("session slept", zap.String("reason", reason))
			}
		}
	}
	if errors.Is(err, errCalledOff) { // nobody can have come, so it was not able to
		err = fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	return h.record(), h.unsaved, err
}

// sleepActive puts an active session to sleep, whatever goes on in it.
func (s *Service) sleepActive(ctx context.Context, h *held, reason string) error {
	r := h.record()
	limits, err := s.limits(ctx, r.ClientID)
	if err != nil {
		return err
	}
	ask := func() (bootapi.QuiesceReply, error) {
		return s.containers.quiesce(ctx, r.address(), r.Start.Token, limits.question(true))
	}
	reply, err := ask()
	if err != nil || reply.Ending {
		s.logger(r).Info("container does not answer to be put to sleep", zap.Error(err))
		if err := s.find(ctx, h); err != nil {
			return err
		}
		if !h.record().HoldsSlot() {
			return nil
		}
		if reply, err = ask(); err != nil {
			return fmt.Errorf("%w: %w", ErrNotSaved, err)
		}
	}
	if !reply.Agreed {
		return fmt.Errorf("%w: %s", ErrNotSaved, reply.Reason)
	}
	return s.drain(ctx, h, reason, reply)
}

// sleepWaking puts a session to sleep whose wake has not come to its end, or has failed.
// Other edges may serve it already, if its container is ready and the edge that woke it
// has died before it could write that: then there may be work to save.
func (s *Service) sleepWaking(ctx context.Context, h *held, reason string) error {
	if r := h.record(); r.Status == StatusInitializing && r.address() != "" {
		err := h.leased(ctx, func(ctx context.Context) error {
			reply, err := s.containers.quiesce(ctx, r.address(), r.Start.Token, bootapi.QuiesceRequest{})
			if err == nil && reply.SaveFailed {
				return fmt.Errorf("%w: %s", ErrNotSaved, reply.Reason)
			}
			return nil // one that does not answer, or was not claimed, has no work yet
		})
		if err != nil {
			return err
		}
	}
	return s.stop(ctx, h, reason)
}

// stop stops the container of a record under this edge's lease, by its reference or,
// where that was never learned, by whatever the runner has of this epoch; then it
// writes down that the session has none.
func (s *Service) stop(ctx context.Context, h *held, reason string) error {
	return h.leased(ctx, func(ctx context.Context) error {
		if err := s.stopSurely(ctx, h.record(), reason); err != nil {
			return err
		}
		return h.apply(ctx, Event{Kind: EventStopped})
	})
}

// stopSurely stops a record's container, with some tries.
func (s *Service) stopSurely(ctx context.Context, r Record, reason string) error {
	for wait, tries := retryFirst, 1; ; wait, tries = min(2*wait, retryMost), tries+1 {
		err := s.stopContainer(ctx, r, reason)
		if err == nil {
			return nil
		}
		if tries == stopTries {
			return fmt.Errorf("stopping the container: %w", err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (s *Service) stopContainer(ctx context.Context, r Record, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if r.Container != "" {
		return s.runner.Stop(ctx, r.Container, reason)
	}
	running, err := s.runner.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range running {
		if c.SessionID == r.SessionID && c.Epoch == r.Epoch {
			s.logger(r).Info("stopping a container that was never written down", zap.String("container", c.Ref))
			if err := s.runner.Stop(ctx, c.Ref, reason); err != nil {
				return err
			}
		}
	}
	return nil
}
