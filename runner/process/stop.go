//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// Stop asks a container to save and end, kills it when the grace is over, and returns
// when it has ended with all that it started. If ctx ends before, the stop goes on.
func (r *Runner) Stop(ctx context.Context, ref, reason string) error {
	id, epoch, err := parseRef(ref)
	if err != nil {
		return err
	}
	if err := r.stop(ctx, id, epoch, reason); err != nil {
		return fmt.Errorf("stopping %q: %w", ref, err)
	}
	return nil
}

func (r *Runner) stop(ctx context.Context, id string, epoch int64, reason string) error {
	if err := r.usable(); err != nil {
		return err
	}
	if reason == "" {
		reason = "stopped"
	}
	// A start under way has to finish first: it may be that of this container.
	unlock, err := r.busy.Lock(ctx, id)
	if err != nil {
		return err
	}
	c := r.child(id)
	if c != nil {
		unlock()
		if c.state.Epoch != epoch {
			return nil
		}
		c.stop(reason)
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer unlock()
	dir := r.dir(id)
	last, err := readState(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && last.Epoch != epoch {
		return nil
	}
	if err != nil {
		return err
	}
	lock, err := r.succeed(ctx, dir, last)
	if err != nil {
		return err
	}
	return lock.Close()
}

// survey looks for the containers of an earlier process. They end by themselves, as
// that process has gone; what takes longer than the grace, or was left by one that was
// killed with its edge, is ended here.
func (r *Runner) survey() {
	if err := r.sweepForgotten(); err != nil {
		r.log.Warn("removing what is left of deleted sessions failed", zap.Error(err))
	}
	files, err := filepath.Glob(filepath.Join(globEscape(r.dataDir), "sessions", "*", stateName))
	if err != nil {
		r.log.Error("looking for containers of an earlier process failed", zap.Error(err))
		return
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		s, err := readState(dir)
		if err != nil {
			r.log.Error("reading the state of a container failed", zap.Error(err))
			continue
		}
		switch {
		case s.Ended:
		case s.alive():
			r.mu.Lock()
			r.former[s.SessionID] = s
			r.mu.Unlock()
			r.work.Go(func() { r.outlive(dir, s) })
		default:
			// In order, it ends what it started before it ends; killed, it could not.
			r.sweep(dir, s)
		}
	}
}

// outlive sees a container of an earlier process to its end.
func (r *Runner) outlive(dir string, s state) {
	defer func() {
		r.mu.Lock()
		delete(r.former, s.SessionID)
		r.mu.Unlock()
	}()
	deadline := time.Now().Add(r.grace)
	for s.alive() {
		if time.Now().After(deadline) {
			r.log.Warn("killing an earlier container that did not end in time",
				zap.String("session", s.SessionID), zap.Int64("epoch", s.Epoch), zap.Int("pid", s.PID))
			s.signal(syscall.SIGKILL)
			deadline = deadline.Add(killWait)
		}
		select {
		case <-time.After(5 * lockPoll):
		case <-r.life.Done():
			return
		}
	}
	r.sweep(dir, s)
}

// sweep kills what a container of an earlier process left behind, unless it has a
// successor already: whose processes live in the same folder, and who has swept it.
func (r *Runner) sweep(dir string, s state) {
	unlock, err := r.busy.Lock(r.life, s.SessionID)
	if err != nil {
		return // closed
	}
	defer unlock()
	if r.child(s.SessionID) == nil {
		killLeftovers(0, dir)
	}
}

var _ sessions.Runner = (*Runner)(nil)
