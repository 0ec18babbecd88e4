package sessions

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The duty. Of all edges that share a registry one at a time asks what is due, and
// sweeps: any number of them costs the registry, the runner and the containers about
// what one costs. It is a lease by observation, as that of a session is. While it
// changes hands two edges may look, or none, for about a lease's length: what they do
// to a session is guarded by its own record, and its container decides.

// duty is what an edge knows of it. The zero value is that of one that knows nothing.
type duty struct {
	mu    sync.Mutex
	lease Lease     // as this edge has seen it last
	since time.Time // since when
	until time.Time // it is this edge's until then
	rests time.Time // until when this edge leaves it to others
}

// onDuty reports whether it is for this edge to look for what is due and left behind.
func (s *Service) onDuty() bool {
	s.duty.mu.Lock()
	defer s.duty.mu.Unlock()
	return s.exclusive || time.Now().Before(s.duty.until)
}

// dutyLoop takes the duty when nobody has it, and renews it.
func (s *Service) dutyLoop() {
	if s.exclusive {
		return
	}
	for {
		s.lookAtDuty()
		if sleep(s.ctx, jitter(s.renewEvery())) != nil {
			break
		}
	}
	s.giveDuty(context.WithoutCancel(s.ctx)) // to another, which need not wait
}

func (s *Service) lookAtDuty() {
	ctx, cancel := context.WithTimeout(s.ctx, s.tryFor())
	defer cancel()
	now, err := s.registry.Duty(ctx)
	if err == nil && s.duty.free(now, s.edge, s.lease) {
		next, began := Lease{Holder: s.edge, Beat: now.Beat + 1}, time.Now()
		if err = s.registry.SetDuty(ctx, now, next); err == nil {
			if s.duty.take(next, began.Add(s.lease-s.leaseMargin())) {
				s.log.Info("this edge asks and sweeps for all", zap.String("before", now.Holder))
				select {
				case s.taken <- struct{}{}:
				default: // is known already
				}
			}
		}
	}
	if err != nil && !errors.Is(err, ErrConflict) && s.ctx.Err() == nil {
		s.log.Warn("looking which edge asks and sweeps", zap.Error(err))
	}
}

// free takes in the duty as it was read, and reports whether an edge may take or renew it.
func (d *duty) free(now Lease, edge string, lease time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now != d.lease || d.since.IsZero() {
		d.lease, d.since = now, time.Now()
	}
	if now.Holder != edge {
		d.until = time.Time{}
	}
	return !time.Now().Before(d.rests) && (now.Holder == edge || now.Holder == "" || time.Since(d.since) >= lease)
}

// take notes that the duty is this edge's, and reports whether it was not before.
func (d *duty) take(now Lease, until time.Time) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first = !time.Now().Before(d.until)
	d.lease, d.since, d.until = now, time.Now(), until
	return first
}

// passDuty gives the duty to another edge, if this one has it, because it cannot reach
// what it is to ask. If nobody takes it, it is this edge's again soon.
func (s *Service) passDuty(ctx context.Context) {
	d := &s.duty
	d.mu.Lock()
	mine := time.Now().Before(d.until)
	if mine {
		d.until, d.rests = time.Time{}, time.Now().Add(2*s.renewEvery())
	}
	d.mu.Unlock()
	if mine {
		s.giveDuty(ctx)
	}
}

// giveDuty writes that nobody has the duty, if it is this edge's, which may have taken
// or renewed it without knowing yet.
func (s *Service) giveDuty(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.tryFor())
	defer cancel()
	now, err := s.registry.Duty(ctx)
	if err == nil && now.Holder == s.edge {
		err = s.registry.SetDuty(ctx, now, Lease{Beat: now.Beat + 1})
	}
	if err != nil { // they wait for the lease to expire, or this edge has it again before
		s.log.Info("other edges not told to ask and sweep", zap.Error(err))
	}
}
