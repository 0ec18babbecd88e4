package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// running makes an image out of the deployment's in which a shell script takes the place
// of containerboot.
func (d *deployment) running(script string) string {
	d.t.Helper()
	ctx := context.Background()
	made, err := d.cli.ContainerCreate(ctx, &container.Config{Image: d.o.Tunables.Image}, nil, nil, nil, "")
	require.NoError(d.t, err)
	entrypoint, err := json.Marshal([]string{"/bin/sh", "-c", script})
	require.NoError(d.t, err)
	name := "webordinary-session-test-" + d.name + ":" + made.ID[:12]
	_, err = d.cli.ContainerCommit(ctx, made.ID, container.CommitOptions{Reference: name, Changes: []string{"ENTRYPOINT " + string(entrypoint)}})
	assert.NoError(d.t, err)
	require.NoError(d.t, d.cli.ContainerRemove(ctx, made.ID, container.RemoveOptions{}))
	d.t.Cleanup(func() {
		_, err := d.cli.ImageRemove(ctx, name, image.RemoveOptions{Force: true})
		assert.NoError(d.t, err)
	})
	return name
}

// inspect returns what the engine knows of a container.
func (d *deployment) inspect(c sessions.Container) container.InspectResponse {
	d.t.Helper()
	id, err := parseRef(c.Ref)
	require.NoError(d.t, err)
	got, err := d.cli.ContainerInspect(context.Background(), id)
	require.NoError(d.t, err)
	return got
}

// exec runs a shell script in a container, as its user, and returns what it prints and
// its exit status.
func (d *deployment) exec(c sessions.Container, script string) (out string, status int) {
	d.t.Helper()
	id, err := parseRef(c.Ref)
	require.NoError(d.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	made, err := d.cli.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: []string{"bash", "-c", script}, AttachStdout: true, AttachStderr: true,
	})
	require.NoError(d.t, err)
	stream, err := d.cli.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	require.NoError(d.t, err)
	defer stream.Close()
	defer context.AfterFunc(ctx, stream.Close)()
	var text bytes.Buffer
	_, err = stdcopy.StdCopy(&text, &text, stream.Reader)
	require.NoError(d.t, err)
	ended, err := d.cli.ContainerExecInspect(ctx, made.ID)
	require.NoError(d.t, err)
	return strings.TrimSpace(text.String()), ended.ExitCode
}

// start starts a container and waits until what is in it listens, if it is containerboot.
func (d *deployment) start(r *Runner, req sessions.StartRequest) sessions.Container {
	d.t.Helper()
	c, err := r.Start(d.t.Context(), req)
	require.NoError(d.t, err)
	require.True(d.t, c.Running, c.Reason)
	require.NotEmpty(d.t, c.Address)
	return c
}

// ask sends a request to a container, with the token; 0 if nothing answers.
func ask(c sessions.Container, method, path string, body []byte) int {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+c.Address+path, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set(bootapi.HeaderToken, "secret")
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the status is all that is asked for
	return resp.StatusCode
}

// answers waits until containerboot answers.
func (d *deployment) answers(c sessions.Container) {
	d.t.Helper()
	require.Eventually(d.t, func() bool { return ask(c, http.MethodGet, bootapi.PathHealth, nil) != 0 },
		patience, 20*time.Millisecond, "it answers at %s", c.Address)
}

// ended waits until a container does not run any more.
func (d *deployment) ended(r *Runner, c sessions.Container) sessions.Container {
	d.t.Helper()
	var now sessions.Container
	require.Eventually(d.t, func() bool {
		var err error
		now, err = r.Describe(context.Background(), c.Ref)
		return err == nil && !now.Running
	}, patience, 20*time.Millisecond, "it ends")
	return now
}
