package sessions

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// reapEvery is how often the registry is asked which sessions are due. A short
	// idle timeout, as operators set it for a try, makes it more often.
	reapEvery = time.Second
	// reapShared is how often where the registry is another machine's: each look costs.
	reapShared = 10 * time.Second
	reapLeast  = 100 * time.Millisecond
	// reapBatch is how many sessions are asked in one round; the next takes the next.
	reapBatch = 200
	// maxAsking is how many containers are asked at once.
	maxAsking = 16
	// unansweredMost is how many questions in a row a container that runs may leave
	// unanswered: half its idle timeout lies between two, and after twice of it one
	// that hears nobody has ended itself.
	unansweredMost = 4
)

// reapLoop asks sessions whose time has come whether they are idle, while this edge is on
// duty.
func (s *Service) reapLoop() {
	for {
		every := reapEvery
		if !s.exclusive {
			every = reapShared
		}
		if d := s.tunables.Load().IdleTimeout; d > 0 {
			every = max(min(every, d/4), reapLeast)
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
			if !s.onDuty() {
				continue
			}
			ctx, cancel := context.WithTimeout(s.ctx, registryTimeout)
			due, err := s.registry.Due(ctx, time.Now(), reapBatch)
			cancel()
			if err != nil && s.ctx.Err() == nil {
				s.log.Warn("reading due sessions", zap.Error(err))
			}
			for _, r := range due {
				s.ask(r)
			}
		case <-s.askAll:
			timer.Stop()
			for _, e := range s.holdAll() {
				e.mu.Lock()
				if e.op != nil {
					e.want(wishAsk)
				} else if e.routed {
					s.askSoon(e)
				}
				e.mu.Unlock()
				s.release(e)
			}
		case <-s.ctx.Done():
			timer.Stop()
			return
		}
	}
}

// ask begins to ask the container of an active session, by its record, unless something
// else is being done to the session, or it was asked since. It waits for a place among
// those that are asked at once, and only then is something done to the session: who
// returns to it in the meantime is served.
func (s *Service) ask(r Record) {
	if !s.placeToAsk() {
		return
	}
	e := s.hold(r.SessionID)
	defer s.release(e)
	e.publish(r)
	e.mu.Lock()
	defer e.mu.Unlock()
	since := e.record.Version > r.Version && e.record.AskAt.After(time.Now()) // lists lag
	if e.op != nil || since {
		<-s.asking
		return
	}
	s.beginAsk(e)
}

// askSoon asks a container as soon as there is a place for it. e.mu is held.
func (s *Service) askSoon(e *live) {
	s.spawnFor(e, func() {
		if !s.placeToAsk() {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.op != nil {
			<-s.asking
			e.want(wishAsk)
			return
		}
		s.beginAsk(e)
	})
}

// placeToAsk waits for a place among the containers that are asked at once. It reports
// false if the service closes.
func (s *Service) placeToAsk() bool {
	select {
	case s.asking <- struct{}{}:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// beginAsk begins to ask a container, if there is one, and then gives the place back that
// was taken for it. Nothing is being done to the session, and e.mu is held.
func (s *Service) beginAsk(e *live) {
	done := func() { <-s.asking }
	if e.record.Status != StatusActive || e.deleted || s.ctx.Err() != nil {
		done()
		return
	}
	r := e.record
	s.begin(e, opAsk, func(ctx context.Context, _ *op) {
		defer done()
		s.askIdle(ctx, e, r)
	})
}

// askIdle asks the container of an active session whether it has been idle for its
// client's timeout, and puts the session to sleep if it agrees.
func (s *Service) askIdle(ctx context.Context, e *live, r Record) {
	limits, err := s.limits(ctx, r.ClientID)
	if err != nil {
		return // it stays due
	}
	h := newHeld(s, e, r, time.Now())
	reply, err := s.question(ctx, e, r, limits)
	if ctx.Err() != nil {
		return
	}
	if bootapi.Exhausted(err) { // it was not asked, and stays due
		s.passDuty(ctx)
		return
	}
	if err != nil || reply.Ending {
		s.unanswered(ctx, h, limits, err)
		return
	}
	if reply.Agreed {
		reason := "idle"
		if reply.Expired {
			reason = "end of its lifetime"
		}
		if err := s.drain(ctx, h, reason, reply); err != nil && ctx.Err() == nil && !errors.Is(err, errCalledOff) {
			s.logger(r).Error("putting idle session to sleep", zap.Error(err))
		}
		return
	}
	idle, lived := time.Duration(reply.IdleMillis)*time.Millisecond, time.Duration(reply.LivedMillis)*time.Millisecond
	switch {
	case reply.SaveFailed:
		s.logger(r).Error("session stays awake because its work could not be saved", zap.String("reason", reply.Reason))
	case idle >= limits.idle || reply.Expired:
		s.logger(r).Info("idle session stays awake", zap.String("reason", reply.Reason), zap.Bool("busy", reply.Busy))
	}
	awake := awakeOf(reply)
	s.writeAsked(ctx, h, limits.nextAsk(idle, lived), max(0, idle), awake)
}

// question asks a container, which first has to prove itself if this edge does not know
// it: from then on visitors of this edge reach it, and so can call a drain off.
func (s *Service) question(ctx context.Context, e *live, r Record, l limits) (bootapi.QuiesceReply, error) {
	if route, ok := s.routes.get(e.id); !ok || route.Epoch != r.Epoch {
		if err := s.containers.serves(ctx, r.address(), r.Start.Token); err != nil {
			return bootapi.QuiesceReply{}, err
		}
		s.setRoute(e, r)
	}
	return s.containers.quiesce(ctx, r.address(), r.Start.Token, l.question(false))
}

// unanswered sees to a container that did not answer, or ends. What runs is not given up
// because this edge does not reach it: others may, and it ends itself if none does.
func (s *Service) unanswered(ctx context.Context, h *held, l limits, err error) {
	r := h.record()
	awake := Awake{Unanswered: 1, Reason: "the container does not answer"}
	if r.Awake != nil {
		awake.Unanswered, awake.Activity = r.Awake.Unanswered+1, r.Awake.Activity
	}
	running, described := s.describe(ctx, r)
	if ctx.Err() != nil {
		return
	}
	s.logger(r).Info("session's container does not answer", zap.Int("times", awake.Unanswered), zap.Error(err))
	s.dropRoute(h.e, nil)
	if err != nil && running {
		s.passDuty(ctx) // another edge may reach it
	}
	if err == nil || errors.Is(err, errEnding) || (described == nil && !running) || awake.Unanswered > unansweredMost {
		h.e.mu.Lock()
		h.e.want(wishSettle)
		h.e.mu.Unlock()
		return
	}
	idle := max(0, time.Since(r.LastActivity))
	s.writeAsked(ctx, h, max(l.idle/2, askLeast), idle, awake)
}

// writeAsked writes down when a session is asked again, and why it is awake.
func (s *Service) writeAsked(ctx context.Context, h *held, wait, idle time.Duration, awake Awake) {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	now := time.Now().UTC()
	awake.At, awake.Activity = now, clip(awake.Activity, maxStep)
	err := h.apply(ctx, Event{Kind: EventAsked, AskAt: now.Add(wait), LastActivity: now.Add(-idle), Awake: &awake})
	if err != nil && ctx.Err() == nil && !errors.Is(err, errLeaseLost) && !isNotFound(err) {
		s.logger(h.record()).Warn("writing when to ask the session again", zap.Error(err))
	}
}
