package sessions

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// sweepEvery is how often an edge looks for what another may have left behind.
	sweepEvery = time.Minute
	// sweepShared is how often where the registry is another machine's.
	sweepShared = 2 * time.Minute
	// listTimeout bounds the reading of all that runs, or is active: a cluster that
	// throttles takes a minute to list 10,000 containers.
	listTimeout = 2 * time.Minute
	// sweepMost is how many records of a kind one sweep looks at; those beyond it
	// are looked at when somebody asks for them, or they become due.
	sweepMost = 10_000
	// maxSettling is how many sessions are looked into at once by the sweep.
	maxSettling = 16
	// maxOrphans is how many containers without a session are stopped at once.
	maxOrphans = 16
)

// always is after every AskAt.
var always = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// sweepLoop finds, at the start and then every minute, sessions whose container is gone,
// and containers without a session; and at the start what is kept of sessions that were
// deleted. Where several edges share a registry, the one on duty does so. Sessions whose
// edge died are found by leaseLoop.
//
// An edge which is alone asks every container at its start, because those of the edge
// before it have ended with it, or will. One of several does not: it learns of a
// container when somebody asks for its session, or the session is due.
func (s *Service) sweepLoop() {
	if s.exclusive {
		s.settleAll(s.active())
	}
	every := sweepShared
	if s.exclusive {
		every = sweepEvery
	}
	for forgotten := false; ; {
		if s.onDuty() {
			active := s.active()
			s.sweepSettings(active)
			s.sweepContainers(active)
			forgotten = forgotten || s.sweepKept()
		}
		next := time.NewTimer(every)
		select {
		case <-next.C:
		case <-s.taken:
			next.Stop()
		case <-s.ctx.Done():
			next.Stop()
			return
		}
	}
}

// active reads the active sessions.
func (s *Service) active() []Record {
	ctx, cancel := context.WithTimeout(s.ctx, listTimeout)
	defer cancel()
	active, err := s.registry.Due(ctx, always, sweepMost)
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("reading active sessions", zap.Error(err))
	}
	return active
}

// sweepSettings asks sessions at once that by their client's present settings are due
// sooner than they were to be asked.
func (s *Service) sweepSettings(active []Record) {
	for _, r := range active {
		limits, err := s.limits(s.ctx, r.ClientID)
		if err != nil {
			return
		}
		over := limits.lifetime > 0 && r.Start != nil && r.AskAt.After(r.Start.At.Add(limits.lifetime).Add(askAgain))
		if over || time.Until(r.AskAt) > limits.idle+askAgain {
			s.ask(r)
		}
	}
}

// settleAll begins to look into sessions, some at a time, and returns when it is known
// of each what became of it; a wake that is carried on is not waited for.
func (s *Service) settleAll(records []Record) {
	places := make(chan struct{}, maxSettling)
	for _, r := range records {
		select {
		case places <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		s.wg.Go(func() {
			defer func() { <-places }()
			s.settleOne(r)
		})
	}
	for range maxSettling {
		select {
		case places <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
	}
}

// settleOne looks into a session, unless something is being done to it.
func (s *Service) settleOne(r Record) {
	e := s.hold(r.SessionID)
	defer s.release(e)
	e.publish(r)
	e.mu.Lock()
	if e.op != nil || s.ctx.Err() != nil {
		e.mu.Unlock()
		return
	}
	if e.routed && e.record.Status == StatusActive {
		// Either it became ready since its record was read, or this edge never
		// learned that its drain was written: asking tells.
		s.askSoon(e)
		e.mu.Unlock()
		return
	}
	o := s.beginSettle(e)
	e.mu.Unlock()
	select {
	case <-o.begun:
	case <-s.ctx.Done():
	}
}

// sweepContainers compares what runs with what should. A container without a fitting
// record is stopped; a session whose container is not among them is looked into, which
// asks the container itself, because a list may lag.
func (s *Service) sweepContainers(active []Record) {
	ctx, cancel := context.WithTimeout(s.ctx, listTimeout)
	defer cancel()
	routed := s.routes.all() // before the list: what is woken from now on may be missing in it
	containers, err := s.runner.List(ctx)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("listing containers", zap.Error(err))
			s.passDuty(s.ctx) // another edge may be able to
		}
		return
	}
	expected := make(map[string]int64, len(active))
	for _, r := range active {
		expected[r.SessionID] = r.Epoch
	}
	running := make(map[string]int64, len(containers))
	for _, c := range containers {
		running[c.SessionID] = max(c.Epoch, running[c.SessionID])
		if epoch, ok := expected[c.SessionID]; !ok || epoch != c.Epoch {
			s.sweepContainer(c)
		}
	}
	for _, id := range routed {
		if route, ok := s.routes.get(id); ok && running[id] < route.Epoch {
			s.Lost(route, ErrNoContainer)
		}
	}
	var gone []Record
	for _, r := range active {
		if _, routed := s.routes.get(r.SessionID); !routed && running[r.SessionID] < r.Epoch {
			gone = append(gone, r)
		}
	}
	s.settleAll(gone)
}

// sweepContainer stops a container if no record fits it.
func (s *Service) sweepContainer(c Container) {
	r, err := s.get(s.ctx, c.SessionID) // after the list: its record was written before it was started
	if err != nil && !isNotFound(err) {
		return
	}
	if err == nil && r.HoldsSlot() && r.Epoch <= c.Epoch {
		return
	}
	if _, already := s.orphans.LoadOrStore(c.Ref, true); already {
		return // its stop lasts, or waits for its turn
	}
	s.log.Warn("stopping a container that belongs to no session", zap.String("session", c.SessionID),
		zap.Int64("epoch", c.Epoch), zap.String("container", c.Ref))
	s.wg.Go(func() {
		defer s.orphans.Delete(c.Ref)
		select {
		case s.ending <- struct{}{}:
			defer func() { <-s.ending }()
		case <-s.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(s.ctx, stopTimeout)
		defer cancel()
		if err := s.runner.Stop(ctx, c.Ref, "orphan"); err != nil && s.ctx.Err() == nil {
			s.log.Error("stopping a container that belongs to no session", zap.String("container", c.Ref), zap.Error(err))
		}
	})
}

// sweepKept has the runner forget the sessions which were deleted while no edge was
// there, or one that did not come to it. It reports whether it has seen to all.
func (s *Service) sweepKept() bool {
	ctx, cancel := context.WithTimeout(s.ctx, registryTimeout)
	defer cancel()
	kept, err := s.runner.Kept(ctx)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("listing what is kept of sessions", zap.Error(err))
		}
		return false
	}
	for _, id := range kept {
		// Something is kept only of a session that had a record before.
		_, err := s.get(s.ctx, id)
		switch {
		case err == nil:
		case !isNotFound(err):
			return false
		default:
			if err := s.forget(s.ctx, id); err != nil {
				s.log.Warn("work of a deleted session is kept", zap.String("session", id), zap.Error(err))
			}
		}
	}
	return true
}
