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

// Wake begins to wake a session if its state allows it, and returns as soon as that
// is written down; however many ask, there is one wake. A session that is active, or
// being woken, or failed and within its back-off (Record.RetryAt), is left as it is.
// One that is going to sleep is woken as soon as it sleeps.
//
// ErrNotFound; ErrLimit, with the session left as it is; ErrDisabled;
// configstore.ErrNotFound if the client is gone; ErrUnavailable; ErrNoRunner; ErrClosed.
func (s *Service) Wake(ctx context.Context, id string) (View, error) {
	return s.wake(ctx, id, wishWake)
}

// WakeNow is Wake, but does not heed the back-off, and makes sure that the container of
// an active session answers: for a person who asks to try again.
func (s *Service) WakeNow(ctx context.Context, id string) (View, error) {
	if err := s.probe(ctx, id); err != nil {
		return View{}, err
	}
	return s.wake(ctx, id, wishWakeNow)
}

// probe has a session's route dropped whose container does not answer, and returns when
// it is known what became of it. Its error is ctx's.
func (s *Service) probe(ctx context.Context, id string) error {
	e, ok := s.holdKnown(id)
	if !ok {
		return nil
	}
	defer s.release(e)
	e.mu.Lock()
	route, r, routed := e.route, e.record, e.routed
	e.mu.Unlock()
	if !routed || r.Start == nil || r.Epoch != route.Epoch {
		return nil
	}
	err := s.containers.serves(ctx, route.Address, r.Start.Token)
	if err == nil || bootapi.Exhausted(err) || ctx.Err() != nil {
		return ctx.Err()
	}
	s.Lost(route, err)
	e.mu.Lock()
	o := e.op
	e.mu.Unlock()
	if o == nil || o.kind != opSettle {
		return nil // the wake waits for it
	}
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) wake(ctx context.Context, id string, w wish) (View, error) {
	if !possible(id) || s.unknown.has(id) {
		return View{}, ErrNotFound
	}
	if s.runner == nil {
		return View{}, ErrNoRunner
	}
	e := s.hold(id)
	defer s.release(e)
	for {
		v, o, late := s.joinWake(e, w)
		if o == nil {
			return v, nil
		}
		select {
		case <-o.begun:
		case <-ctx.Done():
			return View{}, ctx.Err()
		}
		if !o.idle || (!late && (w == wishWake || o.err != nil)) {
			e.mu.Lock()
			defer e.mu.Unlock()
			return e.view(), o.err
		}
		// It came to nothing for those who asked before, or did not mean to ignore the
		// back-off; things may be different now.
		select {
		case <-o.done:
		case <-ctx.Done():
			return View{}, ctx.Err()
		}
	}
}

// joinWake returns the wake that is under way, or begins one; late if what it comes to
// was known before. It returns none if there is nothing to wait for.
func (s *Service) joinWake(e *live, w wish) (v View, o *op, late bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o = e.op
	switch {
	case e.routed:
		return e.view(), nil, false
	case o == nil:
		return View{}, s.beginWake(e, w == wishWakeNow), false
	// A wake that has come to its end, but whose container was lost or has failed
	// since, is no longer the one that is asked for.
	case o.kind != opWake, e.wish >= wishSettle, o.ending && w == wishWakeNow:
		e.want(w)
		return e.view(), nil, false
	default:
		return View{}, o, o.announced()
	}
}

// beginWake begins a wake. e.mu is held.
func (s *Service) beginWake(e *live, now bool) *op {
	return s.begin(e, opWake, func(ctx context.Context, o *op) {
		started := time.Now()
		r, err := s.takeWake(ctx, o, e, now)
		if err != nil || r == nil {
			o.refuse(ctx, err)
			if isNotFound(err) {
				s.unknown.add(e.id)
				e.gone()
			}
			return
		}
		o.announce()
		s.boot(ctx, o, newHeld(s, e, r.record, r.at), r.client, started, false)
	})
}

