package containerboot_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// binary is containerboot, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "containerboot")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "containerboot")
	build := exec.Command("go", "build", "-race", "-o", binary, "../cmd/containerboot")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is what a container lives in: a remote repository, a session's folder, a
// cache, and a PATH on which node, npm and git leave a note of each call.
type world struct {
	t      *testing.T
	dir    string
	remote string
	work   string // a clone, to push from
	calls  string
	path   string
	// attributes of its containers' processes; nil for none.
	attributes *syscall.SysProcAttr
}

// plainSite is a site that needs no network: npm has nothing to install for it.
var plainSite = map[string]string{
	".gitignore":        "dist/\nnode_modules/\n",
	"package.json":      `{"name":"site","private":true,"scripts":{"build":"node build.mjs"}}`,
	"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site"}}}`,
	"text.txt":          "hello",
	"build.mjs": `import fs from "node:fs";
fs.mkdirSync("dist/_astro", {recursive: true});
fs.writeFileSync("dist/index.html", "<h1>" + fs.readFileSync("text.txt", "utf8") + "</h1>");
fs.writeFileSync("dist/_astro/big.bin", Buffer.alloc(3_000_000, "x"));
console.log("built by node");
`,
}

func newWorld(t *testing.T, site map[string]string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, remote: dir + "/remote.git", work: dir + "/clone", calls: dir + "/calls", path: dir + "/bin"}
	w.git(dir, "init", "-q", "--bare", "-b", "main", w.remote)
	w.git(dir, "clone", "-q", w.remote, w.work)
	w.git(w.work, "checkout", "-q", "-b", "main")
	w.push(site)
	require.NoError(t, os.Mkdir(w.path, 0o755))
	for _, name := range []string{"node", "npm", "git"} {
		program, err := exec.LookPath(name)
		require.NoError(t, err)
		script := fmt.Sprintf(`#!/bin/sh
echo %s "$@" >>%s
for arg in "$@"; do
	if [ -e "%s/hang-$arg" ]; then
		: >"%[3]s/hung-$arg"
		while [ -e "%[3]s/hang-$arg" ]; do sleep 0.02; done
	fi
