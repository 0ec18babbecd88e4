package caddymodule

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/freeport"
)

// patience is the most that a condition is waited for.
const patience = time.Minute

// containerboot is the binary that the tests' sessions run; TestMain builds it.
var containerboot string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "caddymodule")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		containerboot = filepath.Join(dir, "containerboot")
		out, err := exec.Command("go", "build", "-o", containerboot, "../cmd/containerboot").CombinedOutput()
		if err != nil {
			panic(fmt.Sprintf("building containerboot: %v\n%s", err, out))
		}
		return m.Run()
	}())
}

// testEdge is an edge in this process, with one client "acme" whose site needs no install.
type testEdge struct {
	t    *testing.T
	data string
	port int
}

// startEdge starts one, with these extra lines in the webordinary option.
func startEdge(t *testing.T, appLines ...string) *testEdge {
	t.Helper()
	e := &testEdge{t: t, data: t.TempDir(), port: freePort(t)}
	e.site()
	require.NoError(t, e.load("", appLines...))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	e.put(fmt.Sprintf(`{
		"clientId": "acme",
		"domains": {"production": "acme.example", "edit": "edit.acme.test"},
		"repository": {"url": "file://%s/acme.git", "branch": "main"},
		"settings": {"containerSize": "small", "idleTimeoutMinutes": 10, "maxConcurrentSessions": 2}
	}`, e.data))
	require.Eventually(t, func() bool {
		_, ok := e.live().table.Lookup("edit.acme.test")
		return ok
	}, patience, 10*time.Millisecond)
	return e
}

// load loads the edge's configuration, with extra lines in the router's block.
func (e *testEdge) load(routerLines string, appLines ...string) error {
	if !slices.ContainsFunc(appLines, func(l string) bool { return strings.HasPrefix(l, "runner") }) {
		appLines = append(appLines, "runner process {\nbinary "+containerboot+"\n}")
	}
	caddyfile := fmt.Sprintf(`{
		admin off
		persist_config off
		grace_period 1s
		default_bind 127.0.0.1
		webordinary {
			data %[1]s
			hosts edit.{client}.pattern.test
			public_origin http://:%[2]d
			allow_file_repositories
			%[3]s
		}
	}
	http://:%[2]d {
		webordinary_router {
			new_sessions open
			%[4]s
		}
	}`, e.data, e.port, strings.Join(appLines, "\n"), routerLines)
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(cfg, true)
}

func (e *testEdge) app() *App {
	mod, err := caddy.ActiveContext().AppIfConfigured("webordinary")
	require.NoError(e.t, err)
	return mod.(*App)
}

func (e *testEdge) live() *running { return e.app().state.live() }

// put writes a client as the CLI does.
func (e *testEdge) put(config string) {
	clients, err := decodeClients(strings.NewReader(config), e.app().rules(), func(int) {})
	require.NoError(e.t, err)
	for _, c := range clients {
		_, err := e.live().store.Put(context.Background(), c, configstore.AnyVersion)
		require.NoError(e.t, err)
	}
}

// site makes the client's repository: its build copies one page.
func (e *testEdge) site() {
	work := filepath.Join(e.t.TempDir(), "work")
	require.NoError(e.t, os.MkdirAll(work, 0o755))
	for name, content := range map[string]string{
		"package.json":      `{"name":"acme","version":"1.0.0","private":true,"scripts":{"build":"mkdir -p dist && cp page.html dist/index.html"}}`,
		"package-lock.json": `{"name":"acme","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"acme","version":"1.0.0"}}}`,
		"page.html":         "<!doctype html><title>Acme</title><p>It works.</p>",
		".gitignore":        "dist\nnode_modules\n",
	} {
		require.NoError(e.t, os.WriteFile(filepath.Join(work, name), []byte(content), 0o644))
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"add", "-A"},
		{"commit", "-qm", "The site"},
		{"clone", "-q", "--bare", ".", filepath.Join(e.data, "acme.git")},
	} {
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@acme.test"}, args...)...)
		cmd.Dir = work
		out, err := cmd.CombinedOutput()
		require.NoError(e.t, err, string(out))
	}
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// get asks for a path of acme's, as a browser that navigates does.
func (e *testEdge) get(path string) answer {
	return e.do(http.MethodGet, "edit.acme.test", path, http.Header{"Sec-Fetch-Mode": {"navigate"}})
}

func (e *testEdge) do(method, host, path string, header http.Header) answer {
	req, err := http.NewRequest(method, fmt.Sprintf("http://127.0.0.1:%d%s", e.port, path), nil)
	require.NoError(e.t, err)
	req.Host = host
	maps.Copy(req.Header, header)
	client := http.Client{
		Timeout:       2 * patience, // a request may be held for a minute
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// A connection of an earlier request may be that of a server which a reload has ended.
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	res, err := client.Do(req)
	require.NoError(e.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(e.t, err)
	return answer{status: res.StatusCode, header: res.Header, body: string(body)}
}

// session makes a session and waits until its site answers. It returns the session's path.
func (e *testEdge) session() string {
	created := e.do(http.MethodPost, "edit.acme.test", "/new", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}})
	require.Equal(e.t, http.StatusSeeOther, created.status, created.body)
	path := created.header.Get("Location")
	got := e.do(http.MethodGet, "edit.acme.test", path, http.Header{"Prefer": {"wait=60"}})
	require.Equal(e.t, http.StatusOK, got.status, got.body)
	require.Contains(e.t, got.body, "It works.")
	return path
}

func freePort(t *testing.T) int {
	t.Helper()
	ports, err := freeport.Find(1)
	require.NoError(t, err)
	return ports[0]
}
