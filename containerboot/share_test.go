package containerboot_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// begin claims a container, and does not wait for what comes of it.
func (w *world) begin(id string) *container {
	w.t.Helper()
	claim := w.claim(id)
	c := w.start(id, claim.Token)
	code, body := c.post(bootapi.PathClaim, claim)
	require.Equal(w.t, http.StatusOK, code, body)
	return c
}

func (c *container) waitsFor(what string) {
	c.t.Helper()
	c.await(func() bool { return strings.HasPrefix(c.status().Step, "waiting for another session that "+what) })
}

// TestTwoAtOnce has a second session of the same commit begin while the first one builds.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	imports := "import fs from \"node:fs\";\n"
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": waitingBuild + strings.TrimPrefix(plainSite["build.mjs"], imports),
	}))
	first := w.begin("s1")
	awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	second := w.begin("s2")
	second.waitsFor("builds the same")
	write(t, filepath.Join(w.workspace("s1"), "../go"), "")
	require.Equal(t, bootapi.PhaseReady, first.settled().Phase)
	status := second.settled()
	require.Equal(t, bootapi.PhaseReady, status.Phase)
	assert.Equal(t, []string{"install", "build"}, status.Reused)
	_, body := second.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
	calls := w.called()
	assert.Equal(t, 1, strings.Count(calls, "\nnpm ci"), calls)
	assert.Equal(t, 1, strings.Count(calls, "\nnpm run build"), calls)
}

// TestTheFirstOfTwoIsKilled leaves the second one to build for itself.
func TestTheFirstOfTwoIsKilled(t *testing.T) {
	t.Parallel()
	imports := "import fs from \"node:fs\";\n"
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": waitingBuild + strings.TrimPrefix(plainSite["build.mjs"], imports),
	}))
	first := w.begin("s1")
	awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	second := w.begin("s2")
	second.waitsFor("builds the same")
	write(t, filepath.Join(w.workspace("s2"), "../go"), "")
	require.NoError(t, first.cmd.Process.Kill())
	status := second.settled()
	require.Equal(t, bootapi.PhaseReady, status.Phase)
	assert.NotContains(t, status.Reused, "build")
	w.sharedWith("s3", "hello", "install", "build")
}

// claimGoing is a claim of a session whose build need not wait.
func (w *world) claimGoing(id string) bootapi.Claim {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Dir(w.workspace(id)), 0o755))
	write(w.t, filepath.Join(w.workspace(id), "../go"), "")
	return w.claim(id)
}

// sharedWith has one more session find what it can reuse, whole.
func (w *world) sharedWith(id, text string, reused ...string) {
	w.t.Helper()
	c, status := w.ready(w.claimGoing(id))
	assert.Equal(w.t, reused, status.Reused)
	_, body := c.get("/")
	assert.Equal(w.t, "<h1>"+text+"</h1>", body)
}

// TestTheFirstOfTwoIsKilledInstalling leaves the second one to install for itself.
func TestTheFirstOfTwoIsKilledInstalling(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	w.hang("ci")
	first := w.begin("s1")
	w.hung("ci")
	w.push(map[string]string{"text.txt": "new"})
	second := w.begin("s2")
	second.waitsFor("installs the same")
	require.NoError(t, first.cmd.Process.Kill())
	first.exited()
	w.goOn("ci")
	status := second.settled()
	require.Equal(t, bootapi.PhaseReady, status.Phase)
	assert.Empty(t, status.Reused)
	second.await(func() bool {
		whole, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*/whole.json")
		return err == nil && len(whole) > 0
	})

	w.push(map[string]string{"text.txt": "newer"})
	w.sharedWith("s3", "newer", "install")
	assert.Equal(t, 2, strings.Count(w.called(), "\nnpm ci"))
}

// TestTheFirstOfTwoFails leaves the second one to try for itself, and to say what it found.
func TestTheFirstOfTwoFails(t *testing.T) {
	t.Parallel()
	imports := "import fs from \"node:fs\";\n"
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": waitingBuild + `if (fs.existsSync("../why")) throw new Error(fs.readFileSync("../why", "utf8"));
` + strings.TrimPrefix(plainSite["build.mjs"], imports),
	}))
	first := w.begin("s1")
	awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	second := w.begin("s2")
	second.waitsFor("builds the same")
	for _, id := range []string{"s1", "s2"} {
		write(t, filepath.Join(w.workspace(id), "../why"), "the dough of "+id)
		write(t, filepath.Join(w.workspace(id), "../go"), "")
	}
	for id, c := range map[string]*container{"s1": first, "s2": second} {
		status := c.settled()
		require.Equal(t, bootapi.PhaseFailed, status.Phase)
		assert.Equal(t, bootapi.PhaseBuilding, status.Failure.Phase)
		assert.Contains(t, status.Failure.Cause+status.Failure.Detail, "the dough of "+id)
	}
	kept, err := filepath.Glob(w.dir + "/cache/amelia/dist/*.*")
	require.NoError(t, err)
	assert.Empty(t, kept)
	c, status := w.ready(w.claimGoing("s3"))
	assert.NotContains(t, status.Reused, "build")
	_, body := c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
	w.sharedWith("s4", "hello", "install", "build")
}

// TestTheFirstOfTwoFailsInstalling likewise, where the lock file names what cannot be had.
func TestTheFirstOfTwoFailsInstalling(t *testing.T) {
	t.Parallel()
	gone := `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site","dependencies":{"gone":"1.0.0"}},` +
		`"node_modules/gone":{"version":"1.0.0","resolved":"http://127.0.0.1:1/gone-1.0.0.tgz"}}}`
	w := newWorld(t, with(plainSite, map[string]string{
		".npmrc":            "fetch-retries=0\n",
		"package.json":      strings.Replace(plainSite["package.json"], `"private"`, `"dependencies":{"gone":"1.0.0"},"private"`, 1),
		"package-lock.json": gone,
	}))
	w.hang("ci")
	first := w.begin("s1")
	w.hung("ci")
	w.push(map[string]string{"text.txt": "new"})
	second := w.begin("s2")
	second.waitsFor("installs the same")
	w.goOn("ci")
	for _, c := range []*container{first, second} {
		status := c.settled()
		require.Equal(t, bootapi.PhaseFailed, status.Phase)
		assert.Equal(t, bootapi.PhaseInstalling, status.Failure.Phase)
		assert.Contains(t, status.Failure.Detail, "127.0.0.1:1")
	}
	assert.Equal(t, 2, strings.Count(w.called(), "\nnpm ci"))
	kept, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*")
	require.NoError(t, err)
	assert.Empty(t, kept)
}

// TestTwoInstallAtOnce has a second session of other content, but the same lock file,
// begin while the first one installs.
func TestTwoInstallAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	w.hang("ci")
	first := w.begin("s1")
	w.hung("ci")
	w.push(map[string]string{"text.txt": "new"})
	second := w.begin("s2")
	second.waitsFor("installs the same")
	w.goOn("ci")
	require.Equal(t, bootapi.PhaseReady, first.settled().Phase)
	status := second.settled()
	require.Equal(t, bootapi.PhaseReady, status.Phase)
	assert.Equal(t, []string{"install"}, status.Reused)
	_, body := second.get("/")
	assert.Equal(t, "<h1>new</h1>", body)
	assert.Equal(t, 1, strings.Count(w.called(), "\nnpm ci"))
	_, err := os.Stat(filepath.Join(w.workspace("s2"), "node_modules/.webordinary-installed"))
	require.NoError(t, err)
}