// taken is a wake that was written down.
type taken struct {
	record Record
	at     time.Time // when the write began
	client configstore.Client
}

// takeWake writes down that this edge wakes the session, after it has found out what
// became of an earlier container, if the record speaks of one. One that another edge is
// stopping is waited for: whoever asked for the wake need not ask again. It returns nil if
// there is nothing to wake: the session is awake, or within its back-off, or another
// edge's wake.
func (s *Service) takeWake(ctx context.Context, o *op, e *live, now bool) (*taken, error) {
	var wait time.Duration
	for {
		r, err := s.get(ctx, e.id)
		if err = asUnavailable(err); err != nil && (!errors.Is(err, ErrUnavailable) || !o.announced()) {
			return nil, err
		}
		if err == nil {
			e.publish(r)
			if !r.HoldsSlot() {
				if !now && time.Now().Before(r.RetryAt()) {
					return nil, nil
				}
				t, err := s.writeWake(ctx, e, r)
				if !errors.Is(err, ErrConflict) {
					return t, asUnavailable(err)
				}
				continue
			}
			o.announce() // it is being looked into: nobody needs to wait for that
			if r.Status == StatusDraining {
				s.recall(ctx, r) // it may serve on
			}
			settled, err := s.settle(ctx, o, e, r)
			switch {
			case err == nil && settled.HoldsSlot():
				return nil, nil
			case err == nil:
				continue
			case !anothers(err):
				return nil, err // of which nobody waits to hear; the view shows it
			case r.Status == StatusInitializing:
				return nil, nil // another edge's wake
			}
		}
		wait = min(max(attendFirst, 2*wait), max(s.attendMost(), pollMost))
		if err := sleep(ctx, jitter(wait)); err != nil {
			return nil, err
		}
	}
}

// writeWake is the one conditional write by which a wake is decided.
func (s *Service) writeWake(ctx context.Context, e *live, r Record) (*taken, error) {
	client, err := s.client(ctx, r.ClientID)
	if err != nil {
		return nil, err
	}
	next, err := s.awake(r, client)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	stored, err := s.update(ctx, next, client.Settings.MaxConcurrentSessions)
	if err != nil {
		return nil, err
	}
	e.publish(stored)
	return &taken{record: stored, at: began, client: client}, nil
}

// awake is the record at the beginning of a wake, with new parameters of its start.
func (s *Service) awake(r Record, client configstore.Client) (Record, error) {
	if client.Disabled {
		return r, fmt.Errorf("waking a session of client %q: %w", client.ClientID, ErrDisabled)
	}
	now := time.Now()
	r.PreviewURL = s.tunables.Load().PublicOrigin.PreviewURL(client.Domains.Edit, r.SessionID)
	return Next(r, Event{Kind: EventWake, Holder: s.edge, Start: Start{
		Token: Token(bootapi.NewToken()), Size: string(client.Settings.ContainerSize), At: now.UTC(),
	}}, now.UTC())
}

// asUnavailable makes an answer that came too late the same as none.
func asUnavailable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// wakeNotSaved is logged where a session was to sleep before its wake had come to its
// end, and edits that were made in it by then cannot be saved.
const wakeNotSaved = "session is woken, and not put to sleep, because its work could not be saved"

