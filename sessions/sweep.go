package sessions

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	// sweepEvery is how often an edge looks for what another may have left behind.
	sweepEvery = time.Minute
	// sweepMost is how many records of a kind one sweep looks at; those beyond it
	// are looked at when somebody asks for them, or they become due.
	sweepMost = 10_000
	// maxSettling is how many sessions are looked into at once by the sweep.
	maxSettling = 16
)

// always is after every AskAt.
var always = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// sweepLoop finds, at the start and then every minute, sessions whose container is gone,
// and containers without a session; and at the start what is kept of sessions that were
// deleted. Sessions whose edge died are found by leaseLoop.
func (s *Service) sweepLoop() {
	ctx, cancel := context.WithTimeout(s.ctx, registryTimeout)
	active, err := s.registry.Due(ctx, always, sweepMost)
	cancel()
	if err != nil && s.ctx.Err() == nil {
		s.log.Warn("reading active sessions", zap.Error(err))
	}
	s.settleAll(active)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for forgotten := false; ; {
		s.sweepContainers()
		forgotten = forgotten || s.sweepKept()
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
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
		s.beginAsk(e)
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
// record is stopped; a session whose container is not among them is looked into.
func (s *Service) sweepContainers() {
	ctx, cancel := context.WithTimeout(s.ctx, describeTimeout)
	defer cancel()
	routed := s.routes.all() // before the list: what is woken from now on may be missing in it
	containers, err := s.runner.List(ctx)
	if err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("listing containers", zap.Error(err))
		}
		return
	}
	running := make(map[string]int64, len(containers))
	for _, c := range containers {
		running[c.SessionID] = max(c.Epoch, running[c.SessionID])
		s.sweepContainer(c)
	}
	for _, id := range routed {
		if route, ok := s.routes.get(id); ok && running[id] < route.Epoch {
			s.Lost(route, ErrNoContainer)
		}
	}
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
	s.log.Warn("stopping a container that belongs to no session", zap.String("session", c.SessionID),
		zap.Int64("epoch", c.Epoch), zap.String("container", c.Ref))
	s.wg.Go(func() {
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
