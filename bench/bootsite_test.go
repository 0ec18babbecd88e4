package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// bootSite is a repository with a site, and the caches of those who build it.
type bootSite struct{ dir, remote, clone string }

func newBootSite(b *testing.B) *bootSite {
	b.Helper()
	dir := b.TempDir()
	s := &bootSite{dir: dir, remote: dir + "/remote.git", clone: dir + "/clone"}
	s.run(b, dir, "git", "init", "-q", "--bare", "-b", "main", s.remote)
	s.run(b, dir, "git", "clone", "-q", s.remote, s.clone)
	s.run(b, s.clone, "git", "checkout", "-q", "-b", "main")
	example := filepath.Join(harness.Root(b), "examples", "amelia", "site")
	for _, name := range []string{"package.json", "package-lock.json", "astro.config.mjs"} {
		data, err := os.ReadFile(filepath.Join(example, name))
		require.NoError(b, err)
		s.write(b, name, string(data))
	}
	s.write(b, ".gitignore", "node_modules/\ndist/\n.astro/\n")
	s.write(b, "src/layouts/Base.astro", layout)
	for i := range sitePages - 1 {
		s.write(b, fmt.Sprintf("src/pages/page-%d.md", i), fmt.Sprintf("---\nlayout: ../layouts/Base.astro\ntitle: Page %d\n---\n\n## Page %[1]d\n\nWords.\n", i))
	}
	s.change(b, -1)
	return s
}

const layout = `---
const { title } = Astro.props.frontmatter ?? Astro.props;
---
<html lang="en">
<head><title>{title}</title></head>
<body><main><slot /></main><script>console.log(document.title);</script></body>
</html>
<style>main { max-width: 40rem; margin: auto; }</style>
`

func (s *bootSite) write(b *testing.B, name, content string) {
	b.Helper()
	path := filepath.Join(s.clone, name)
	require.NoError(b, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(b, os.WriteFile(path, []byte(content), 0o600))
}

// change pushes another home page.
func (s *bootSite) change(b *testing.B, i int) {
	b.Helper()
	s.write(b, "src/pages/index.astro", fmt.Sprintf("---\nimport Base from '../layouts/Base.astro';\n---\n<Base title=\"Home\"><h1>Change %d</h1></Base>\n", i))
	s.run(b, s.clone, "git", "add", "-A")
	s.run(b, s.clone, "git", "-c", "user.name=Bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "change")
	s.run(b, s.clone, "git", "push", "-q", "origin", "HEAD")
}

// environ is the same for the hand and for containerboot, but for their own.
func environ(own ...string) []string {
	env := append([]string{"ASTRO_TELEMETRY_DISABLED=1", "npm_config_update_notifier=false"}, own...)
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name = strings.ToLower(name); {
		case slices.Contains([]string{"path", "home", "ssl_cert_file", "node_extra_ca_certs"}, name), strings.HasSuffix(name, "_proxy"), name == "npm_config_registry":
			env = append(env, kv)
		}
	}
	return env
}

// run runs a command, and returns the CPU time that it took.
func (s *bootSite) run(b *testing.B, dir, name string, args ...string) time.Duration {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, environ("npm_config_cache="+filepath.Join(s.dir, "npm"))
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s %v: %s", name, args, out)
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// byHand does what somebody does who has the repository's address.
func (s *bootSite) byHand(b *testing.B) (p parts) {
	b.Helper()
	dir := filepath.Join(s.dir, "hand")
	start := time.Now()
	p.cpu = s.run(b, s.dir, "git", "clone", "-q", "file://"+s.remote, dir)
	installing := time.Now()
	p.cpu += s.run(b, dir, "npm", "ci")
	building := time.Now()
	p.cpu += s.run(b, dir, "npm", "run", "build")
	p.install, p.build = building.Sub(installing), time.Since(building)
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, "dist"))))
	defer server.Close()
	require.True(b, answers(b.Context(), server.URL))
	p.took = time.Since(start)
	require.NoError(b, os.RemoveAll(dir))
	return p
}

