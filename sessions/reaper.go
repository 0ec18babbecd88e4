package sessions

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

const (
	// reapEvery is how often the registry is asked which sessions are due. A short
	// idle timeout, as operators set it for a try, makes it more often.
	reapEvery = time.Second
	reapLeast = 100 * time.Millisecond
	// reapBatch is how many sessions are asked in one round; the next takes the next.
	reapBatch = 200
	// maxAsking is how many containers are asked at once.
	maxAsking = 16
	// askMost is the longest time between two questions to a container: so soon a
	// client's new idle timeout takes effect.
	askMost = 5 * time.Minute
	// askLeast and askAgain bound the wait after a container that was idle for long
	// enough, but busy, or could not save.
	askLeast = 250 * time.Millisecond
	askAgain = 30 * time.Second
	// defaultIdle is the idle timeout where a client has none, which validation prevents.
	defaultIdle = 30 * time.Minute
)

// idleTimeout is how long a client's sessions may be idle.
func (s *Service) idleTimeout(c configstore.Client) time.Duration {
	if d := s.tunables.Load().IdleTimeout; d > 0 {
		return d
	}
	if c.Settings.IdleTimeoutMinutes <= 0 {
		return defaultIdle
	}
	return time.Duration(c.Settings.IdleTimeoutMinutes) * time.Minute
}

// abandonAfter is after what silence of all edges a container ends itself.
func abandonAfter(idleTimeout time.Duration) time.Duration {
	return max(2*idleTimeout, time.Second).Round(time.Second)
}

// nextAsk is how long to wait before a container that has been idle for some time is
// asked again. It is asked more often than need be lest it takes the edges for dead.
func (s *Service) nextAsk(e *live, timeout, idle time.Duration) time.Duration {
	e.mu.Lock()
	hear := e.hearEvery
	e.mu.Unlock()
	if hear <= 0 { // claimed by another edge
		hear = timeout
	}
	wait := timeout - idle
	if wait <= 0 {
		wait = min(max(timeout/4, askLeast), askAgain)
	}
	return max(min(wait, askMost, hear), askLeast)
}

// reapLoop asks sessions whose time has come whether they are idle.
func (s *Service) reapLoop() {
	for {
		every := reapEvery
		if d := s.tunables.Load().IdleTimeout; d > 0 {
			every = max(min(every, d/4), reapLeast)
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
			ctx, cancel := context.WithTimeout(s.ctx, registryTimeout)
			due, err := s.registry.Due(ctx, time.Now(), reapBatch)
			cancel()
			if err != nil && s.ctx.Err() == nil {
				s.log.Warn("reading due sessions", zap.Error(err))
			}
			for _, r := range due {
				s.ask(r.SessionID)
			}
		case <-s.askAll:
			timer.Stop()
			for _, e := range s.holdAll() {
				e.mu.Lock()
				if e.op != nil {
					e.want(wishAsk)
				} else if e.routed {
					s.beginAsk(e)
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

// ask begins to ask a session's container, unless something else is being done to it.
func (s *Service) ask(id string) {
	e := s.hold(id)
	defer s.release(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.op != nil:
	case !e.routed:
		s.beginSettle(e) // it is asked in the next round
	default:
		s.beginAsk(e)
	}
}

// beginAsk begins to ask a container. e.mu is held.
func (s *Service) beginAsk(e *live) {
	if !e.routed {
		return
	}
	s.begin(e, opAsk, func(ctx context.Context, _ *op) {
		select {
		case s.asking <- struct{}{}:
			defer func() { <-s.asking }()
			s.askIdle(ctx, e)
		case <-ctx.Done():
		}
	})
}

// askIdle asks a container whether it has been idle for its client's timeout, and puts
// the session to sleep if it agrees.
func (s *Service) askIdle(ctx context.Context, e *live) {
	r, err := s.get(ctx, e.id)
	if err != nil {
		return // it stays due
	}
	e.publish(r)
	if route, ok := s.routes.get(e.id); r.Status != StatusActive || !ok || route.Epoch != r.Epoch {
		s.dropRoute(e, nil)
		e.mu.Lock()
		e.want(wishSettle)
		e.mu.Unlock()
		return
	}
	client, err := s.client(ctx, r.ClientID)
	if err != nil && !errors.Is(err, configstore.ErrNotFound) {
		return
	}
	log, timeout := s.logger(r), s.idleTimeout(client)
	h := &held{s: s, e: e, r: r}
	reply, err := s.containers.quiesce(ctx, r.address(), r.Start.Token, timeout)
	switch {
	case err != nil && ctx.Err() != nil:
		return
	case err != nil:
		log.Info("session's container does not answer", zap.Error(err))
		s.dropRoute(e, nil)
		e.mu.Lock()
		e.want(wishSettle)
		e.mu.Unlock()
		return
	case reply.Agreed:
		if err := s.drain(ctx, h, "idle", reply.Save); err != nil && ctx.Err() == nil {
			log.Error("putting idle session to sleep", zap.Error(err))
		}
		return
	}
	idle := time.Duration(max(0, reply.IdleMillis)) * time.Millisecond
	if idle >= timeout {
		log.Info("idle session stays awake", zap.String("reason", reply.Reason), zap.Bool("busy", reply.Busy))
	}
	writing, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	now := time.Now().UTC()
	err = h.apply(writing, Event{Kind: EventAsked, AskAt: now.Add(s.nextAsk(e, timeout, idle)), LastActivity: now.Add(-idle)})
	if err != nil && ctx.Err() == nil {
		log.Warn("writing when to ask the session again", zap.Error(err))
	}
}
