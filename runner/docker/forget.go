package docker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// Forget removes a session's volume, and the container that ended. See sessions.Runner.
func (r *Runner) Forget(ctx context.Context, sessionID string) error {
	if err := r.forget(ctx, sessionID); err != nil {
		return fmt.Errorf("forgetting session %q: %w", sessionID, err)
	}
	return nil
}

func (r *Runner) forget(ctx context.Context, id string) error {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := r.busy.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()

	last, err := r.last(ctx, id)
	if err != nil {
		return err
	}
	if last != nil && runs(last.state) {
		return errors.New("its container runs")
	}
	name := r.sessionName(id)
	labels, err := r.volumeLabels(ctx, name)
	if err != nil {
		return err
	}
	if labels != nil {
		if err := r.checkSaved(ctx, id, labels[labelClient], last); err != nil {
			return err
		}
	}
	if last != nil {
		if err := r.remove(ctx, last.id); err != nil {
			return err
		}
	}
	err = r.do(ctx, func(ctx context.Context) error { return r.cli.VolumeRemove(ctx, name, false) })
	if err != nil && !cerrdefs.IsNotFound(err) {
		return fmt.Errorf("removing volume %s: %w", name, err)
	}
	return nil
}

// checkSaved returns ErrUnsaved if a session's work may not all be on the remote.
func (r *Runner) checkSaved(ctx context.Context, id, clientID string, last *former) error {
	unsaved := true // if nobody can tell how the last one ended
	if last != nil {
		var err error
		if unsaved, err = r.unsaved(ctx, last.id); err != nil {
			return err
		}
	}
	found, err := r.look(ctx, id, clientID, last)
	switch {
	case err != nil:
		return fmt.Errorf("looking for unsaved work: %w", err)
	case unsaved && found.workspace:
		return fmt.Errorf("%w: a container did not end in order, and what is in workspace/ of volume %s may be nowhere else",
			sessions.ErrUnsaved, r.sessionName(id))
	case found.kept != "":
		return fmt.Errorf("%w: a workspace was set aside as %s of volume %s", sessions.ErrUnsaved, found.kept, r.sessionName(id))
	case found.bundle != "":
		return fmt.Errorf("%w: work that could not be pushed is in %s of volume %s", sessions.ErrUnsaved, found.bundle, r.cacheName(clientID))
	default:
		return nil
	}
}

// unsaved reports whether a session's workspace may hold work that was not saved, after
// the end of a container.
func (r *Runner) unsaved(ctx context.Context, id string) (bool, error) {
	d, err := r.inspect(ctx, id)
	if err != nil {
		return false, err
	}
	before := d.Config.Labels[labelUnsaved] == "true"
	if neverRan(d) {
		return before, nil
	}
	if !bootapi.WorkIsSafe(d.State.ExitCode) {
		return true, nil
	}
	if !before {
		return false, nil
	}
	// A container that was stopped before it has looked at the workspace ends in order,
	// too. Each save puts a new index into containerboot's git directory.
	started, err := time.Parse(time.RFC3339Nano, d.State.StartedAt)
	if err != nil {
		return true, nil //nolint:nilerr // it cannot be told
	}
	var index container.PathStat
	err = r.do(ctx, func(ctx context.Context) error {
		index, err = r.cli.ContainerStatPath(ctx, id, sessionPath+"/git/index")
		return err
	})
	switch {
	case cerrdefs.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("looking for a save: %w", err)
	default:
		return !index.Mtime.After(started), nil
	}
}

// volumeLabels returns the labels of a volume; nil if there is no such volume.
func (r *Runner) volumeLabels(ctx context.Context, name string) (map[string]string, error) {
	var v volume.Volume
	err := r.do(ctx, func(ctx context.Context) (err error) {
		v, err = r.cli.VolumeInspect(ctx, name)
		return err
	})
	switch {
	case cerrdefs.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("inspecting a volume: %w", err)
	case v.Labels == nil:
		return map[string]string{}, nil
	default:
		return v.Labels, nil
	}
}

// Kept returns the sessions that have a volume. See sessions.Runner.
func (r *Runner) Kept(ctx context.Context) ([]string, error) {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var volumes volume.ListResponse
	err = r.do(ctx, func(ctx context.Context) error {
		volumes, err = r.cli.VolumeList(ctx, volume.ListOptions{Filters: r.labelled(labelSession, "")})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing volumes: %w", err)
	}
	ids := make([]string, 0, len(volumes.Volumes))
	for _, v := range volumes.Volumes {
		// A volume of any other name is not the one that Forget would remove.
		if id := v.Labels[labelSession]; id != "" && v.Name == r.sessionName(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// bundleName is containerboot's name of a session's bundle in its client's cache.
func bundleName(sessionID string) string { return url.PathEscape(sessionID) + ".bundle" }