done
exec %s "$@"
`, name, w.calls, w.dir, program)
		writeProgram(t, filepath.Join(w.path, name), script)
	}
	return w
}

// writeProgram writes what can be run at once: a process that another test starts at the
// same moment does not inherit the open file, which could not be run as long.
func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
}

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Tester", "-c", "user.email=t@example.com"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// push changes the remote's main branch: path → content, "" to delete.
func (w *world) push(files map[string]string) {
	w.t.Helper()
	for name, content := range files {
		path := filepath.Join(w.work, name)
		if content == "" {
			require.NoError(w.t, os.Remove(path))
			continue
		}
		require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(w.t, os.WriteFile(path, []byte(content), 0o644))
	}
	w.git(w.work, "add", "-A")
	w.git(w.work, "commit", "-q", "-m", "change")
	w.git(w.work, "push", "-q", "origin", "HEAD")
}

// called returns the calls of node, npm and git since the last time.
func (w *world) called() string {
	w.t.Helper()
	data, err := os.ReadFile(w.calls)
	if err != nil && !os.IsNotExist(err) {
		require.NoError(w.t, err)
	}
	require.NoError(w.t, os.WriteFile(w.calls, nil, 0o644))
	return string(data)
}

// hang makes every program that gets the argument from now on hang, until goOn.
func (w *world) hang(arg string) {
	w.t.Helper()
	write(w.t, w.dir+"/hang-"+arg, "")
}

func (w *world) goOn(arg string) {
	w.t.Helper()
	require.NoError(w.t, os.Remove(w.dir+"/hang-"+arg))
}

// hung waits until one hangs.
func (w *world) hung(arg string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		_, err := os.Stat(w.dir + "/hung-" + arg)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
}

func (w *world) workspace(id string) string { return filepath.Join(w.dir, "sessions", id, "workspace") }

// claim is a claim of a session of client amelia.
func (w *world) claim(id string) bootapi.Claim {
	return bootapi.Claim{
		Token: bootapi.NewToken(), SessionID: id, ClientID: "amelia", Epoch: 1,
		Site:       bootapi.Site{RepositoryURL: "file://" + w.remote, Branch: "main", AllowFile: true},
		EditBranch: "edit/" + id, Prefix: "/session/" + id, EditHosts: []string{"edit.amelia.localhost"},
	}
}

// container is a running containerboot.
type container struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	token string
	hold  *os.File // the parent's end of the pipe
	exit  chan int

	mu  sync.Mutex
	log bytes.Buffer
}

func (c *container) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

func (c *container) logged() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// start starts a container with a token's hash, unclaimed, the way that the process
// runner does it: it inherits its socket and a pipe that ends with its parent.
func (w *world) start(id, token string, env ...string) *container {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	socket, err := l.(*net.TCPListener).File()
	require.NoError(w.t, err)
	r, hold, err := os.Pipe()
	require.NoError(w.t, err)

	c := &container{t: w.t, url: "http://" + l.Addr().String(), token: token, hold: hold, exit: make(chan int, 1)}
	c.cmd = exec.Command(binary)
	c.cmd.Stderr = c
	c.cmd.SysProcAttr = w.attributes
	c.cmd.ExtraFiles = []*os.File{socket, r}
	c.cmd.Env = append([]string{
		"PATH=" + w.path + ":" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"WORKSPACE_PATH=" + w.workspace(id), "CACHE_PATH=" + w.dir + "/cache", "SESSION_ID=" + id,
		"WEBORDINARY_TOKEN_HASH=" + bootapi.HashToken(token), "WEBORDINARY_LISTEN_FD=3", "WEBORDINARY_PARENT_FD=4",
		"AWS_SECRET_ACCESS_KEY=must-not-leak",
	}, env...)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(w.workspace(id)), 0o755))
	require.NoError(w.t, c.cmd.Start())
	for _, f := range []io.Closer{l, socket, r} {
		require.NoError(w.t, f.Close())
	}
	go func() {
		_ = c.cmd.Wait()
		c.exit <- c.cmd.ProcessState.ExitCode()
		close(c.exit)
	}()
	w.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.exit
		hold.Close()
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", id, c.logged())
		}
	})
	return c
}

// boot starts and claims a container and waits until it is ready or has failed.
func (w *world) boot(claim bootapi.Claim, env ...string) (*container, bootapi.Status) {
	w.t.Helper()
	c := w.start(claim.SessionID, claim.Token, env...)
	code, _ := c.post(bootapi.PathClaim, claim)
	require.Equal(w.t, http.StatusOK, code)
	return c, c.settled()
}

// ready is boot for what must succeed.
func (w *world) ready(claim bootapi.Claim, env ...string) (*container, bootapi.Status) {
	w.t.Helper()
	c, status := w.boot(claim, env...)
	require.Equal(w.t, bootapi.PhaseReady, status.Phase, "%+v", status.Failure)
	return c, status
}

func (c *container) request(method, path string, body any, headers ...string) *http.Response {
	c.t.Helper()
	data, err := json.Marshal(body)
	require.NoError(c.t, err)
	if s, ok := body.(string); ok {
		data = []byte(s)
	}
	if body == nil {
		data = nil
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(data))
	require.NoError(c.t, err)
	r.Header.Set(bootapi.HeaderToken, c.token)
	r.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (c *container) do(method, path string, body any, headers ...string) (int, string) {
	c.t.Helper()
	resp := c.request(method, path, body, headers...) //nolint:bodyclose // closed by Cleanup
	data, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, string(data)
}

func (c *container) get(path string, headers ...string) (int, string) {
	c.t.Helper()
	return c.do(http.MethodGet, path, nil, headers...)
}

func (c *container) post(path string, body any, headers ...string) (int, string) {
	c.t.Helper()
	return c.do(http.MethodPost, path, body, headers...)
}

func (c *container) status() bootapi.Status {
	c.t.Helper()
	code, body := c.get(bootapi.PathStatus)
	require.Equal(c.t, http.StatusOK, code, body)
	return decode[bootapi.Status](c.t, body)
}

func (c *container) settled() bootapi.Status {
	c.t.Helper()
	var s bootapi.Status
	c.await(func() bool {
		s = c.status()
		return s.Phase == bootapi.PhaseReady || s.Phase == bootapi.PhaseFailed
	})
	return s
}

func (c *container) await(f func() bool) {
	c.t.Helper()
	require.Eventually(c.t, f, 2*time.Minute, 5*time.Millisecond, "log:\n%s", c.logged())
}

// says waits until the log has a text: it comes over a pipe, later than an answer may.
func (c *container) says(text string) {
	c.t.Helper()
	c.await(func() bool { return strings.Contains(c.logged(), text) })
}

func (c *container) quiesce(idle time.Duration) bootapi.QuiesceReply {
	c.t.Helper()
	code, body := c.post(bootapi.PathQuiesce, bootapi.QuiesceRequest{IdleMillis: idle.Milliseconds()})
	require.Equal(c.t, http.StatusOK, code, body)
	return decode[bootapi.QuiesceReply](c.t, body)
}

func (c *container) commit(drain string) bootapi.CommitReply {
	c.t.Helper()
	code, body := c.post(bootapi.PathCommit, bootapi.CommitRequest{Drain: drain})
	require.Equal(c.t, http.StatusOK, code, body)
	return decode[bootapi.CommitReply](c.t, body)
}

// exited waits for the end and returns the exit status.
func (c *container) exited() int {
	c.t.Helper()
	select {
	case code := <-c.exit:
		return code
	case <-time.After(2 * time.Minute):
		c.t.Fatalf("still runs; log:\n%s", c.logged())
		return 0
	}
}

func (c *container) stop() int {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(syscall.SIGTERM))
	return c.exited()
}

// event is one of a stream.
type event struct{ name, data string }

// events opens a stream and sends what comes to a channel, which is closed at its end.
func (c *container) events(path string) <-chan event {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	require.NoError(c.t, err)
	r.Header.Set(bootapi.HeaderToken, c.token)
	resp, err := http.DefaultClient.Do(r) //nolint:bodyclose // closed by Cleanup
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusOK, resp.StatusCode)
	require.Equal(c.t, "text/event-stream", resp.Header.Get("Content-Type"))
	out := make(chan event, 10_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(out)
		var e event
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := lines.Text()
			switch {
			case strings.HasPrefix(line, "event: "):
				e.name = line[len("event: "):]
			case strings.HasPrefix(line, "data: "):
				e.data = line[len("data: "):]
			case line == "" && e.name != "":
				out <- e
				e = event{}
			}
		}
	}()
	c.t.Cleanup(func() {
		cancel()
		resp.Body.Close()
		<-done
	})
	return out
}

func decode[T any](t *testing.T, body string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}

func with(base map[string]string, more map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{base, more} {
		maps.Copy(all, m)
	}
	return all
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}
