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
	w.hang("push") // the save at the end, for as long as the container is looked at
	write(t, w.workspace("s1")+"/late.txt", "late")
	reply := c.commit(r.Drain)
	assert.True(t, reply.Committed, "a read is nobody's return")
	for _, path := range []string{"/", "/_astro/big.bin"} {
		resp := c.request(http.MethodGet, path, nil, "Sec-Fetch-Mode", "navigate") //nolint:bodyclose // closed by Cleanup
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		assert.Equal(t, bootapi.RefusedEnding, resp.Header.Get(bootapi.HeaderRefused))
	}
	assert.Equal(t, bootapi.PhaseStopping, c.status().Phase)
	w.goOn("push")
	assert.Zero(t, c.exited(), "it ends by itself")
	assert.Contains(t, c.logged(), "put to sleep by an edge")
}

// TestSleepByHand is called off by nobody.
func TestSleepByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	code, body := c.post(bootapi.PathQuiesce, bootapi.QuiesceRequest{IdleMillis: -1})
	assert.Equal(t, http.StatusBadRequest, code, body)
	assert.False(t, c.commit("").Committed, "nothing was agreed to")
	w.edit("s1")
	r := c.quiesce(0)
	require.True(t, r.Agreed, r.Reason)
	assert.Equal(t, "remote", r.Save.Where)
	for _, path := range []string{"/", "/api/agent", bootapi.PathSave, bootapi.PathRebuild} {
		resp := c.request(http.MethodPost, path, nil) //nolint:bodyclose // closed by Cleanup
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, path)
		assert.NotEmpty(t, resp.Header.Get("Retry-After"), path)
		assert.Empty(t, resp.Header.Get(bootapi.HeaderRefused), path)
	}
	code, _ = c.get("/", "Sec-Fetch-Mode", "navigate")
	assert.Equal(t, http.StatusOK, code, "it can still be looked at")
	again := c.quiesce(0)
	require.True(t, again.Agreed)
	assert.Equal(t, "nothing", again.Save.Where)
	assert.False(t, c.commit(r.Drain).Committed, "the first drain is another's by now")
	assert.False(t, c.quiesce(time.Millisecond).Agreed, "a lesser one does not take its place")
	assert.True(t, c.commit(again.Drain).Committed)
	assert.Zero(t, c.exited())
}

// TestWhoComesCallsTheDrainOff is by whichever edge they come.
func TestWhoComesCallsTheDrainOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	c.await(func() bool { return !strings.HasPrefix(c.quiesce(time.Hour).Reason, "busy") })
	for name, tc := range map[string]struct {
		come func()
		off  bool
	}{
		"a document": {func() { c.get("/", "Sec-Fetch-Mode", "navigate") }, true},
		"a write":    {func() { c.post("/api/agent", nil) }, true},
		"at an edge without a route": {func() {
			code, body := c.post(bootapi.PathRecall, nil)
			assert.Equal(t, http.StatusOK, code)
			assert.True(t, decode[bootapi.RecallReply](t, body).Serves)
		}, true},
		"a poll":           {func() { c.get("/api/poll", "Sec-Fetch-Mode", "cors") }, false},
		"a bot":            {func() { c.get("/", "Sec-Fetch-Mode", "navigate", bootapi.HeaderActivity, bootapi.ActivityNone) }, false},
		"a bot that posts": {func() { c.post("/", nil, bootapi.HeaderActivity, bootapi.ActivityNone) }, false},
	} {
		var r bootapi.QuiesceReply
		c.await(func() bool {
			r = c.quiesce(time.Millisecond)
			return r.Agreed
		})
		tc.come()
		if !tc.off {
			now := c.quiesce(time.Hour)
			assert.Equal(t, r.ActivityKind, now.ActivityKind, name)
			assert.Greater(t, now.IdleMillis, r.IdleMillis-1, name)
			continue
		}
		reply := c.commit(r.Drain)
		assert.False(t, reply.Committed, name)
		assert.Equal(t, "somebody came", reply.Reason)
	}
	c.await(func() bool { return c.quiesce(time.Millisecond).Agreed })
	assert.Zero(t, c.stop())
}

// TestLifetime is measured by the container's own clock.
func TestLifetime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	ask := func(lifetime time.Duration) bootapi.QuiesceReply {
		c.get("/", "Sec-Fetch-Mode", "navigate")
		code, body := c.post(bootapi.PathQuiesce, bootapi.QuiesceRequest{
			IdleMillis: time.Hour.Milliseconds(), MaxLifetimeMillis: lifetime.Milliseconds(),
		})
		require.Equal(t, http.StatusOK, code, body)
		return decode[bootapi.QuiesceReply](t, body)
	}
	w.edit("s1")
	r := ask(time.Hour)
	assert.False(t, r.Agreed)
	assert.Positive(t, r.LivedMillis)
	r = ask(time.Duration(r.LivedMillis) * time.Millisecond)
	require.True(t, r.Agreed, r.Reason)
	assert.True(t, r.Expired)
	assert.Equal(t, "remote", r.Save.Where)
	c.get("/", "Sec-Fetch-Mode", "navigate")
	assert.True(t, c.commit(r.Drain).Committed, "whatever happens")
	assert.Zero(t, c.exited())
	w.assertSaved("s1")
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
