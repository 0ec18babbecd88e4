package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/webordinary/router/sessions"
)

// do makes one call of the engine's API, within callTimeout, and says of its error what
// is to be done about it.
func (r *Runner) do(ctx context.Context, call func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := r.negotiate(limited)
	if err == nil {
		err = call(limited)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the Docker Engine at %s did not answer within %s: %w", r.host, callTimeout, sessions.ErrRunnerUnavailable)
	default:
		return r.translate(err)
	}
}

// carryThrough is do for a call by which a container comes to run: begun, it is not given
// up with ctx, but by Close at the latest. The engine would go on with it, and who has
// given up a start must be able to rely on List from then on.
func (r *Runner) carryThrough(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(r.life, cancel)() //nolint:contextcheck // Close ends the call
	return r.do(ctx, call)
}

// negotiate agrees with the engine on a version of the API, once. The client can do so by
// itself, but has a race in that, and lets one call that hangs hold up all others.
func (r *Runner) negotiate(ctx context.Context) error {
	if r.negotiated.Load() {
		return nil
	}
	select {
	case r.negotiating <- struct{}{}:
		defer func() { <-r.negotiating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.negotiated.Load() {
		return nil
	}
	ping, err := r.cli.Ping(ctx)
	if err != nil {
		return err
	}
	r.cli.NegotiateAPIVersionPing(ping)
	r.negotiated.Store(true)
	return nil
}

// translate makes the contract's errors of the engine's, with a word on what to do.
// Where the engine has no code for a fault it has to be known by its text; a text that
// is not known any more costs the advice, and a second try.
func (r *Runner) translate(err error) error {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not use the Docker Engine's socket (%s): add it to the group that owns it, commonly `docker`, and log in anew, or set `host`: %w",
			r.host, sessions.ErrRunnerUnavailable)
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("no Docker Engine answers at %s: start it (`systemctl start docker`, or Docker Desktop), or set `host`: %w: %w",
			r.host, sessions.ErrRunnerUnavailable, err)
	case cerrdefs.IsNotFound(err) && has("No such image"):
		return fmt.Errorf("image %q is not on the Docker Engine at %s: build it with `docker build -t %s .` in the router's folder, or pull it there, or set `image`: %w",
			r.tunables.Load().Image, r.host, r.tunables.Load().Image, err)
	case has("address pool", "subnetted"):
		return fmt.Errorf("the Docker Engine has no address left for another client's network: give it more and smaller pools (`default-address-pools` in its daemon.json): %w: %w",
			sessions.ErrCapacity, err)
	case has("no space left on device"):
		return fmt.Errorf("the Docker Engine's disk is full: %w: %w", sessions.ErrCapacity, err)
	case has("cannot allocate memory", "resource temporarily unavailable", "too many open files", "port is already allocated"):
		return fmt.Errorf("%w: %w", sessions.ErrCapacity, err)
	case has("bind source path does not exist"):
		return fmt.Errorf("a `volume` names a folder that is not on the engine's machine: %w", err)
	case has("client version"):
		return fmt.Errorf("the Docker Engine at %s was replaced by one of another version: restart the edge, whose containers run on: %w", r.host, err)
	default:
		return err
	}
}
