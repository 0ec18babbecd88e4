package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/webordinary/router/sessions"
)

// Describe returns the state of a container: of the last one of each session also after
// its end. ErrNoContainer for any other.
func (r *Runner) Describe(ctx context.Context, ref string) (sessions.Container, error) {
	id, err := parseRef(ref)
	if err != nil {
		return sessions.Container{}, err
	}
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return sessions.Container{}, err
	}
	defer leave()
	c, err := r.describe(ctx, id)
	if err != nil {
		return sessions.Container{}, fmt.Errorf("describing %q: %w", ref, err)
	}
	return c, nil
}

func (r *Runner) describe(ctx context.Context, id string) (sessions.Container, error) {
	d, err := r.inspect(ctx, id)
	if err != nil {
		return sessions.Container{}, err
	}
	c := sessions.Container{
		Ref: refPrefix + d.ID, SessionID: d.Config.Labels[labelSession], Epoch: epochOf(d.Config.Labels),
		Running: runs(d.State.Status),
	}
	if c.Running {
		c.Address = address(len(d.HostConfig.PortBindings) > 0, d.NetworkSettings.Networks, published(d))
		return c, nil
	}
	c.Reason = r.reason(ctx, d)
	return c, nil
}

// inspect returns what the engine knows of one of this deployment's containers.
// ErrNoContainer.
func (r *Runner) inspect(ctx context.Context, id string) (container.InspectResponse, error) {
	d, err := r.inspectAny(ctx, id)
	if err == nil && (d.Config.Labels[labelDeployment] != r.deployment || d.Config.Labels[labelSession] == "") {
		err = sessions.ErrNoContainer
	}
	return d, err
}

// inspectAny is inspect of any container on the engine.
func (r *Runner) inspectAny(ctx context.Context, nameOrID string) (d container.InspectResponse, err error) {
	err = r.do(ctx, func(ctx context.Context) error {
		d, err = r.cli.ContainerInspect(ctx, nameOrID)
		return err
	})
	switch {
	case cerrdefs.IsNotFound(err):
		return d, sessions.ErrNoContainer
	case err != nil:
		return d, fmt.Errorf("inspecting a container: %w", err)
	case d.ContainerJSONBase == nil || d.State == nil || d.Config == nil || d.HostConfig == nil || d.NetworkSettings == nil:
		return d, errors.New("inspecting a container: the engine's answer lacks its state")
	}
	return d, nil
}

// List returns the containers of this deployment that run, whichever edge started them.
func (r *Runner) List(ctx context.Context) ([]sessions.Container, error) {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var all []container.Summary
	err = r.do(ctx, func(ctx context.Context) error {
		all, err = r.cli.ContainerList(ctx, container.ListOptions{Filters: r.labelled(labelSession, "")})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	list := make([]sessions.Container, 0, len(all))
	for _, s := range all {
		c := sessions.Container{
			Ref: refPrefix + s.ID, SessionID: s.Labels[labelSession], Epoch: epochOf(s.Labels), Running: runs(s.State),
		}
		if !c.Running {
			continue
		}
		var networks map[string]*network.EndpointSettings
		if s.NetworkSettings != nil {
			networks = s.NetworkSettings.Networks
		}
		var at string
		for _, p := range s.Ports {
			if p.PrivatePort == port && p.PublicPort != 0 {
				at = net.JoinHostPort(p.IP, strconv.Itoa(int(p.PublicPort)))
			}
		}
		c.Address = address(at != "", networks, at)
		list = append(list, c)
	}
	return list, nil
}

// runs reports whether a container is one that has not ended.
func runs(state container.ContainerState) bool {
	switch state {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return true
	default:
		return false
	}
}

// address is where a container listens: at its published port if it has one, else on
// its network. "" if that is not known yet.
func address(publishes bool, networks map[string]*network.EndpointSettings, published string) string {
	if publishes {
		return published
	}
	for _, n := range networks {
		if n != nil && n.IPAddress != "" {
			return net.JoinHostPort(n.IPAddress, strconv.Itoa(port))
		}
	}
	return ""
}

// published is where a container's port is published.
func published(d container.InspectResponse) string {
	for _, b := range d.NetworkSettings.Ports[natPort] {
		if b.HostPort != "" && b.HostPort != "0" {
			return net.JoinHostPort(b.HostIP, b.HostPort)
		}
	}
	return ""
}

// reason says in words why a container does not run.
func (r *Runner) reason(ctx context.Context, d container.InspectResponse) string {
	if neverRan(d) {
		if d.State.Error != "" {
			return "could not be started: " + d.State.Error
		}
		return "not started yet"
	}
	how := howEnded(d)
	if asked := r.note(ctx, d.ID); asked != "" {
		return asked + " (" + how + ")"
	}
	return how
}

// howEnded says in words how a container ended.
func howEnded(d container.InspectResponse) string {
	const killed = 128 + 9
	switch code := d.State.ExitCode; {
	case d.State.OOMKilled && code == killed:
		return fmt.Sprintf("out of memory: it used all of its %s (size %s)", amount(d.HostConfig.Memory), d.Config.Labels[labelSize])
	case code == killed:
		return "killed"
	case d.State.Error != "":
		return fmt.Sprintf("exit status %d: %s", code, strings.TrimSpace(d.State.Error))
	default:
		return fmt.Sprintf("exit status %d", code)
	}
}

// neverRan reports whether a container has not been started, or could not be.
func neverRan(d container.InspectResponse) bool {
	return d.State.Status == container.StateCreated
}
