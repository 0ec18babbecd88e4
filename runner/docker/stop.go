package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// killWait is how long the engine may take to end what it kills: more means that a
// process hangs in the kernel.
const killWait = 30 * time.Second

// ending is the stop of a container.
type ending struct {
	done chan struct{}
	err  error
}

// Stop asks a container to save and end, kills it when the grace is over, and returns
// when it has ended with all that it started. If ctx ends before, the stop goes on.
func (r *Runner) Stop(ctx context.Context, ref, reason string) error {
	id, err := parseRef(ref)
	if err != nil {
		return err
	}
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if reason == "" {
		reason = "stopped"
	}
	if err := r.awaitEnd(ctx, id, reason); err != nil && !errors.Is(err, sessions.ErrNoContainer) {
		return fmt.Errorf("stopping %q: %w", ref, err)
	}
	return nil
}

// awaitEnd stops a container, or joins the stop that is under way.
func (r *Runner) awaitEnd(ctx context.Context, id, reason string) error {
	r.mu.Lock()
	e, underway := r.ending[id]
	if !underway {
		e = &ending{done: make(chan struct{})}
		r.ending[id] = e
		r.underway.Go(func() { //nolint:contextcheck // see below
			// It goes on without those who asked for it; Close gives it up.
			ctx, cancel := context.WithTimeout(r.life, 2*callTimeout+r.grace+killWait)
			defer cancel()
			e.err = r.stop(ctx, id, reason)
			r.mu.Lock()
			delete(r.ending, id)
			r.mu.Unlock()
			close(e.done)
		})
	}
	r.mu.Unlock()
	select {
	case <-e.done:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Runner) stop(ctx context.Context, id, reason string) error {
	d, err := r.inspect(ctx, id)
	if err != nil {
		return err
	}
	labels := d.Config.Labels
	if !runs(d.State.Status) {
		r.pruneNetworks(ctx, labels[labelClient]) // it may have ended by itself
		return nil
	}
	fields := []zap.Field{
		zap.String("client", labels[labelClient]), zap.String("session", labels[labelSession]),
		zap.Int64("epoch", epochOf(labels)), zap.String("container", id),
	}
	if err := r.writeNote(ctx, id, reason); err != nil {
		r.log.Warn("writing down why a container is stopped", append(fields, zap.Error(err))...)
	}
	grace := int(r.grace.Seconds())
	// Not by do, whose limit is shorter than a save may take.
	err = r.cli.ContainerStop(ctx, id, container.StopOptions{Timeout: &grace})
	switch {
	case err == nil, cerrdefs.IsNotFound(err):
	case ctx.Err() != nil:
		return fmt.Errorf("the container did not end: %w: %w", sessions.ErrRunnerUnavailable, ctx.Err())
	default:
		return r.translate(err)
	}
	d, err = r.inspect(ctx, id)
	switch {
	case errors.Is(err, sessions.ErrNoContainer):
	case err != nil:
		return err
	case runs(d.State.Status):
		return fmt.Errorf("the container cannot be ended, though the engine says that it was: %w", sessions.ErrRunnerUnavailable)
	default:
		r.log.Info("container ended", append(fields, zap.String("reason", reason+" ("+howEnded(d)+")"))...)
	}
	r.pruneNetworks(ctx, labels[labelClient])
	return nil
}
