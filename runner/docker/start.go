package docker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

const (
	// startTries bounds how often a start begins anew because another edge dealt with
	// the same session meanwhile; startWaitFirst and startWaitMost bound the waits between.
	startTries     = 20
	startWaitFirst = 10 * time.Millisecond
	startWaitMost  = time.Second
)

// errAgain: another edge was at work on the session; look again.
var errAgain = errors.New("another edge is at work on the session")

// Start starts the container of a session's epoch. See sessions.Runner.
func (r *Runner) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	c, err := r.start(ctx, req)
	if err != nil {
		return sessions.Container{}, fmt.Errorf("starting a container for session %q, epoch %d: %w", req.SessionID, req.Epoch, err)
	}
	return c, nil
}

func (r *Runner) start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return sessions.Container{}, err
	}
	defer leave()
	if err := check(req); err != nil {
		return sessions.Container{}, err
	}
	unlock, err := r.busy.Lock(ctx, req.SessionID)
	if err != nil {
		return sessions.Container{}, err
	}
	defer unlock()
	a, wait := attempt{req: req}, startWaitFirst
	for try := 1; ; try++ {
		id, err := r.tryStart(ctx, &a)
		switch {
		case err == nil:
			return r.describe(ctx, id)
		case !errors.Is(err, errAgain):
			return sessions.Container{}, err
		case try == startTries:
			return sessions.Container{}, fmt.Errorf("%w: %w", err, sessions.ErrRunnerUnavailable)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return sessions.Container{}, ctx.Err()
		}
		wait = min(2*wait, startWaitMost)
	}
}

func check(req sessions.StartRequest) error {
	switch hash, err := hex.DecodeString(req.TokenHash); {
	case req.SessionID == "" || len(req.SessionID) > maxSessionID || strings.ContainsRune(req.SessionID, 0):
		return fmt.Errorf("session id must have 1 to %d bytes, none of them zero, got %d", maxSessionID, len(req.SessionID))
	case req.ClientID == "":
		return errors.New("client id must be set")
	case req.Epoch < 1:
		return fmt.Errorf("epoch must be 1 or more, got %d", req.Epoch)
	case err != nil || len(hash) != 32:
		return errors.New("token hash must be a SHA-256 in hex")
	default:
		return nil
	}
}

// attempt is a start under way.
type attempt struct {
	req sessions.StartRequest
	// remade: a container of this epoch was made, and removed again unused; unsaved is
	// what was known when it was made.
	remade, unsaved bool
}

// tryStart returns the id of the epoch's container, which was started. errAgain if
// another edge came between.
func (r *Runner) tryStart(ctx context.Context, a *attempt) (id string, err error) {
	req := a.req
	last, err := r.last(ctx, req.SessionID)
	if err != nil {
		return "", err
	}
	switch {
	case last == nil:
	case last.epoch > req.Epoch:
		return "", fmt.Errorf("epoch %d was started since: %w", last.epoch, sessions.ErrNoContainer)
	case last.epoch == req.Epoch && last.tokenHash == req.TokenHash:
		return last.id, r.launch(ctx, a, last)
	case last.epoch == req.Epoch && runs(last.state):
		return "", sessions.ErrOtherToken
	}
	t := r.tunables.Load()
	size, ok := t.Sizes[req.Size]
	if !ok {
		return "", fmt.Errorf("no container size %q: there are %s", req.Size, strings.Join(slices.Sorted(maps.Keys(t.Sizes)), ", "))
	}
	network, err := r.network(ctx, t, req.ClientID)
	if err != nil {
		return "", err
	}
	if last != nil {
		// What the last container tells is lost with it, and so what commonly fails is
		// seen to before.
		if err := r.findImage(ctx, t.Image); err != nil {
			return "", err
		}
	}
	unsaved, err := r.succeed(ctx, a, last)
	if err != nil {
		return "", err
	}
	id, err = r.create(ctx, r.spec(t, size, req, network, unsaved), req.SessionID)
	if err != nil {
		return "", err
	}
	return id, r.launch(ctx, a, &former{id: id, epoch: req.Epoch, state: container.StateCreated, unsaved: unsaved})
}

// former is what holds a session's name: its container of the last epoch.
type former struct {
	id    string
	image string
	epoch int64
	state container.ContainerState
	// tokenHash is that of its start.
	tokenHash string
	// unsaved: the workspace may have held unsaved work when it was made.
	unsaved bool
}

// tokenHash is the hash in a container's environment; "" if it has none.
func tokenHash(env []string) string {
	for _, kv := range env {
		if hash, ok := strings.CutPrefix(kv, bootapi.EnvTokenHash+"="); ok {
			return hash
		}
	}
	return ""
}

