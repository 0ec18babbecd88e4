package containerboot_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestQuiesce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	c.await(func() bool { return !strings.HasPrefix(c.quiesce(time.Hour).Reason, "busy") })

	r := c.quiesce(time.Hour)
	assert.False(t, r.Agreed)
	assert.Contains(t, r.Reason, "active: wake ")
	code, _ := c.get("/", "Sec-Fetch-Mode", "navigate")
	require.Equal(t, http.StatusOK, code)
	assert.Contains(t, c.quiesce(time.Hour).Reason, "active: document ")
	c.get("/_astro/big.bin")
	c.get("/", "Sec-Fetch-Mode", "navigate", bootapi.HeaderActivity, bootapi.ActivityNone)
	c.get(bootapi.PathStatus, "Accept", "text/html")
	before := c.status().IdleMillis
	c.await(func() bool { return c.status().IdleMillis > before+20 })

	w.edit("s1")
	r = c.quiesce(10 * time.Millisecond)
	require.True(t, r.Agreed, r.Reason)
	require.NotNil(t, r.Save)
	assert.Equal(t, "remote", r.Save.Where)
	w.assertSaved("s1")
	assert.Equal(t, r.Save, c.status().LastSave)

	code, _ = c.get("/")
	assert.Equal(t, http.StatusOK, code, "reading goes on")
	for _, path := range []string{"/", "/api/agent", bootapi.PathSave, bootapi.PathRebuild} {
		resp := c.request(http.MethodPost, path, nil) //nolint:bodyclose // closed by Cleanup
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, path)
		assert.NotEmpty(t, resp.Header.Get("Retry-After"), path)
	}
	r = c.quiesce(0)
	require.True(t, r.Agreed)
	assert.Equal(t, "nothing", r.Save.Where)
	code, body := c.post(bootapi.PathQuiesce, bootapi.QuiesceRequest{IdleMillis: -1})
	assert.Equal(t, http.StatusBadRequest, code, body)
	assert.Zero(t, c.stop())
}

// TestQuiesceWhileBuilding is refused, unless the sleep is asked for whatever goes on.
func TestQuiesceWhileBuilding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{"build.mjs": `import fs from "node:fs";
fs.writeFileSync("../pid", String(process.pid));
setInterval(() => {}, 1000);
`}))
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	pid := awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	r := c.quiesce(time.Millisecond)
	assert.False(t, r.Agreed)
	assert.True(t, r.Busy)
	assert.Equal(t, "busy: starting", r.Reason)

	r = c.quiesce(0)
	assert.True(t, r.Agreed, r.Reason)
	awaitEnd(t, pid)
	s := c.status()
	assert.Equal(t, bootapi.PhaseFailed, s.Phase)
	assert.Equal(t, "The session was put to sleep while it was starting.", s.Failure.Cause)
	assert.True(t, s.Failure.Retryable)
}

// TestQuiesceWithoutASave does not agree to lose work, and takes writes again.
func TestQuiesceWithoutASave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	w.edit("s1")
	git := filepath.Join(w.workspace("s1"), "../git")
	require.NoError(t, os.Rename(git, git+".away"))
	r := c.quiesce(0)
	assert.False(t, r.Agreed)
	assert.Contains(t, r.Reason, "save failed: ")
	code, _ := c.post(bootapi.PathSave, nil)
	assert.Equal(t, http.StatusInternalServerError, code)
	c.says(`"saving on demand failed"`)
	code, _ = c.post(bootapi.PathRebuild, nil)
	assert.Equal(t, http.StatusAccepted, code, "writes are taken again")
	require.NoError(t, os.Rename(git+".away", git))
	assert.True(t, c.quiesce(0).Agreed)
	w.assertSaved("s1")
}
