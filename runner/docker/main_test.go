package docker

import (
	"context"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/dockerengine"
	"github.com/webordinary/router/internal/leaktest"
	"github.com/webordinary/router/sessions"
)

func TestMain(m *testing.M) {
	dockerengine.Enter()
	leaktest.VerifyTestMain(m)
}

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// deployment is a deployment of a test's own, which is gone with all of it afterwards.
type deployment struct {
	t    *testing.T
	name string
	cli  *client.Client
	o    Options
}

// deploy makes a deployment of the image with containerboot, unless change says otherwise.
func deploy(t *testing.T, change func(*Options)) *deployment {
	t.Helper()
	engine := dockerengine.Need(t)
	d := &deployment{t: t, name: "t" + uuid.NewString()[:8], cli: engine.Client(t)}
	d.o = Options{
		Host: engine.Host, Deployment: d.name, Logger: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
		Tunables: Tunables{Image: engine.Image(t)},
	}
	if !engine.Private {
		d.o.Tunables.Publish = "127.0.0.1" // an engine in a virtual machine, perhaps
	}
	if change != nil {
		change(&d.o)
	}
	t.Cleanup(d.cleanUp)
	return d
}

// runner returns one edge's runner.
func (d *deployment) runner() *Runner {
	d.t.Helper()
	r, err := New(d.o)
	require.NoError(d.t, err)
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(d.t, r.Close(ctx))
	})
	return r
}

// mine selects what is the deployment's.
func (d *deployment) mine() filters.Args {
	return filters.NewArgs(filters.Arg("label", labelDeployment+"="+d.name))
}

func (d *deployment) containers() []container.Summary {
	d.t.Helper()
	all, err := d.cli.ContainerList(context.Background(), container.ListOptions{All: true, Filters: d.mine()})
	require.NoError(d.t, err)
	return all
}

func (d *deployment) networks() []network.Summary {
	d.t.Helper()
	all, err := d.cli.NetworkList(context.Background(), network.ListOptions{Filters: d.mine()})
	require.NoError(d.t, err)
	return all
}

func (d *deployment) volumes() []*volume.Volume {
	d.t.Helper()
	all, err := d.cli.VolumeList(context.Background(), volume.ListOptions{Filters: d.mine()})
	require.NoError(d.t, err)
	return all.Volumes
}

// cleanUp removes all of the deployment.
func (d *deployment) cleanUp() {
	ctx := context.Background()
	for _, c := range d.containers() {
		assert.NoError(d.t, d.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}))
	}
	for _, n := range d.networks() {
		assert.NoError(d.t, d.cli.NetworkRemove(ctx, n.ID))
	}
	for _, v := range d.volumes() {
		assert.NoError(d.t, d.cli.VolumeRemove(ctx, v.Name, true))
	}
}

func request(id string, epoch int64) sessions.StartRequest {
	return sessions.StartRequest{
		SessionID: id, ClientID: "amelia", Epoch: epoch, Size: "small", TokenHash: bootapi.HashToken("secret"),
	}
}

// kill ends a container at once and from outside, as a crash would.
func (d *deployment) kill(c sessions.Container) {
	d.t.Helper()
	id, err := parseRef(c.Ref)
	require.NoError(d.t, err)
	require.NoError(d.t, d.cli.ContainerKill(context.Background(), id, "KILL"))
}