// last returns the container that holds a session's name; nil if there is none.
func (r *Runner) last(ctx context.Context, sessionID string) (*former, error) {
	d, err := r.inspectAny(ctx, r.sessionName(sessionID))
	switch {
	case errors.Is(err, sessions.ErrNoContainer):
		return nil, nil
	case err != nil:
		return nil, err
	case d.Config.Labels[labelDeployment] != r.deployment || d.Config.Labels[labelSession] != sessionID:
		return nil, fmt.Errorf("container %s is not one of this runner's: remove it, or set another `deployment`", strings.TrimPrefix(d.Name, "/"))
	}
	return &former{
		id: d.ID, image: d.Image, epoch: epochOf(d.Config.Labels), state: d.State.Status, tokenHash: tokenHash(d.Config.Env), unsaved: d.Config.Labels[labelUnsaved] == "true",
	}, nil
}

// succeed ends the container of an earlier epoch and removes it. It reports whether the
// session's workspace may hold unsaved work.
func (r *Runner) succeed(ctx context.Context, a *attempt, last *former) (unsaved bool, err error) {
	switch {
	case last == nil && a.remade:
		return a.unsaved, nil
	case last == nil:
		// Nobody knows how the last one ended, if there was one.
		labels, err := r.volumeLabels(ctx, r.sessionName(a.req.SessionID))
		return labels != nil, err
	case runs(last.state):
		r.log.Info("waiting for the session's earlier container to save and end",
			zap.String("session", a.req.SessionID), zap.Int64("epoch", last.epoch), zap.String("container", last.id))
		if err := r.awaitEnd(ctx, last.id, "a newer epoch starts"); err != nil {
			return false, err
		}
	}
	if unsaved, err = r.unsaved(ctx, last.id); err != nil {
		return false, again(err)
	}
	// Without force: not if somebody has started it meanwhile.
	return unsaved, r.remove(ctx, last.id)
}

// create makes a container, which has the session's name from then on.
func (r *Runner) create(ctx context.Context, s spec, sessionID string) (id string, err error) {
	var created container.CreateResponse
	err = r.do(ctx, func(ctx context.Context) error {
		created, err = r.cli.ContainerCreate(ctx, s.config, s.host, s.network, nil, r.sessionName(sessionID))
		return err
	})
	if cerrdefs.IsConflict(err) {
		return "", errAgain // the name is taken
	}
	if err != nil {
		return "", fmt.Errorf("creating the container: %w", err)
	}
	for _, warning := range created.Warnings {
		// Of a limit that the engine's machine cannot keep, for instance.
		r.log.Warn("the Docker Engine warns", zap.String("session", sessionID), zap.String("warning", warning))
	}
	return created.ID, nil
}

// launch starts a container that was not started yet.
func (r *Runner) launch(ctx context.Context, a *attempt, c *former) error {
	if c.state != container.StateCreated {
		return nil // it runs, or has ended for good
	}
	if user := r.tunables.Load().User; user != "" {
		if err := r.giveVolumes(ctx, user, a.req); err != nil {
			return err
		}
	}
	err := r.carryThrough(ctx, func(ctx context.Context) error {
		return r.cli.ContainerStart(ctx, c.id, container.StartOptions{})
	})
	switch {
	case err == nil:
	case cerrdefs.IsNotFound(err) && strings.Contains(err.Error(), "network"):
		// It was removed as no longer used. The container names it, and so is useless.
		a.remade, a.unsaved = true, c.unsaved
		return errors.Join(errAgain, r.remove(ctx, c.id))
	case cerrdefs.IsNotFound(err) && strings.Contains(err.Error(), "No such container"), cerrdefs.IsConflict(err):
		return errAgain // superseded
	case strings.Contains(err.Error(), "ambiguous"):
		return errAgain // two edges have made the network, and one takes it back
	default:
		return fmt.Errorf("starting the container: %w", err)
	}
	r.log.Info("container started", zap.String("client", a.req.ClientID), zap.String("session", a.req.SessionID),
		zap.Int64("epoch", a.req.Epoch), zap.String("container", c.id))
	return nil
}

// remove removes a container that does not run. It is no error if it is gone.
func (r *Runner) remove(ctx context.Context, id string) error {
	err := r.do(ctx, func(ctx context.Context) error {
		return r.cli.ContainerRemove(ctx, id, container.RemoveOptions{})
	})
	switch {
	case err == nil, cerrdefs.IsNotFound(err):
		return nil
	case cerrdefs.IsConflict(err):
		return errAgain // it runs, or is being removed
	default:
		return fmt.Errorf("removing container %s: %w", id, err)
	}
}

// again is errAgain where an error means that a container has gone meanwhile.
func again(err error) error {
	if errors.Is(err, sessions.ErrNoContainer) || cerrdefs.IsNotFound(err) {
		return errAgain
	}
	return err
}
