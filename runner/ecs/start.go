package ecs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// maxSessionID is how long an id may be, in bytes: overrides are limited.
const maxSessionID = 200

// flight is a start under way. All who ask for the same one are in it.
type flight struct {
	req    sessions.StartRequest
	cancel context.CancelFunc
	done   chan struct{}
	c      sessions.Container
	err    error

	askers int // who still wait, under the runner's lock; with none it is given up
}

// Start starts the container of a session's epoch. See sessions.Runner. It looks for
// containers of earlier epochs with ListTasks, unless this process knows that there are
// none. ErrCapacity; ErrRunnerUnavailable if ECS cannot be asked, or throttles for more
// than a minute.
func (r *Runner) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	if err := r.check(req); err != nil {
		return sessions.Container{}, fmt.Errorf("starting a container: %w", err)
	}
	c, err := r.join(ctx, req)
	if err != nil {
		return sessions.Container{}, fmt.Errorf("starting a container for session %q, epoch %d: %w", req.SessionID, req.Epoch, err)
	}
	return c, nil
}

func (r *Runner) check(req sessions.StartRequest) error {
	hash, err := hex.DecodeString(req.TokenHash)
	_, sized := r.tunables.Load().Sizes[req.Size]
	switch {
	case req.SessionID == "" || len(req.SessionID) > maxSessionID:
		return fmt.Errorf("session id must have 1 to %d bytes, got %d", maxSessionID, len(req.SessionID))
	case req.Epoch < 1:
		return fmt.Errorf("epoch must be 1 or more, got %d", req.Epoch)
	case err != nil || len(hash) != 32:
		return errors.New("token hash must be a SHA-256 in hex")
	case !sized:
		return fmt.Errorf("container size must be small, medium or large, got %q", req.Size)
	default:
		return nil
	}
}

// join takes part in the session's start that is asked for, or begins it once no other
// start of the session is under way.
func (r *Runner) join(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	for {
		if ctx.Err() != nil {
			return sessions.Container{}, ctx.Err()
		}
		f, mine, err := r.flight(req) //nolint:contextcheck // it may be others', too: they can each leave it
		if err != nil {
			return sessions.Container{}, err
		}
		select {
		case <-f.done:
			if mine {
				return f.c, f.err
			}
		case <-ctx.Done():
			if mine {
				r.leave(f)
			}
			return sessions.Container{}, ctx.Err()
		}
	}
}

// flight returns the session's start under way, which is a new one if there is none.
// mine: it is that which was asked for.
func (r *Runner) flight(req sessions.StartRequest) (f *flight, mine bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, errClosed
	}
	if f, ok := r.flights[req.SessionID]; ok {
		if f.req != req || f.askers == 0 {
			return f, false, nil
		}
		f.askers++
		return f, true, nil
	}
	ctx, cancel := context.WithCancel(r.life)
	f = &flight{req: req, cancel: cancel, done: make(chan struct{}), askers: 1}
	r.flights[req.SessionID] = f
	r.work.Go(func() {
		defer cancel()
		f.c, f.err = r.start(ctx, req)
		r.mu.Lock()
		delete(r.flights, req.SessionID)
		r.mu.Unlock()
		close(f.done)
	})
	return f, true, nil
}

// leave gives up a place in a start.
func (r *Runner) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.askers--; f.askers == 0 {
		f.cancel()
	}
}

// start is one start; no other one of the session is under way in this process.
func (r *Runner) start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	earlier, same, err := r.compare(req)
	if err == nil && same == nil && !r.alone(req) {
		if _, err := r.survey(ctx, req.SessionID); err != nil {
			return sessions.Container{}, fmt.Errorf("looking for earlier containers: %w", err)
		}
		earlier, same, err = r.compare(req)
	}
	if err != nil {
		return sessions.Container{}, err
	}
	if same != nil {
		// As it is now, if that can be told.
		if now, err := r.describe(ctx, same.arn); err == nil {
			return now.container(), nil
		}
		return same.container(), nil
	}
	if err := r.succeed(ctx, req, earlier); err != nil {
		return sessions.Container{}, err
	}
	t, err := r.launch(ctx, req)
	if err != nil {
		return sessions.Container{}, err
	}
	r.log.Info("container started", append(fields(t), zap.String("client", req.ClientID), zap.String("size", req.Size))...)
	return t.container(), nil
}

// compare looks for a request's place among the session's tasks that are known: those of
// earlier epochs which have not ended, and that of the same. An error if one of a later
// epoch, or another one of the same, runs.
func (r *Runner) compare(req sessions.StartRequest) (earlier []task, same *task, err error) {
	for _, t := range r.tasks.of(req.SessionID) {
		switch {
		case t.epoch == req.Epoch && t.tokenHash == req.TokenHash:
			same = &t
		case t.ended():
			// If it has the same epoch, the session was deleted since, and its id given again.
		case t.epoch < req.Epoch:
			earlier = append(earlier, t)
		case t.epoch == req.Epoch:
			return nil, nil, sessions.ErrOtherToken
		default:
			return nil, nil, fmt.Errorf("epoch %d was started since: %w", t.epoch, sessions.ErrNoContainer)
		}
	}
	return earlier, same, nil
}

// alone reports whether it is known, without asking, that there are no more containers
// of earlier epochs: there are none before the first, and the start of the last one has
// ended those before it.
func (r *Runner) alone(req sessions.StartRequest) bool {
	if req.Epoch == 1 {
		return true
	}
	r.mu.Lock()
	_, unsure := r.unsure[req.SessionID]
	r.mu.Unlock()
	return !unsure && slices.ContainsFunc(r.tasks.of(req.SessionID), func(t task) bool { return t.epoch == req.Epoch-1 })
}

// succeed ends the containers of earlier epochs, with the time that they need to save.
func (r *Runner) succeed(ctx context.Context, req sessions.StartRequest, earlier []task) error {
	errs := make([]error, len(earlier))
	var all sync.WaitGroup
	for i, t := range earlier {
		all.Go(func() {
			r.log.Info("waiting for the session's earlier container to save and end", append(fields(t), zap.Int64("next_epoch", req.Epoch))...)
			errs[i] = r.stop(ctx, t.arn, "a newer epoch starts")
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("ending an earlier container: %w", err)
	}
	return nil
}

// fields name a task in the log.
func fields(t task) []zap.Field {
	return []zap.Field{zap.String("session", t.sessionID), zap.Int64("epoch", t.epoch), zap.String("task", t.arn)}
}

// doubt notes that a start may have come about without that this process knows its task.
func (r *Runner) doubt(sessionID string, doubtful bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if doubtful {
		r.unsure[sessionID] = time.Now()
	} else {
		delete(r.unsure, sessionID)
	}
}
