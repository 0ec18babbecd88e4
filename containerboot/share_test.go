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
