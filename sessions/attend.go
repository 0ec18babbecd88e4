package sessions

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Attending. While somebody watches a session to which this edge does nothing itself,
// another may: so the record is read, by one reader however many watch, and as soon as it
// names a container that comes up, that container's own event stream is followed. The
// container says when the site answers, and from then on it is served here, too, though
// the edge which wakes it may not have written that down yet: it has proved that it is
// this epoch's container, as every connection to one must, and whether the edge that woke it lives does not matter to it.
const (
	// attendFirst and attendMost bound the waits between two reads of a record.
	attendFirst = 50 * time.Millisecond
	attendMost  = 200 * time.Millisecond
	// attendEach is what each session that is attended adds to the longest wait: the
	// registry gets no more than 400 reads a second from an edge.
	attendEach = 2500 * time.Microsecond
	// attendAtRest is the longest wait where nothing is under way, unless so many are
	// attended that attendEach makes it longer.
	attendAtRest = time.Second
)

// attendMost is the longest wait between two reads of the record of a session that
// another edge is at work on.
func (s *Service) attendMost() time.Duration {
	return max(attendMost, time.Duration(s.attended.Load())*attendEach)
}

// attendLongest is the longest wait between two reads of a record that is attended.
func (s *Service) attendLongest(r Record) time.Duration {
	if r.Status == StatusInitializing || r.Status == StatusDraining {
		return s.attendMost()
	}
	return max(s.attendMost(), attendAtRest)
}

// attend has the session attended for as long as it is watched, unless that is so
// already or it needs no attendance. e.mu is held.
//
//nolint:contextcheck,nolintlint // it ends with the service, not with whoever asks for it
func (s *Service) attend(e *live) {
	if e.unattend != nil || !e.needsAttendance() {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.attended.Add(1)
	e.unattend = cancel
	running := s.spawnFor(e, func() {
		s.keepUp(ctx, e)
		cancel()
		s.attended.Add(-1)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.unattend = nil
		s.attend(e) // it may have been asked for in the meantime
	})
	if !running {
		cancel()
		s.attended.Add(-1)
		e.unattend = nil
	}
}

// needsAttendance reports whether somebody watches the session, and this edge is not at
// work on it nor serves it for good. e.mu is held.
func (e *live) needsAttendance() bool {
	return len(e.watches) > 0 && e.op == nil && !e.deleted && (!e.routed || e.record.Status != StatusActive)
}

// keepUp attends a session until that is no longer needed.
func (s *Service) keepUp(ctx context.Context, e *live) {
	for wait := attendFirst; ; wait = wait * 3 / 2 {
		r, err := s.lookupRecord(ctx, e.id)
		switch {
		case err == nil:
			s.learn(r)
		case isNotFound(err):
			e.gone()
		}
		e.mu.Lock()
		r, needed, routed := e.record, e.needsAttendance(), e.routed
		e.mu.Unlock()
		if !needed || ctx.Err() != nil {
			return
		}
		if r.Status == StatusInitializing && !routed && r.address() != "" {
			began := time.Now()
			if s.accompany(ctx, e, r) && time.Since(began) > attendMost {
				wait = attendFirst // not for one that says again and again that it has failed
			}
		}
		wait = min(wait, s.attendLongest(r))
		if sleep(ctx, jitter(wait)) != nil {
			return
		}
	}
}

// accompany shows how far the container of another edge's wake is, until it says that
// the site answers: then the session is served. It reports whether the container answered.
func (s *Service) accompany(ctx context.Context, e *live, r Record) bool {
	answered, ready := false, false
	err := s.containers.follow(ctx, r.address(), r.Start.Token, func(status bootapi.Status) bool {
		answered = true
		e.showStatus(status)
		ready = status.Phase == bootapi.PhaseReady
		return ready || status.Phase == bootapi.PhaseFailed || status.Phase == bootapi.PhaseStopping
	}, e.addLog)
	if err == nil && ready {
		s.serve(e, r)
	}
	return answered
}

// serve opens the way to a container that said that its site answers, unless the session
// is no longer as it was.
func (s *Service) serve(e *live, r Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.op != nil || e.deleted || e.record.Epoch != r.Epoch ||
		e.record.Status != StatusInitializing && e.record.Status != StatusActive {
		return
	}
	s.putRoute(e, r)
	if c := s.logger(r).Check(zap.DebugLevel, "session of another edge's wake is served"); c != nil {
		c.Write()
	}
}
