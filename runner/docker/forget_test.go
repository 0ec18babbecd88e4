package docker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

func TestForgetRemovesTheVolumeAndNothingElse(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	for _, id := range []string{"one", "other"} {
		require.NoError(t, r.Stop(t.Context(), d.start(r, request(id, 1)).Ref, "idle"))
	}
	kept, err := r.Kept(t.Context())
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"one", "other"}, kept)
	require.NoError(t, r.Forget(t.Context(), "one"))
	kept, err = r.Kept(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"other"}, kept)
	assert.Len(t, d.containers(), 1)
	var names []string
	for _, v := range d.volumes() {
		names = append(names, v.Name)
	}
	assert.ElementsMatch(t, []string{r.sessionName("other"), r.cacheName("amelia")}, names)
	for _, id := range []string{"", "nobody", "..", "/"} {
		require.NoError(t, r.Forget(t.Context(), id), id)
	}
}

func TestForgetKeepsWhatMayBeNowhereElse(t *testing.T) {
	for name, lay := range map[string]string{
		"a bundle":              "mkdir -p /cache/amelia/bundles && echo x >/cache/amelia/bundles/a%23b.bundle",
		"a bundle set aside":    "mkdir -p /cache/amelia/bundles && echo x >/cache/amelia/bundles/a%23b.bundle.kept-20260101T000000.000",
		"a workspace set aside": "mkdir -p /session/workspace.kept-20260101T000000.000",
	} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, nil)
			r := d.runner()
			c := d.start(r, request("a#b", 1))
			out, status := d.exec(c, lay+"; echo x >/cache/amelia/bundles/another.bundle; mkdir -m 0 /session/workspace /session/private")
			require.LessOrEqual(t, status, 1, out)
			require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
			err := r.Forget(t.Context(), "a#b")
			require.ErrorIs(t, err, sessions.ErrUnsaved)
			require.ErrorContains(t, err, d.name+"-", "it says which volume")
			assert.Len(t, d.volumes(), 2)
			assert.Len(t, d.containers(), 1)
		})
	}
}

func TestForgetWhereNobodyKnowsHowItEnded(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	for id, work := range map[string]string{"worked": "mkdir /session/workspace; echo x >/session/workspace/page", "idle": "mkdir /session/workspace"} {
		c := d.start(r, request(id, 1))
		_, status := d.exec(c, work)
		require.Zero(t, status)
		require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
		// As `docker container prune` does.
		require.NoError(t, d.cli.ContainerRemove(t.Context(), c.Ref[len(refPrefix):], container.RemoveOptions{}))
	}
	require.ErrorIs(t, r.Forget(t.Context(), "worked"), sessions.ErrUnsaved)
	require.NoError(t, r.Forget(t.Context(), "idle"), "there is nothing in it")
	d.start(r, request("worked", 2))
	kept, err := r.Kept(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"worked"}, kept)
}

// site is a client's repository with a real containerboot to serve it.
type site struct {
	*deployment
	folder string // which the containers see, too
	runner *Runner
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{folder: t.TempDir()}
	s.deployment = deploy(t, func(o *Options) {
		o.Tunables.Volumes = []Volume{{Source: s.folder, Target: s.folder}}
		if os.Geteuid() != 0 {
			o.Tunables.User = fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()) // whose the repository is
		}
	})
	work := t.TempDir()
	for name, text := range map[string]string{"package.json": `{"name":"site","private":true}`, ".gitignore": "dist/\nnode_modules/\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(work, name), []byte(text), 0o600))
	}
	s.git(work, "init", "--quiet", "--bare", "--initial-branch=main", s.remote())
	s.git(work, "init", "--quiet", "--initial-branch=main")
	s.git(work, "add", "--all")
	s.git(work, "commit", "--quiet", "--message=first")
	s.git(work, "push", "--quiet", s.remote(), "main")
	s.runner = s.deployment.runner()
	return s
}

