package sessions

import "context"

// Watch follows one session. It must be closed.
type Watch struct {
	s *Service
	e *live
	c chan struct{}
	// passive: whoever watches does not want the session awake for that.
	passive bool
}

// Watch begins to follow a session. Its View has an empty Status until something is
// known of the session; C tells when.
func (s *Service) Watch(id string) *Watch { return s.watch(id, false) }

func (s *Service) watch(id string, passive bool) *Watch {
	e := s.hold(id)
	w := &Watch{s: s, e: e, c: make(chan struct{}, 1), passive: passive}
	e.mu.Lock()
	e.watches[w] = struct{}{}
	s.attend(e)
	e.mu.Unlock()
	return w
}

// C receives when there is something new: once, however much it is.
func (w *Watch) C() <-chan struct{} { return w.c }

// View returns what is known now.
func (w *Watch) View() View {
	v, _, _ := w.look()
	return v
}

// look returns what is known now, whether something is being done to the session, and
// whether that is, or is followed by, a wake that has not come to its end.
func (w *Watch) look() (v View, busy, waking bool) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	o := w.e.op
	waking = o != nil && (w.e.wish == wishWakeNow || o.kind == opWake && !o.ending)
	return w.e.view(), o != nil, waking
}

// Close ends the watch. It is called once.
func (w *Watch) Close() {
	w.e.mu.Lock()
	delete(w.e.watches, w)
	w.e.mu.Unlock()
	w.s.release(w.e)
}

// wanted reports whether somebody watches who wants the session awake. e.mu is held.
func (e *live) wanted() bool {
	for w := range e.watches {
		if !w.passive {
			return true
		}
	}
	return false
}

// Wait returns when the session is active, or has failed or is inactive and nobody on
// this edge is about to wake it; at once if it is so already. Errors as of Lookup,
// and those of ctx, which frees the caller's place at once.
func (s *Service) Wait(ctx context.Context, id string) (View, error) {
	return s.wait(ctx, s.Watch(id), id)
}

// WaitPassively is Wait for one that wants no session awake: where its container is lost
// meanwhile, it is not woken for that.
func (s *Service) WaitPassively(ctx context.Context, id string) (View, error) {
	return s.wait(ctx, s.watch(id, true), id)
}

func (s *Service) wait(ctx context.Context, w *Watch, id string) (View, error) {
	defer w.Close()
	v, err := s.Lookup(ctx, id)
	if err != nil {
		return View{}, err
	}
	for {
		now, busy, waking := w.look()
		if now.Record.Status != "" {
			v = now
		}
		switch v.Record.Status {
		case StatusActive:
			return v, nil
		case StatusFailed:
			if !waking {
				return v, nil
			}
		case StatusInactive:
			if !busy {
				return v, nil
			}
		case StatusInitializing, StatusDraining:
		}
		select {
		case <-w.c:
			if gone, _, _ := w.look(); gone.Record.SessionID != "" && gone.Record.Status == "" {
				return View{}, ErrNotFound
			}
		case <-ctx.Done():
			return v, ctx.Err()
		case <-s.ctx.Done():
			return v, ErrClosed
		}
	}
}
