// Package docker tests an edge whose containers are on a Docker Engine, from outside.
package docker

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
	"github.com/webordinary/router/internal/dockerengine"
)

func TestMain(m *testing.M) {
	dockerengine.Enter()
	os.Exit(m.Run())
}

// patience is how long anything may take on a busy machine.
const patience = harness.Patience

// engine is the Docker Engine with what a test's edges have on it.
type engine struct {
	t     *testing.T
	cli   *client.Client
	host  string
	image string
	label string
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	e := dockerengine.Need(t)
	return &engine{t: t, cli: e.Client(t), host: e.Host, image: e.Image(t)}
}

// edge makes an edge whose containers are on the engine, in a deployment of its own.
func (e *engine) edge(deployment string) *harness.Edge {
	e.t.Helper()
	e.label = "com.webordinary.deployment=" + deployment
	e.t.Cleanup(e.cleanUp) // after the edge's own
	return harness.New(e.t, harness.Options{Config: func(text string) string {
		text = strings.ReplaceAll(text, "{$WEBORDINARY_RUNNER:process}", "docker")
		text = strings.ReplaceAll(text, "{$WEBORDINARY_IMAGE}", e.image)
		return strings.Replace(text, "runner docker {", "runner docker {\n\t\thost "+e.host+"\n\t\tdeployment "+deployment, 1)
	}})
}

// containers are those of the edges.
func (e *engine) containers(all bool) []container.Summary {
	e.t.Helper()
	list, err := e.cli.ContainerList(context.Background(), container.ListOptions{All: all, Filters: filters.NewArgs(filters.Arg("label", e.label))})
	require.NoError(e.t, err)
	return list
}

// container is the one that runs.
func (e *engine) container() string {
	e.t.Helper()
	list := e.containers(false)
	require.Len(e.t, list, 1)
	return list[0].ID
}

func (e *engine) kill(id string) {
	e.t.Helper()
	require.NoError(e.t, e.cli.ContainerKill(context.Background(), id, "KILL"))
}

// write writes a file of the site in the container that runs, as an editor does.
func (e *engine) write(path, text string) {
	e.t.Helper()
	ctx := context.Background()
	made, err := e.cli.ContainerExecCreate(ctx, e.container(), container.ExecOptions{
		Cmd: []string{"sh", "-c", `echo "$1" >"$2"`, "sh", text, "/session/workspace/" + path},
	})
	require.NoError(e.t, err)
	require.NoError(e.t, e.cli.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{}))
	harness.Eventually(e.t, patience, "the file is written", func() bool {
		done, err := e.cli.ContainerExecInspect(ctx, made.ID)
		require.NoError(e.t, err)
		return !done.Running && done.ExitCode == 0
	})
}

// cleanUp removes what the edges have left.
func (e *engine) cleanUp() {
	ctx := context.Background()
	for _, c := range e.containers(true) {
		assert.NoError(e.t, e.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true}))
	}
}

func TestSession(t *testing.T) {
	e := newEngine(t)
	edge := e.edge("e2e-session")
	site := edge.NewSite("amelia", harness.SiteOptions{})
	edge.Start()
	session := edge.CreateSession(site)
	page := session.Open()
	assert.Contains(t, page.Body, "content of amelia")
	assert.Equal(t, http.StatusOK, edge.Do(session.Fetch("/_astro/site.abcdefgh.css")).Status)

	e.write("content.txt", "edited in a container")
	edge.CLI("session", "sleep", session.SessionID)
	assert.Equal(t, "inactive", session.Now().Status)
	assert.Empty(t, e.containers(false))
	assert.Equal(t, "edited in a container", site.Git("--git-dir", site.Repository, "show", session.EditBranch+":content.txt"))

	page = session.Open()
	assert.Contains(t, page.Body, "edited in a container")
	e.kill(e.container())
	// The waiting page and then the site, and nothing else.
	assert.Contains(t, session.Open().Body, "edited in a container")

	edge.CLI("session", "delete", session.SessionID)
	assert.Empty(t, e.containers(true))
}

func TestContainersOutliveTheirEdge(t *testing.T) {
	e := newEngine(t)
	edge := e.edge("e2e-outlive")
	site := edge.NewSite("amelia", harness.SiteOptions{})
	edge.Start()
	session := edge.CreateSession(site)
	session.Open()
	id := e.container()
	for _, end := range []func(){edge.Kill9, edge.Interrupt} {
		end()
		edge.Start()
		assert.Contains(t, session.Open().Body, "content of amelia")
		assert.Equal(t, id, e.container())
		assert.EqualValues(t, 1, session.Now().Epoch)
	}

	// One that ends while no edge is there.
	edge.Kill9()
	e.kill(id)
	edge.Start()
	assert.Contains(t, session.Open().Body, "content of amelia")
	assert.EqualValues(t, 2, session.Now().Epoch)
	edge.CLI("session", "sleep", session.SessionID)
}

func TestSecondEdgeOnTheSameData(t *testing.T) {
	e := newEngine(t)
	edge := e.edge("e2e-second")
	edge.Start()
	second := edge.Run("", "run", "--config", edge.Config, "--adapter", "caddyfile")
	assert.NotZero(t, second.Code)
	assert.Contains(t, second.Out+second.Err, "uses "+edge.Data+": end it first")
	assert.True(t, edge.Running())
}