func (s *site) remote() string { return filepath.Join(s.folder, "remote.git") }

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
	c := s.start(s.runner, request(id, epoch))
	s.answers(c)
	claim, err := json.Marshal(bootapi.Claim{
		Token: "secret", SessionID: id, ClientID: "amelia", Epoch: epoch,
		Site: bootapi.Site{
			RepositoryURL: "file://" + s.remote(), Branch: "main", AllowFile: true,
			Install: "true", Command: "mkdir -p dist && echo hello >dist/index.html",
		},
		EditBranch: id, Prefix: "/session/" + id, EditHosts: []string{"edit.amelia.localhost"},
	})
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathClaim, claim))
	if !assert.Eventually(s.t, func() bool {
		return ask(c, http.MethodGet, bootapi.PathHealth, nil) == http.StatusOK
	}, patience, 50*time.Millisecond, "ready") {
		out, _ := s.exec(c, `node -e 'fetch("http://127.0.0.1:8080/api/status", { headers: { "X-Webordinary-Token": "secret" } }).then((r) => r.text()).then(console.log)'`)
		require.FailNow(s.t, "its status", out)
	}
	return c
}

func (s *site) edit(c sessions.Container) {
	s.t.Helper()
	out, status := s.exec(c, "echo work >/session/workspace/page.md")
	require.Zero(s.t, status, out)
}

func (s *site) stop(c sessions.Container) {
	s.t.Helper()
	require.NoError(s.t, s.runner.Stop(s.t.Context(), c.Ref, "idle"))
}

// What tells that work is safe is containerboot's doing; this holds them together.
func TestForgetKnowsWhatContainerbootSaved(t *testing.T) {
	s := newSite(t)

	c := s.wake("pushed", 1)
	s.edit(c)
	s.stop(c)
	require.NoError(t, s.runner.Forget(t.Context(), "pushed"))
	s.git(s.remote(), "cat-file", "-e", "pushed:page.md")

	c = s.wake("killed", 1)
	s.edit(c)
	s.kill(c)
	s.stop(c)
	require.ErrorIs(t, s.runner.Forget(t.Context(), "killed"), sessions.ErrUnsaved)
	c = s.start(s.runner, request("killed", 2))
	s.answers(c)
	s.stop(c) // unclaimed: it has ended in order, but saved nothing
	require.Equal(t, "idle (exit status 0)", s.ended(s.runner, c).Reason)
	require.ErrorIs(t, s.runner.Forget(t.Context(), "killed"), sessions.ErrUnsaved)
	s.stop(s.wake("killed", 3))
	require.NoError(t, s.runner.Forget(t.Context(), "killed"), "saved by the next one")
	s.git(s.remote(), "cat-file", "-e", "killed:page.md")

	c = s.wake("bundled", 1)
	s.edit(c)
	require.NoError(t, os.Rename(s.remote(), s.remote()+".away"))
	s.stop(c)
	err := s.runner.Forget(t.Context(), "bundled")
	require.ErrorIs(t, err, sessions.ErrUnsaved)
	require.ErrorContains(t, err, "amelia/bundles/bundled.bundle of volume "+s.runner.cacheName("amelia"))
	require.NoError(t, os.Rename(s.remote()+".away", s.remote()))
	s.stop(s.wake("bundled", 2))
	require.NoError(t, s.runner.Forget(t.Context(), "bundled"), "pushed since")
	s.git(s.remote(), "cat-file", "-e", "bundled:page.md")
}

func TestContainersRunAsTheUserThatIsSet(t *testing.T) {
	s := newSite(t)
	tunables := s.o.Tunables
	tunables.User = "4711:4712"
	require.NoError(t, s.runner.SetTunables(tunables))
	out, err := exec.Command("chown", "-R", "4711:4712", s.remote()).CombinedOutput()
	if os.Geteuid() == 0 {
		require.NoError(t, err, string(out))
		c := s.wake("one", 1)
		who, _ := s.exec(c, "id -u; id -g; stat -c '%u:%g' /session/workspace /cache/amelia")
		assert.Equal(t, "4711\n4712\n4711:4712\n4711:4712", who)
		s.edit(c)
		s.stop(c)
		s.git(s.folder, "-c", "safe.directory=*", "--git-dir="+s.remote(), "cat-file", "-e", "one:page.md")
		return
	}
	c := s.start(s.runner, request("one", 1))
	who, _ := s.exec(c, "id -u; id -g; touch /session/file /cache/file && stat -c '%u:%g' /session/file /cache/file")
	assert.Equal(t, "4711\n4712\n4711:4712\n4711:4712", who)
}
