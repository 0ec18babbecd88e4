package sessions

import (
	"context"
	"errors"
)

// wish is what somebody asked for while something else was being done.
type wish int

const (
	wishNothing wish = iota
	wishAsk          // ask the container whether it is idle
	wishSettle       // find out what became of the container
	wishWake         // wake, unless the back-off forbids it
	wishWakeNow      // wake
)

// op is one thing being done to a session. An edge does one at a time.
type op struct {
	kind   opKind
	cancel context.CancelCauseFunc
	// begun is closed when a wake has been written, or refused with err.
	begun chan struct{}
	err   error
	idle  bool          // there is nothing to do, or it is refused; set before begun is closed
	done  chan struct{} // closed at the end
	// ending: the wake has failed, its container is being stopped. Under live.mu.
	ending bool
}

type opKind int

const (
	opWake   opKind = iota // wake it, settling it first if need be
	opSettle               // find out what became of its container
	opAsk                  // ask the container whether it is idle
	opStop                 // put it to sleep, or delete it
)

// begin makes a new op the session's and runs it. There must be none, and e.mu is
// held. While the service closes it returns an op that has ended with ErrClosed.
//
//nolint:contextcheck,nolintlint // an op outlives whoever asks for it
func (s *Service) begin(e *live, kind opKind, run func(context.Context, *op)) *op {
	ctx, cancel := context.WithCancelCause(s.ctx)
	o := &op{kind: kind, cancel: cancel, begun: make(chan struct{}), done: make(chan struct{})}
	e.op = o
	if e.unattend != nil {
		e.unattend() // the op sees to it
	}
	running := s.spawnFor(e, func() {
		run(ctx, o)
		s.end(e, o)
	})
	if !running {
		e.op, o.err, o.idle = nil, ErrClosed, true
		cancel(ErrClosed)
		close(o.begun)
		close(o.done)
	}
	return o
}

// announce tells whoever waits for it that the op goes on by itself from here. Only
// the first call of announce or refuse counts.
func (o *op) announce() {
	if !o.announced() {
		close(o.begun)
	}
}

// refuse tells whoever waits for it that there is nothing to do, or why not. ctx is the
// op's.
func (o *op) refuse(ctx context.Context, err error) {
	if o.announced() {
		return
	}
	o.idle = true
	switch cause := context.Cause(ctx); {
	case err == nil || cause == nil:
		o.err = err
	case !errors.Is(cause, errInterrupted): // else the view shows what became of it
		o.err = ErrClosed
	}
	close(o.begun)
}

func (o *op) announced() bool {
	select {
	case <-o.begun:
		return true
	default:
		return false
	}
}

// end takes the op away, and begins what was wished for in the meantime before
// anybody can see the session with nothing being done to it.
func (s *Service) end(e *live, o *op) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.cancel(nil)
	close(o.done)
	e.op = nil
	w := e.wish
	e.wish = wishNothing
	switch w {
	case wishWake, wishWakeNow:
		s.beginWake(e, w == wishWakeNow)
	case wishSettle:
		s.beginSettle(e)
	case wishAsk:
		s.askSoon(e)
	case wishNothing:
	}
	if e.op == nil {
		e.notify() // whoever waits sees that nothing more will come
	}
	s.attend(e)
}

// want keeps the strongest wish. e.mu is held.
func (e *live) want(w wish) { e.wish = max(e.wish, w) }
