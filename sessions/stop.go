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
	// drainPatience is how long a container that agreed to its stop waits for the
	// registry to take note. It is well below the time after which the container
	// itself serves on.
	drainPatience = 30 * time.Second
)

// Sleep puts a session to sleep: its work is saved, its container stopped, its slot
// freed. A session without a container is left as it is. The sleep is carried through
// even if ctx ends before.
//
// ErrNotFound; ErrNotSaved, with the session left active; ErrConflict if another edge
// is at work on it; ErrUnavailable; ErrNoRunner; ErrClosed.
func (s *Service) Sleep(ctx context.Context, id, reason string) error {
	if s.runner == nil {
		return ErrNoRunner
	}
	return s.exclusively(ctx, id, func(ctx context.Context, e *live) error {
		_, err := s.putToSleep(ctx, e, reason)
		return err
	})
}

// Delete puts a session to sleep, from whatever state, and then removes it, with what
// the runner keeps of it. Errors as of Sleep; ErrNoRunner only if the session has a
// container. With ErrUnsaved the session was deleted, but what the runner keeps of it
// may hold work that is nowhere else, and stays: the error's text says where. Without a
// runner that is left to the next start of an edge.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.exclusively(ctx, id, func(ctx context.Context, e *live) error {
		for {
			r, err := s.putToSleep(ctx, e, "deleted")
			if err != nil {
				return err
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
			if s.runner == nil {
				return nil
			}
			if err := s.forget(ctx, r.SessionID); err != nil {
				return fmt.Errorf("session was deleted, but not all that is kept of it: %w", err)
			}
			return nil
		}
	})
}

// forget has the runner remove what it keeps of a session that was deleted. What it
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
// and returns the record as it is then.
func (s *Service) putToSleep(ctx context.Context, e *live, reason string) (Record, error) {
	r, err := s.get(ctx, e.id)
	if err != nil {
		return r, err
	}
	e.publish(r)
	if !r.HoldsSlot() {
		return r, nil
	}
	if s.runner == nil {
		return r, ErrNoRunner
	}
	h := &held{s: s, e: e, r: r}
	if r.Status != StatusActive {
		if err := s.takeOver(ctx, h); err != nil {
			return h.record(), err
		}
		if err := s.stop(ctx, h, reason); err != nil {
			return h.record(), err
		}
		s.logger(r).Info("session slept", zap.String("reason", reason))
		return h.record(), nil
	}
	reply, err := s.containers.quiesce(ctx, r.address(), r.Start.Token, 0)
	if err != nil {
		s.logger(r).Info("container does not answer to be put to sleep", zap.Error(err))
		if err := s.find(ctx, h); err != nil {
			return h.record(), err
		}
		if !h.record().HoldsSlot() {
			return h.record(), nil
		}
		if reply, err = s.containers.quiesce(ctx, r.address(), r.Start.Token, 0); err != nil {
			return h.record(), fmt.Errorf("%w: %w", ErrNotSaved, err)
		}
	}
	if !reply.Agreed {
		return h.record(), fmt.Errorf("%w: %s", ErrNotSaved, reply.Reason)
	}
	return h.record(), s.drain(ctx, h, reason, reply.Save)
}

// drain stops a container that has agreed to it: its work is saved.
func (s *Service) drain(ctx context.Context, h *held, reason string, save *bootapi.SaveResult) error {
	if save != nil && save.Where == bootapi.SavedInBundle {
		s.logger(h.record()).Warn("work could not be pushed and is kept in the cache until it can",
			zap.String("commit", clip(save.Commit, maxRefusal)), zap.String("remote_error", clip(save.Error, maxRefusal)))
	}
	writing, cancel := context.WithTimeout(ctx, drainPatience)
	err := h.apply(writing, Event{Kind: EventDrain, Holder: s.edge})
	cancel()
	if err != nil {
		return fmt.Errorf("writing that the session drains: %w", err)
	}
	s.dropRoute(h.e, nil)
	if err := s.stop(ctx, h, reason); err != nil {
		return err
	}
	s.logger(h.record()).Info("session slept", zap.String("reason", reason))
	return nil
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
