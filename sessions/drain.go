package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// drainPatience is how long a container that agreed to its stop waits for the
	// registry to take note. It is well below the time after which the container
	// itself serves on.
	drainPatience = 30 * time.Second
	// commitPatience is how long a container may fail to answer the question that
	// ends it.
	commitPatience = 10 * time.Second
)

// errCalledOff: the container serves on, because somebody came while it was to sleep.
var errCalledOff = errors.New("somebody came")

// drain puts a session to sleep whose container has agreed to it, which means that its
// work is saved. The second half, the stop, is the container's decision once more: it
// refuses if somebody came since, by whatever edge. Then the session is active again,
// with errCalledOff.
func (s *Service) drain(ctx context.Context, h *held, reason string, agreed bootapi.QuiesceReply) error {
	if save := agreed.Save; save != nil && save.Where == bootapi.SavedInBundle {
		h.unsaved = "kept in the cache, not pushed: " + clip(save.Error, maxRefusal)
		s.logger(h.record()).Warn("work could not be pushed and is kept in the cache until it can",
			zap.String("commit", clip(save.Commit, maxRefusal)), zap.String("remote_error", clip(save.Error, maxRefusal)))
	}
	writing, cancel := context.WithTimeout(ctx, drainPatience)
	err := h.apply(writing, Event{Kind: EventDrain, Holder: s.edge})
	cancel()
	if err != nil {
		return fmt.Errorf("writing that the session drains: %w", err)
	}
	return s.endDrain(ctx, h, reason, agreed.Drain)
}

// endDrain is the second half of a drain, of a session that is draining under this
// edge's lease. A drain that has lost it stops nothing: the container was told to serve
// on by whoever has it now, and knows the name of another drain.
func (s *Service) endDrain(ctx context.Context, h *held, reason, drain string) error {
	err := h.leased(ctx, func(ctx context.Context) error {
		r := h.record()
		var reply bootapi.CommitReply
		err := s.insist(ctx, r, commitPatience, func(ctx context.Context) (err error) {
			reply, err = s.containers.commit(ctx, r.address(), r.Start.Token, drain)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return err
		case errors.Is(err, errEnded):
		case err != nil:
			// It agreed, and may serve on for others: it is asked again.
			return s.callOff(ctx, h, Awake{Reason: "did not answer when it was to end: " + clip(err.Error(), maxStep)}, 0)
		case !reply.Committed:
			return s.callOff(ctx, h, Awake{Activity: reply.ActivityKind, Reason: reply.Reason},
				time.Duration(reply.IdleMillis)*time.Millisecond)
		}
		s.dropRoute(h.e, nil)
		if err := s.stopSurely(ctx, h.record(), reason); err != nil {
			return err
		}
		return h.apply(ctx, Event{Kind: EventStopped})
	})
	if err == nil {
		s.logger(h.record()).Info("session slept", zap.String("reason", reason))
	}
	return err
}

// callOff makes a draining session active again, whose container has said why. It
// returns errCalledOff.
func (s *Service) callOff(ctx context.Context, h *held, why Awake, idle time.Duration) error {
	r := h.record()
	limits, err := s.limits(ctx, r.ClientID)
	if err != nil {
		limits = s.limitsFor(configstore.Settings{})
	}
	now := time.Now().UTC()
	why.At, why.Activity, why.Reason = now, clip(why.Activity, maxStep), clip(why.Reason, maxRefusal)
	err = h.apply(ctx, Event{
		Kind: EventBusy, AskAt: now.Add(limits.nextAsk(idle, 0)), LastActivity: now.Add(-max(0, idle)), Awake: &why,
	})
	if err != nil {
		return err
	}
	s.logger(r).Info("session stays awake", zap.String("reason", why.Reason))
	return fmt.Errorf("%w: %s", errCalledOff, why.Reason)
}

// finishDrain goes on with a drain that an edge which died had begun, under this edge's
// lease. Its container may have been called off since, so it is asked anew: whatever
// goes on if forced, else for its client's idle timeout. A session that serves on is
// active again, with errCalledOff; so is one whose container runs and does not answer,
// unless forced: it may serve on for others, and whether it does is found out as of any
// active session.
func (s *Service) finishDrain(ctx context.Context, h *held, forced bool, reason string) error {
	var reply bootapi.QuiesceReply
	silent := false
	err := h.leased(ctx, func(ctx context.Context) error {
		r := h.record()
		limits, err := s.limits(ctx, r.ClientID)
		if err != nil {
			return err
		}
		err = s.insist(ctx, r, s.lostPatience, func(ctx context.Context) (err error) {
			reply, err = s.containers.quiesce(ctx, r.address(), r.Start.Token, limits.question(forced))
			return err
		})
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil && !errors.Is(err, errEnded) && !forced:
			silent = true
			return s.callOff(ctx, h, Awake{Reason: "did not answer when its sleep was gone on with: " + clip(err.Error(), maxStep)}, 0)
		case err != nil, reply.Ending:
			reply = bootapi.QuiesceReply{Ending: true}
			s.dropRoute(h.e, nil)
			h.e.step(savingStep)
			if err := s.stopSurely(ctx, r, reason); err != nil {
				return err
			}
			return h.apply(ctx, Event{Kind: EventStopped})
		case !reply.Agreed:
			return s.callOff(ctx, h, awakeOf(reply), time.Duration(reply.IdleMillis)*time.Millisecond)
		}
		return nil
	})
	switch {
	case err == nil && reply.Ending:
		s.logger(h.record()).Info("session slept", zap.String("reason", reason))
		return nil
	case err == nil:
		return s.endDrain(ctx, h, reason, reply.Drain)
	case errors.Is(err, errCalledOff) && silent:
		s.dropRoute(h.e, nil)
		h.e.mu.Lock()
		h.e.want(wishSettle)
		h.e.mu.Unlock()
	case errors.Is(err, errCalledOff):
		s.setRoute(h.e, h.record())
	}
	return err
}

