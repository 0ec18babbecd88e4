package containerboot_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func awaitPid(t *testing.T, path string) int {
	t.Helper()
	pid := 0
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	return pid
}

// awaitEnd waits until a process that was killed is gone: an orphan is for init to reap.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH }, time.Minute, 5*time.Millisecond)
}

// edit changes a session's workspace as an editor would.
func (w *world) edit(id string) {
	w.t.Helper()
	write(w.t, w.workspace(id)+"/text.txt", "edited")
	write(w.t, w.workspace(id)+"/new.txt", "new")
	require.NoError(w.t, os.Remove(w.workspace(id)+"/build.mjs"))
}

func (w *world) assertSaved(id string) {
	w.t.Helper()
	assert.Equal(w.t, "D\tbuild.mjs\nA\tnew.txt\nM\ttext.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/"+id))
}

func TestEndingsSaveTheWork(t *testing.T) {
	t.Parallel()
	endings := map[string]func(c *container) error{
		"SIGTERM":         func(c *container) error { return c.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGINT":          func(c *container) error { return c.cmd.Process.Signal(syscall.SIGINT) },
		"the parent dies": func(c *container) error { return c.hold.Close() },
		"SIGTERM twice": func(c *container) error {
			err := c.cmd.Process.Signal(syscall.SIGTERM)
			_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by then
			return err
		},
	}
	for name, end := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, plainSite)
			c, _ := w.ready(w.claim("s1"))
			events := c.events(bootapi.PathEvents)
			w.edit("s1")
			require.NoError(t, end(c))
			var last bootapi.Phase
			for e := range events {
				if e.name == bootapi.EventStatus {
					last = decode[bootapi.Status](t, e.data).Phase
				}
			}
			assert.Equal(t, bootapi.PhaseStopping, last, "streams are told, and end")
			assert.Zero(t, c.exited())
			w.assertSaved("s1")
		})
	}
}

func TestAbandoned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	claim.AbandonAfterSeconds = 4
	c, _ := w.ready(claim)
	w.edit("s1")
	assert.Zero(t, c.exited())
	w.assertSaved("s1")
	assert.Contains(t, c.logged(), "no edge was heard of")
}

// TestAnOpenStreamIsAnEdge holds a stream for longer than the container would wait.
func TestAnOpenStreamIsAnEdge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	claim.AbandonAfterSeconds = 3
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	c.events(bootapi.PathEvents)
	select {
	case code := <-c.exit:
		t.Fatalf("ended with %d; log:\n%s", code, c.logged())
	case <-time.After(7 * time.Second):
	}
}

// TestEndDuringBuild stops a container in the middle of a build. Its processes go, and
// a lock file that it rewrote is not saved as an editor's work.
func TestEndDuringBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": `import fs from "node:fs";
fs.appendFileSync("package-lock.json", "\n");
fs.writeFileSync("../pid", String(process.pid));
setInterval(() => {}, 1000);
`,
	}))
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	pid := awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	assert.Zero(t, c.stop())
	awaitEnd(t, pid)
	assert.NotContains(t, c.logged(), "boot failed")
	branches := w.git(w.remote, "branch", "--list", "edit/s1")
	if branches != "" {
		assert.Empty(t, w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))
	}
}

func TestUnclaimedEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	listening := func() *container {
		c := w.start("s1", bootapi.NewToken())
		code, _ := c.post(bootapi.PathProof, bootapi.ProofRequest{Nonce: bootapi.NewNonce()})
		require.Equal(t, http.StatusOK, code)
		return c
	}
	assert.Zero(t, listening().stop())
	c := listening()
	require.NoError(t, c.hold.Close())
	assert.Zero(t, c.exited())
}

func TestUnsavedAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	w.edit("s1")
	git := filepath.Join(w.workspace("s1"), "../git")
	require.NoError(t, os.Rename(git, git+".away"))
	assert.Equal(t, 4, c.stop())
}

func TestUpstream(t *testing.T) {
	t.Parallel()
	agent := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, rest, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(conn, rest)
			return
		}
		for name := range r.Header {
			if strings.HasPrefix(name, bootapi.HeaderPrefix) {
				http.Error(rw, name, http.StatusTeapot)
				return
			}
		}
		fmt.Fprintf(rw, "%s %s", r.Method, r.URL.RequestURI())
	}))
	t.Cleanup(agent.Close)
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"), "API_UPSTREAM="+agent.URL)
	for path, want := range map[string]string{
		"/session/s1/api/chat?x=1":    "POST /api/chat?x=1",
		"/api/chat":                   "POST /api/chat",
		"/session/s1/api/a%2Fb/c%20d": "POST /api/a%2Fb/c%20d",
	} {
		code, body := c.post(path, nil, bootapi.HeaderPrefix+"Other", "x", bootapi.HeaderActivity, bootapi.ActivityNone)
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, want, body)
	}
	assert.Equal(t, "wake", c.status().ActivityKind)
	c.post("/api/chat", nil)
	assert.Equal(t, "write", c.status().ActivityKind)
	code, body := c.get("/apidocs")
	assert.Equal(t, http.StatusNotFound, code, body)

	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /session/s1/api/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s: %s\r\n\r\n", bootapi.HeaderToken, c.token)
	head := make([]byte, 12)
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	assert.Equal(t, "HTTP/1.1 101", string(head))
	_, err = conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'})
	require.NoError(t, err)
	c.await(func() bool { return c.status().ActivityKind == "socket" })
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c := w.standalone(`CLIENT_CONFIG={"clientId":"amelia","domains":{"production":"amelia.example","edit":"edit.amelia.example"},"repository":{"url":"file://` + w.remote +
		`","branch":"main"},"settings":{"containerSize":"small","idleTimeoutMinutes":10,"maxConcurrentSessions":2}}`)
	c.await(func() bool {
		resp, err := http.Get(c.url + bootapi.PathHealth)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	_, body := c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
	for _, path := range []string{bootapi.PathProof, bootapi.PathClaim, bootapi.PathQuiesce} {
		code, _ := c.post(path, struct{}{})
		assert.Equal(t, http.StatusNotFound, code, path)
	}
	c.says(`"address":"` + strings.TrimPrefix(c.url, "http://") + `"`) // on loopback only
	assert.Zero(t, c.stop())
}
