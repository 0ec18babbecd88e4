package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// makeRun is `make run RUNNER=docker` in an environment.
func makeRun(ctx context.Context, t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, "make", "run", "RUNNER=docker")
	cmd.Dir = harness.Root(t)
	for _, kv := range os.Environ() {
		// What an outer make hands on would change the inner one.
		if !strings.HasPrefix(kv, "WEBORDINARY_") && !strings.HasPrefix(kv, "MAKE") && !strings.HasPrefix(kv, "MFLAGS") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// settings are an environment for an edge of its own.
func settings(t *testing.T, data string) (env []string, port int) {
	t.Helper()
	ports := harness.FreePorts(t, 3)
	return []string{
		"WEBORDINARY_DATA=" + data,
		fmt.Sprintf("WEBORDINARY_HTTP_PORT=%d", ports[0]),
		fmt.Sprintf("WEBORDINARY_HTTPS_PORT=%d", ports[1]),
		fmt.Sprintf("WEBORDINARY_ADMIN=localhost:%d", ports[2]),
	}, ports[0]
}

func TestMakeRunSaysWhatIsMissing(t *testing.T) {
	for name, tc := range map[string]struct {
		env  []string
		want string
	}{
		"no engine": {[]string{"DOCKER_HOST=unix:///nowhere/engine.sock"}, "no Docker Engine answers at unix:///nowhere/engine.sock: start it"},
		"no image":  {[]string{"WEBORDINARY_IMAGE=webordinary-no-such-image"}, "image webordinary-no-such-image is not on the Docker Engine"},
		"no runner": {[]string{"WEBORDINARY_RUNNER=podman"}, "RUNNER must be process or docker, got podman"},
	} {
		t.Run(name, func(t *testing.T) {
			newEngine(t)
			env, _ := settings(t, filepath.Join(t.TempDir(), "data"))
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := makeRun(ctx, t, append(env, tc.env...)...).CombinedOutput()
			require.Error(t, err)
			assert.Contains(t, string(out), "run: "+tc.want)
		})
	}
}

func TestMakeRun(t *testing.T) {
	e := newEngine(t)
	data := filepath.Join(t.TempDir(), "data")
	env, port := settings(t, data)
	env = append(env, "WEBORDINARY_IMAGE="+e.image)
	run := func() (stop func()) {
		log, exited := new(harness.Log), make(chan struct{})
		cmd := makeRun(context.Background(), t, env...)
		cmd.Stdout, cmd.Stderr = log, log
		require.NoError(t, cmd.Start())
		go func() {
			defer close(exited)
			_ = cmd.Wait() // make ends with an error on Ctrl-C
		}()
		stop = func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // it may have ended
			select {
			case <-exited:
			case <-time.After(patience):
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
				assert.Fail(t, "make run did not end with Ctrl-C")
			}
			if t.Failed() {
				t.Logf("make run:\n%s", log)
			}
		}
		line := fmt.Sprintf("amelia  http://edit.amelia.localhost:%d/new\n", port)
		harness.Eventually(t, patience, "make run prints "+line, func() bool {
			select {
			case <-exited:
				require.FailNow(t, "make run ended", log.String())
			default:
			}
			return strings.Contains(log.String(), line)
		})
		assert.Contains(t, log.String(), "containers outlive this edge")
		return stop
	}
	cli := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bin/caddy", append([]string{"webordinary"}, args...)...)
		cmd.Dir, cmd.Stdin = harness.Root(t), strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	stop := run()
	defer func() { stop() }()
	name, err := os.ReadFile(filepath.Join(data, "docker.deployment"))
	require.NoError(t, err)
	e.label = "com.webordinary.deployment=" + strings.TrimSpace(string(name))
	defer e.cleanUp()

	// Of the examples only the repository: their packages come from the network.
	client := tinySite(t, data)
	cli(client, "client", "put", "-")
	var session struct{ SessionID, EditBranch string }
	require.NoError(t, json.Unmarshal([]byte(cli("", "session", "create", "tiny", "--json")), &session))
	page := func() string {
		t.Helper()
		var body string
		harness.Eventually(t, patience, "the site is there", func() bool {
			status, text := get(t, port, "/session/"+session.SessionID+"/")
			body = text
			return status == http.StatusOK
		})
		return body
	}
	assert.Equal(t, "tiny\n", page())
	id := e.container()
	e.write("index.html", "edited")
	stop()
	assert.Equal(t, id, e.container(), "it outlives the edge")

	stop = run()
	page()
	assert.Equal(t, id, e.container())
	cli("", "session", "sleep", session.SessionID)
	assert.Empty(t, e.containers(false))
	git := exec.CommandContext(t.Context(), "git", "--git-dir", filepath.Join(data, "repositories", "tiny.git"), "show", session.EditBranch+":index.html")
	out, err := git.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "edited\n", string(out))
}

// tinySite makes the repository of a site that needs nothing, and returns its client.
func tinySite(t *testing.T, data string) string {
	t.Helper()
	tree, repository := t.TempDir(), filepath.Join(data, "repositories", "tiny.git")
	for name, text := range map[string]string{
		"package.json": `{ "name": "tiny", "private": true }`, ".gitignore": "dist/\nnode_modules/\n", "index.html": "tiny\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600))
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", repository},
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message=The site"},
		{"push", "--quiet", repository, "main"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	return fmt.Sprintf(`{
		"clientId": "tiny", "domains": { "production": "www.tiny.example", "edit": "edit.tiny.example" },
		"repository": { "url": "file://%s", "branch": "main" },
		"settings": { "containerSize": "small", "idleTimeoutMinutes": 15, "maxConcurrentSessions": 5 },
		"build": { "install": "true", "command": "mkdir -p dist && cp index.html dist/" }
	}`, repository)
}

// get asks the edge for a page of the tiny site, as a person does.
func get(t *testing.T, port int, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	require.NoError(t, err)
	r.Host = "edit.tiny.example"
	r.Header = harness.DocumentHeader()
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}
