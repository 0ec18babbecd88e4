package ecs

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The back-off of calls that fail, and the gaps between calls that are throttled.
const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 3 * time.Second
	gapFirst   = 100 * time.Millisecond
	gapLeast   = 10 * time.Millisecond
	gapMost    = 2 * time.Second
)

// action is one action of the API, with the pace at which ECS lets it be called.
//
// An account has so many calls a second of each kind, for all that is in it. Once they
// are used up, calls follow one another with a gap that grows as long as ECS throttles,
// and shrinks when it does not, so that a thousand starts at once queue up here instead
// of being refused there.
type action struct {
	name  string
	slots chan struct{} // has room for the calls that may be under way
	head  chan struct{} // has room for who is next

	mu     sync.Mutex
	gap    time.Duration // 0: none
	next   time.Time     // when the next call may go out
	raised time.Time     // when the gap was last raised
}

func newAction(name string, most int) *action {
	return &action{name: name, slots: make(chan struct{}, most), head: make(chan struct{}, 1)}
}

// turn waits until a call may go out; done must be called after it.
func (a *action) turn(ctx context.Context) (done func(), err error) {
	select {
	case a.head <- struct{}{}:
		defer func() { <-a.head }()
	case <-ctx.Done():
		return nil, cause(ctx)
	}
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, cause(ctx)
	}
	done = func() { <-a.slots }
	a.mu.Lock()
	wait := time.Until(a.next)
	a.mu.Unlock()
	if err := sleep(ctx, wait); err != nil {
		done()
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gap > 0 {
		a.next = time.Now().Add(a.gap/2 + rand.N(a.gap)) //nolint:gosec // chance, not secrecy
	}
	return done, nil
}

// throttled takes in that a call which went out at a moment was throttled. It reports
// whether that is news.
func (a *action) throttled(sent time.Time) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sent.Before(a.raised) {
		return false // one of those that were under way when the gap was raised
	}
	news = a.gap == 0
	a.gap = min(max(a.gap*3/2, gapFirst), gapMost)
	a.raised = time.Now()
	a.next = a.raised.Add(a.gap)
	return news
}

// passed takes in that a call which went out at a moment was not throttled.
func (a *action) passed(sent time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if sent.Before(a.raised) {
		return
	}
	if a.gap = a.gap * 15 / 16; a.gap < gapLeast {
		a.gap = 0
	}
}

// call makes a call, again and again while ECS throttles it, until patience is at an end,
// or does not answer, for a shorter time. ctx may end it between two tries; a try itself is under another
// context, so that what was begun is known to its end. Errors are explained.
func call[O any](ctx, under context.Context, r *Runner, a *action, patience time.Duration, do func(context.Context) (O, error)) (O, error) {
	began, wait := time.Now(), retryFirst
	for {
		var none O
		done, err := a.turn(ctx)
		if err != nil {
			return none, err
		}
		sent := time.Now()
		attempt, cancel := context.WithTimeout(under, r.timing.attempt)
		out, err := do(attempt)
		cancel()
		done()
		kind := faultOf(err)
		switch kind {
		case faultThrottled:
			if a.throttled(sent) {
				r.log.Warn("ECS throttles calls", zap.String("action", a.name))
			}
		case faultTransient:
		case faultNone:
			a.passed(sent)
			return out, nil
		case faultRefused:
			a.passed(sent)
			return out, r.explain(a.name, err)
		}
		if under.Err() != nil {
			return none, cause(under)
		}
		waited := time.Since(began)
		if waited > patience || kind == faultTransient && waited > r.timing.readPatience {
			return none, r.explain(a.name, err)
		}
		if kind == faultTransient {
			if c := r.log.Check(zap.DebugLevel, "call of ECS is made again"); c != nil {
				c.Write(zap.String("action", a.name), zap.Error(err))
			}
			if err := sleep(ctx, wait/2+rand.N(wait)); err != nil { //nolint:gosec // chance, not secrecy
				return none, err
			}
			wait = min(2*wait, retryMost)
		}
	}
}

// sleep waits. It returns why not, if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return cause(ctx)
	}
}
