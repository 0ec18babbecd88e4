package containerboot

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errAsleep is why a boot or a rebuild is interrupted by a sleep.
var errAsleep = errors.New("put to sleep")

// job is the one thing that works on the tree and the build at a time.
type job struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil when nothing runs
	done   chan struct{}
	what   string // why the container is busy with it; "" if nobody need wait for it
}

// run does something that can be interrupted. If it was, the error is the interrupt's
// cause, whatever it made of it.
func (j *job) run(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j.mu.Lock()
	j.cancel, j.done = cancel, make(chan struct{})
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		close(j.done)
		j.cancel, j.done, j.what = nil, nil, ""
		j.mu.Unlock()
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// busyWith says with what the container is busy from now on.
func (j *job) busyWith(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.what = what
}

// busy returns what the container is busy with, or "".
func (j *job) busy() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.what
}

// interrupt stops what runs, if anything, and waits until it has ended. What somebody
// waits for goes on, and is returned, unless all is asked for.
func (j *job) interrupt(ctx context.Context, cause error, all bool) (busy string, err error) {
	j.mu.Lock()
	if j.what != "" && !all {
		defer j.mu.Unlock()
		return j.what, nil
	}
	done := j.done
	if j.cancel != nil {
		j.cancel(cause)
	}
	j.mu.Unlock()
	if done == nil {
		return "", nil
	}
	select {
	case <-done:
		return "", nil
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for a build to stop: %w", ctx.Err())
	}
}
