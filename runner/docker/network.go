package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// network returns the id of a client's network, and makes it where there is none.
func (r *Runner) network(ctx context.Context, t *Tunables, clientID string) (id string, err error) {
	unlock, err := r.busy.Lock(ctx, clientKey(clientID))
	if err != nil {
		return "", err
	}
	defer unlock()
	name := t.NetworkPrefix + clientID
	if id, err = r.oldestNetwork(ctx, name, clientID); err != nil || id != "" {
		return id, err
	}
	mine, err := r.createNetwork(ctx, name, clientID)
	if errors.Is(err, sessions.ErrCapacity) {
		r.pruneNetworks(ctx, "")
		mine, err = r.createNetwork(ctx, name, clientID)
	}
	if err != nil {
		return "", fmt.Errorf("making the client's network: %w", err)
	}
	// Engines before 25 let two edges make two networks of one name at a time, and then
	// start no container on either of them.
	id, err = r.oldestNetwork(ctx, name, clientID)
	switch {
	case err != nil, id == mine:
		return id, err
	case id == "":
		return "", errAgain // removed already, as one that nobody uses
	}
	err = r.do(ctx, func(ctx context.Context) error { return r.cli.NetworkRemove(ctx, mine) })
	if err != nil && !cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("removing a second network of the client: %w", err)
	}
	return id, nil
}

// clientKey is what Runner.busy knows a client by; no session has such an id.
func clientKey(clientID string) string { return "\x00client " + clientID }

// oldestNetwork returns a client's network of a name; "" if there is none.
func (r *Runner) oldestNetwork(ctx context.Context, name, clientID string) (id string, err error) {
	networks, err := r.networks(ctx, clientID)
	if err != nil {
		return "", err
	}
	networks = slices.DeleteFunc(networks, func(n network.Summary) bool { return n.Name != name })
	if len(networks) == 0 {
		return "", nil
	}
	return slices.MinFunc(networks, func(a, b network.Summary) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	}).ID, nil
}

// networks lists those of a client, or with "" those of all.
func (r *Runner) networks(ctx context.Context, clientID string) (networks []network.Summary, err error) {
	err = r.do(ctx, func(ctx context.Context) error {
		networks, err = r.cli.NetworkList(ctx, network.ListOptions{Filters: r.labelled(labelClient, clientID)})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing networks: %w", err)
	}
	return networks, nil
}

func (r *Runner) createNetwork(ctx context.Context, name, clientID string) (id string, err error) {
	err = r.do(ctx, func(ctx context.Context) error {
		created, err := r.cli.NetworkCreate(ctx, name, network.CreateOptions{
			Driver: "bridge",
			Labels: map[string]string{labelDeployment: r.deployment, labelClient: clientID},
		})
		id = created.ID
		return err
	})
	if cerrdefs.IsConflict(err) {
		return "", errAgain // another edge made it since
	}
	return id, err
}

// pruneNetworks removes the networks of a client, or with "" of all clients, that no
// container uses: an engine has addresses for a few dozen. One that is about to be used
// by a start is made again by it.
func (r *Runner) pruneNetworks(ctx context.Context, clientID string) {
	networks, err := r.networks(ctx, clientID)
	for _, n := range networks {
		gone := r.do(ctx, func(ctx context.Context) error { return r.cli.NetworkRemove(ctx, n.ID) })
		// That it is in use is a conflict, or in older engines forbidden.
		if !cerrdefs.IsNotFound(gone) && !cerrdefs.IsConflict(gone) && !cerrdefs.IsPermissionDenied(gone) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.log.Warn("removing networks that are not used", zap.Error(err))
	}
}