// boot carries a wake that was written down through to its end: active, failed, or
// given up because the edge closes or somebody wants the session asleep. resumed says
// that an edge that died had begun it.
func (s *Service) boot(ctx context.Context, o *op, h *held, client configstore.Client, started time.Time, resumed bool) {
	b := &boot{s: s, e: h.e, h: h, client: client, timings: newTimings(started), resumed: resumed, since: time.Now()}
	err := h.leased(ctx, b.run)
	log := s.logger(h.record())
	var failed *bootError
	switch {
	case err == nil:
		log.Info("session woken", append(b.timings.fields(), zap.Strings("reused", b.reused))...)
		return
	case resumed && errors.Is(err, errEnded):
		// It ended because its edge did: no fault of the site's. Whoever waits for
		// it gets a new one.
		if err := s.leave(ctx, h); err != nil && ctx.Err() == nil && !anothers(err) {
			log.Error("stopping what an earlier edge left behind", zap.Error(err))
		}
		h.e.mu.Lock()
		h.e.want(wishWake)
		h.e.mu.Unlock()
		return
	case errors.Is(err, errLeaseExpired):
		log.Info("session wake given up", zap.Error(err))
		// If the registry is back before another edge has noticed, it goes on here.
		h.e.mu.Lock()
		h.e.want(wishSettle)
		h.e.mu.Unlock()
		return
	case errors.Is(err, errUnwanted):
		err := s.sleepWaking(ctx, h, "asked for at another edge")
		switch {
		case errors.Is(err, ErrNotSaved): // and so it stays awake, as an active one does
			log.Error(wakeNotSaved, zap.Error(err))
			s.boot(ctx, o, h, client, started, true)
			return
		case err != nil: // leaseLoop tries again
			if ctx.Err() == nil && !anothers(err) {
				log.Error("putting a session to sleep for another edge", zap.Error(err))
			}
			return
		}
		log.Info("session slept", zap.String("reason", "asked for at another edge"))
		return
	case context.Cause(ctx) != nil, errors.Is(err, errLeaseLost), errors.Is(err, ErrNotFound):
		log.Info("session wake given up", zap.Error(err))
		return
	case !errors.As(err, &failed):
		failed = &bootError{phase: b.timings.phase, cause: "Something went wrong while the session was started.", err: err, retryable: true}
	}
	s.dropRoute(h.e, nil) // which it has if it was ready when another edge died
	h.e.mu.Lock()
	o.ending = true
	h.e.mu.Unlock()
	if err := h.apply(ctx, Event{Kind: EventFail, Failure: failed.failure()}); err != nil {
		if anothers(err) {
			return // and so its failure is the other edge's to see
		}
		log.Error("session failure not written", zap.String("phase", string(failed.phase)), zap.String("cause", failed.cause), zap.Error(err))
		return
	}
	log.Warn("session failed", append(b.timings.fields(), zap.String("phase", string(failed.phase)),
		zap.String("cause", failed.cause), zap.String("detail", failed.detail()), zap.Int("attempts", h.record().Failure.Attempts))...)
	if err := s.stop(ctx, h, "failed"); err != nil && !anothers(err) {
		log.Error("stopping failed session's container", zap.Error(err))
	}
}

// bootError is why a wake failed: one sentence for an editor, the rest for the operator.
type bootError struct {
	phase     bootapi.Phase
	cause     string
	err       error
	text      string // detail as the container told it; wins over err
	retryable bool
}

func (e *bootError) Error() string { return fmt.Sprintf("%s: %s", e.cause, e.detail()) }

func (e *bootError) Unwrap() error { return e.err }

func (e *bootError) detail() string {
	if e.text != "" || e.err == nil {
		return e.text
	}
	return clip(e.err.Error(), maxDetail)
}

func (e *bootError) failure() bootapi.Failure {
	return bootapi.Failure{Phase: e.phase, Cause: e.cause, Detail: e.detail(), Retryable: e.retryable}
}

// timings is how long each phase of a wake took.
type timings struct {
	started, since time.Time
	phase          bootapi.Phase
	took           []zap.Field
}

func newTimings(started time.Time) *timings {
	return &timings{started: started, since: started, phase: bootapi.PhaseStarting}
}

// enter notes that a phase begins.
func (t *timings) enter(p bootapi.Phase) {
	if p == t.phase || len(t.took) > 10 {
		return
	}
	now := time.Now()
	t.took = append(t.took, zap.Duration(string(t.phase), now.Sub(t.since)))
	t.phase, t.since = p, now
}

func (t *timings) fields() []zap.Field {
	return append(t.took, zap.Duration("took", time.Since(t.started)))
}