// insist asks a container until it answers. errEnded if it runs no more; the last error
// if it runs, and has not answered for so long.
func (s *Service) insist(ctx context.Context, r Record, patience time.Duration, ask func(context.Context) error) error {
	began := time.Now()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		running, derr := s.describe(ctx, r)
		if derr == nil && !running || errors.Is(derr, ErrNoContainer) && s.gone(began) {
			return errEnded
		}
		if time.Since(began) > patience {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// recall tells the container of a session which another edge puts to sleep that somebody
// asks for it. Whether it serves on is seen in the record.
func (s *Service) recall(ctx context.Context, r Record) {
	if r.address() == "" {
		return
	}
	if err := s.containers.recall(ctx, r.address(), r.Start.Token); err != nil {
		if c := s.logger(r).Check(zap.DebugLevel, "drain not called off"); c != nil {
			c.Write(zap.Error(err))
		}
	}
}

// awakeOf is why a container did not agree.
func awakeOf(reply bootapi.QuiesceReply) Awake {
	return Awake{Activity: reply.ActivityKind, Reason: reply.Reason, Busy: reply.Busy, SaveFailed: reply.SaveFailed}
}

// Used is why a session is awake, and when it was last used.
type Used struct {
	Awake        Awake
	LastActivity time.Time
}

// AwakeNow is why a session is awake, as its container says at this moment, and when it
// was last used. ErrNotFound if this edge knows no way to it.
func (s *Service) AwakeNow(ctx context.Context, id string) (now Used, err error) {
	e, ok := s.holdKnown(id)
	if !ok {
		return now, ErrNotFound
	}
	defer s.release(e)
	e.mu.Lock()
	r := e.record
	e.mu.Unlock()
	if r.Status != StatusActive {
		return now, ErrNotFound
	}
	status, err := s.containers.status(ctx, r.address(), r.Start.Token)
	if err != nil {
		return now, err
	}
	if r.Awake != nil {
		now.Awake = *r.Awake // why it could not sleep, if it was to
	}
	now.Awake.At = time.Now().UTC()
	now.LastActivity = now.Awake.At.Add(-time.Duration(max(0, status.IdleMillis)) * time.Millisecond)
	now.Awake.Activity = clip(status.ActivityKind, maxStep)
	if now.Awake.Busy = status.Busy != ""; now.Awake.Busy {
		now.Awake.Reason = "busy: " + clip(status.Busy, maxStep)
	}
	return now, nil
}
