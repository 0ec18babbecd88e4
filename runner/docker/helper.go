package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// found is what a session left in its volume and its client's cache.
type found struct {
	workspace bool   // it has files
	kept      string // a workspace that was set aside
	bundle    string // work that could not be pushed
}

// lookScript prints what there is, a line each. The engine itself can list no folder
// without reading all that is in it.
const lookScript = `
[ -z "$(ls -A /session/workspace 2>/dev/null)" ] || echo workspace
for f in /session/*.kept-*; do [ ! -e "$f" ] || echo "kept ${f#/session/}"; done
for f in /cache/*/bundles/"$BUNDLE" /cache/*/bundles/"$BUNDLE".kept-*; do [ ! -e "$f" ] || echo "bundle ${f#/cache/}"; done`

// look looks into a session's volumes.
func (r *Runner) look(ctx context.Context, id, clientID string, last *former) (f found, err error) {
	h := helper{
		image: r.tunables.Load().Image, script: lookScript, env: []string{"BUNDLE=" + bundleName(id)},
		capability: "DAC_READ_SEARCH",
		mounts:     []mount.Mount{r.sessionVolume(id, clientID), r.cacheVolume(clientID)},
	}
	if last != nil {
		h.image = last.image // which is there for as long as the container is
	}
	for i := range h.mounts {
		h.mounts[i].ReadOnly = true
	}
	lines, err := r.help(ctx, h)
	for _, line := range lines {
		switch what, name, _ := strings.Cut(line, " "); what {
		case "workspace":
			f.workspace = true
		case "kept":
			f.kept = name
		case "bundle":
			f.bundle = name
		}
	}
	return f, err
}

// giveVolumes makes the volumes of a start those of a user, "uid" or "uid:gid". As they
// are made they belong to root, or whom the image's folders belong to.
func (r *Runner) giveVolumes(ctx context.Context, user string, req sessions.StartRequest) error {
	uid, gid, ok := strings.Cut(user, ":")
	if !ok {
		gid = uid
	}
	_, err := r.help(ctx, helper{
		image: r.tunables.Load().Image, script: `chown "$OWNER" /session /cache || exit`, env: []string{"OWNER=" + uid + ":" + gid},
		capability: "CHOWN", mounts: []mount.Mount{r.sessionVolume(req.SessionID, req.ClientID), r.cacheVolume(req.ClientID)},
	})
	if err != nil {
		return fmt.Errorf("giving the volumes to user %s: %w", user, err)
	}
	return nil
}

// helper is a container that does something with volumes by a shell script. It runs as
// root, with no network and but one of root's powers, and is gone afterwards.
type helper struct {
	image, script, capability string
	env                       []string
	mounts                    []mount.Mount
}

// scriptEnd is what a helper prints last.
const scriptEnd = "end of script"

// help runs a helper and returns the lines that its script prints.
func (r *Runner) help(ctx context.Context, h helper) (lines []string, err error) {
	var created container.CreateResponse
	err = r.do(ctx, func(ctx context.Context) (err error) {
		created, err = r.cli.ContainerCreate(ctx, &container.Config{
			Image: h.image, User: "0:0", Entrypoint: []string{"/bin/sh", "-c", h.script + "\necho " + scriptEnd}, Cmd: []string{},
			Env: h.env, Tty: true, AttachStdout: true, Labels: map[string]string{labelDeployment: r.deployment},
		}, &container.HostConfig{
			AutoRemove: true, NetworkMode: "none", ReadonlyRootfs: true, Mounts: h.mounts,
			CapDrop: []string{"ALL"}, CapAdd: []string{h.capability}, SecurityOpt: []string{"no-new-privileges"},
			LogConfig: container.LogConfig{Type: "none"},
		}, nil, nil, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.do(ctx, func(ctx context.Context) error { lines, err = r.runHelper(ctx, created.ID); return err }); err != nil {
		// It removes itself only once it was started.
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		err := r.cli.ContainerRemove(cleaning, created.ID, container.RemoveOptions{Force: true})
		if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			r.log.Warn("removing a helper container", zap.String("container", created.ID), zap.Error(err))
		}
		return nil, err
	}
	return lines, nil
}

func (r *Runner) runHelper(ctx context.Context, id string) ([]string, error) {
	out, err := r.cli.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true})
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// What was hijacked does not follow the context by itself.
	defer context.AfterFunc(ctx, out.Close)()
	removed, failed := r.cli.ContainerWait(ctx, id, container.WaitConditionRemoved)
	if err := r.cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return nil, err
	}
	lines, err := readLines(out.Reader)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a helper container failed: %w: %w", sessions.ErrRunnerUnavailable, err), ctx.Err())
	}
	// Until then it holds the volumes.
	select {
	case <-removed:
		return lines, nil
	case err := <-failed:
		return nil, err
	}
}

// readLines reads what a helper prints. It is an error if it did not come to its end.
func readLines(out io.Reader) (lines []string, err error) {
	scanner := bufio.NewScanner(io.LimitReader(out, 64<<10))
	for scanner.Scan() {
		line := strings.TrimRight(scanner.Text(), "\r")
		if line == scriptEnd {
			return lines, nil
		}
		lines = append(lines, line)
	}
	return nil, errors.Join(fmt.Errorf("its script ended early: %s", strings.Join(lines, "; ")), scanner.Err())
}