// answers reports whether a page comes.
func answers(ctx context.Context, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(body), "<h1>Change ")
}

// emptyCache empties the client's cache, but for some of its folders.
func (s *bootSite) emptyCache(b *testing.B, but ...string) {
	b.Helper()
	client := filepath.Join(s.dir, "cache", "bench")
	entries, err := os.ReadDir(client)
	if !os.IsNotExist(err) {
		require.NoError(b, err)
	}
	for _, e := range entries {
		if !slices.Contains(but, e.Name()) {
			require.NoError(b, os.RemoveAll(filepath.Join(client, e.Name())))
		}
	}
}

// drop removes what sessions left, which is much.
func (s *bootSite) drop(b *testing.B, sessions ...string) {
	b.Helper()
	for _, id := range sessions {
		require.NoError(b, os.RemoveAll(filepath.Join(s.dir, "sessions", id)))
	}
}

// booted is a containerboot that serves.
type booted struct {
	parts
	b   *testing.B
	cmd *exec.Cmd
	log *harness.Log
}

// boot starts a containerboot and waits for a page of the site.
func (s *bootSite) boot(b *testing.B, session string) *booted {
	b.Helper()
	config, err := json.Marshal(map[string]any{
		"clientId":   "bench",
		"domains":    map[string]string{"production": "www.bench.example", "edit": "edit.bench.localhost"},
		"repository": map[string]string{"url": "file://" + s.remote, "branch": "main"},
		"settings":   map[string]any{"containerSize": "small", "idleTimeoutMinutes": 60, "maxConcurrentSessions": 10},
	})
	require.NoError(b, err)
	port := harness.FreePorts(b, 1)[0]
	x := &booted{b: b, log: &harness.Log{}}
	x.cmd = exec.CommandContext(b.Context(), filepath.Join(harness.Released(b), "containerboot"))
	x.cmd.Stderr, x.cmd.WaitDelay = x.log, time.Second
	x.cmd.Env = environ("CLIENT_ID=bench", "CLIENT_CONFIG="+string(config), "SESSION_ID="+session, fmt.Sprint("PORT=", port),
		"WORKSPACE_PATH="+filepath.Join(s.dir, "sessions", session, "workspace"), "CACHE_PATH="+filepath.Join(s.dir, "cache"))
	require.NoError(b, os.MkdirAll(filepath.Join(s.dir, "sessions", session), 0o755))
	start := time.Now()
	require.NoError(b, x.cmd.Start())
	b.Cleanup(func() { _ = x.cmd.Process.Kill() })
	harness.EventuallyEvery(b, harness.Patience, 5*time.Millisecond, "the site answers", func() bool {
		return answers(b.Context(), fmt.Sprintf("http://127.0.0.1:%d/", port))
	})
	x.took = time.Since(start)
	x.cpu = time.Duration(cpuTicks(b, x.cmd.Process.Pid, 4)) * time.Second / ticks
	x.install, x.build = x.logged("dependencies installed"), x.logged("site built")
	if copied := x.logged("node_modules copied from the cache"); copied > 0 {
		x.install = copied
	}
	return x
}

// logged is how long something took that the log speaks of; 0 if it does not.
func (x *booted) logged(message string) time.Duration {
	x.b.Helper()
	for line := range strings.Lines(x.log.String()) {
		var entry struct{ Msg, Took string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			took, err := time.ParseDuration(entry.Took)
			require.NoError(x.b, err, line)
			return took
		}
	}
	return 0
}

// end ends it, once its log has a text.
func (x *booted) end(after string) {
	x.b.Helper()
	harness.Eventually(x.b, harness.Patience, after, func() bool { return strings.Contains(x.log.String(), after) })
	require.NoError(x.b, x.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(x.b, x.cmd.Wait(), x.log)
}
