//go:build unix

package process

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// site is a client's repository with a real containerboot to serve it.
type site struct {
	t      *testing.T
	remote string
	runner *Runner
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "containerboot")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/webordinary/router/cmd/containerboot").CombinedOutput()
	require.NoError(t, err, string(out))
	s := &site{t: t, remote: filepath.Join(dir, "remote.git")}
	work := filepath.Join(dir, "clone")
	write(t, filepath.Join(work, "package.json"), `{"name":"site","private":true}`)
	write(t, filepath.Join(work, ".gitignore"), "dist/\nnode_modules/\n")
	s.git(dir, "init", "--quiet", "--bare", "--initial-branch=main", s.remote)
	s.git(work, "init", "--quiet", "--initial-branch=main")
	s.git(work, "add", "--all")
	s.git(work, "commit", "--quiet", "--message=first")
	s.git(work, "push", "--quiet", s.remote, "main")
	s.runner = newRunnerOf(t, Options{Tunables: Tunables{Binary: binary}, DataDir: filepath.Join(dir, "data")})
	return s
}

func (s *site) git(dir string, args ...string) {
	s.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Tester", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "git %v: %s", args, out)
}

// wake starts and claims a container of a session and waits until its site answers.
func (s *site) wake(id string, epoch int64) sessions.Container {
	s.t.Helper()
	c, err := s.runner.Start(s.t.Context(), request(id, epoch))
	require.NoError(s.t, err)
	claim, err := json.Marshal(bootapi.Claim{
		Token: "secret", SessionID: id, ClientID: "amelia", Epoch: epoch,
		Site: bootapi.Site{
			RepositoryURL: "file://" + s.remote, Branch: "main", AllowFile: true,
			Install: "true", Command: "mkdir -p dist && echo hello >dist/index.html",
		},
		EditBranch: id, Prefix: "/session/" + id, EditHosts: []string{"edit.amelia.localhost"},
	})
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, s.ask(c, http.MethodPost, bootapi.PathClaim, claim))
	require.Eventually(s.t, func() bool {
		return s.ask(c, http.MethodGet, bootapi.PathHealth, nil) == http.StatusOK
	}, 3*patience, 20*time.Millisecond, "ready")
	return c
}

func (s *site) ask(c sessions.Container, method, path string, body []byte) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+c.Address+path, bytes.NewReader(body))
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer secret")
	req.Header.Set(bootapi.HeaderToken, "secret")
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // the status is all that is asked for
	return resp.StatusCode
}

func (s *site) stop(c sessions.Container) {
	s.t.Helper()
	require.NoError(s.t, s.runner.Stop(s.t.Context(), c.Ref, "idle"))
}

// What tells that work is safe is containerboot's doing; this holds them together.
func TestForgetKnowsWhatContainerbootSaved(t *testing.T) {
	s := newSite(t)
	page := func(id string) string { return filepath.Join(s.runner.dir(id), "workspace", "page.md") }

	c := s.wake("pushed", 1)
	write(t, page("pushed"), "work")
	s.stop(c)
	require.NoError(t, s.runner.Forget(t.Context(), "pushed"))
	assert.NoDirExists(t, s.runner.dir("pushed"))
	s.git(s.remote, "cat-file", "-e", "pushed:page.md")

	c = s.wake("killed", 1)
	write(t, page("killed"), "work")
	crash(t, s.runner, c)
	s.stop(c)
	require.ErrorIs(t, s.runner.Forget(t.Context(), "killed"), sessions.ErrUnsaved)
	c, err := s.runner.Start(t.Context(), request("killed", 2))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.ask(c, http.MethodGet, bootapi.PathHealth, nil) != 0 }, patience, 20*time.Millisecond)
	s.stop(c) // unclaimed
	require.Equal(t, "idle (exit status 0)", stateOf(t, s.runner.dataDir, "killed").Reason)
	require.ErrorIs(t, s.runner.Forget(t.Context(), "killed"), sessions.ErrUnsaved)
	s.stop(s.wake("killed", 3))
	require.NoError(t, s.runner.Forget(t.Context(), "killed"), "saved by the next one")
	s.git(s.remote, "cat-file", "-e", "killed:page.md")

	c = s.wake("bundled", 1)
	write(t, page("bundled"), "work")
	require.NoError(t, os.Rename(s.remote, s.remote+".away"))
	s.stop(c)
	err = s.runner.Forget(t.Context(), "bundled")
	require.ErrorIs(t, err, sessions.ErrUnsaved)
	require.ErrorContains(t, err, "bundled.bundle")
	assert.FileExists(t, page("bundled"))
	require.NoError(t, os.Rename(s.remote+".away", s.remote))
	s.stop(s.wake("bundled", 2))
	require.NoError(t, s.runner.Forget(t.Context(), "bundled"), "pushed since")
	s.git(s.remote, "cat-file", "-e", "bundled:page.md")
}
