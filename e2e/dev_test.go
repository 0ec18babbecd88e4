package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// astroFixture is a site of Astro's with a stylesheet, an island of Preact's and the Node adapter.
const astroFixture = "testdata/astro"

// devTab is a page of a development server that is open in a browser.
type devTab struct {
	*tab
	tree    string // where the site's files are edited
	sockets func() []string
}

// openDev opens a page and waits until its island answers and hears of edits.
func openDev(in *tab, tree, url string) *devTab {
	t := in.t
	t.Helper()
	x := &devTab{tab: in, tree: tree}
	opened := make(chan string, 64)
	require.NoError(t, chromedp.Listen(x.ctx, func(ev any) {
		if e, ok := ev.(*network.EventWebSocketCreated); ok {
			opened <- e.URL
		}
	}))
	var all []string
	x.sockets = func() []string {
		for {
			select {
			case u := <-opened:
				all = append(all, u)
			default:
				return all
			}
		}
	}
	_, err := chromedp.Call(x.ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	x.do(chromedp.Navigate(url))
	// A server that has only just found out which packages it serves reloads the page.
	x.await(harness.Patience, "the island", `document.readyState === 'complete' && (() => {
		const island = document.querySelector('#island');
		if (island?.textContent.endsWith('clicked 0')) island.click();
		return island && !island.textContent.endsWith('clicked 0');
	})()`)
	return x
}

// edit changes a file of the site and returns how long it took until the page showed it.
func (x *devTab) edit(file, from, to, shown string) time.Duration {
	x.t.Helper()
	path := filepath.Join(x.tree, file)
	text, err := os.ReadFile(path)
	require.NoError(x.t, err)
	require.Contains(x.t, string(text), from)
	// The page itself looks at the clock, so that the way to and from it counts for nothing.
	_ = eval[bool](x.tab, fmt.Sprintf(`(window.seen = new Promise((resolve) => {
		const look = () => (%s) ? resolve(Date.now()) : setTimeout(look, 2);
		look();
	}), true)`, shown))
	start := time.Now()
	require.NoError(x.t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o600))
	at := eval[float64](x.tab, "window.seen")
	return time.UnixMilli(int64(at)).Sub(start)
}

// editAll edits the stylesheet and the island for the i-th time.
func (x *devTab) editAll(i int) (sheet, island time.Duration) {
	x.t.Helper()
	sheet = x.edit("src/styles/site.css", fmt.Sprintf("rgb(%d,", i-1), fmt.Sprintf("rgb(%d,", i),
		fmt.Sprintf("getComputedStyle(document.querySelector('h1')).color === 'rgb(%d, 2, 3)'", i))
	island = x.edit("src/components/Counter.jsx", fmt.Sprintf("count %d,", i-1), fmt.Sprintf("count %d,", i),
		fmt.Sprintf("document.querySelector('#island').textContent.startsWith('count %d,')", i))
	return sheet, island
}

// TestDevThroughTheEdge edits a site whose development server is behind the edge, and the
// same site with a server of its own, in the same browser.
func TestDevThroughTheEdge(t *testing.T) {
	e := harness.New(t, harness.Options{})
	site := e.NewSite("dev", harness.SiteOptions{From: astroFixture, Client: func(c map[string]any) {
		c["build"] = map[string]any{"mode": "dev"}
	}})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	direct, tree := startDev(t, session)

	browser := newBrowser(t)
	mine := openDev(openTab(browser, t, "edge"), session.Workspace(), fmt.Sprintf("http://%s:%d%s", site.Host, e.HTTPPort, session.Path("/")))
	other := openDev(openTab(browser, t, "direct"), tree, direct)
	_ = eval[bool](mine.tab, "window.stays = true")
	const island = "document.querySelector('#island').textContent"
	clicked := eval[string](mine.tab, island)
	var through, by [2][]time.Duration
	edits := times(5, 25) // of which the median counts
	for i := 1; i <= edits; i++ {
		sheet, island := mine.editAll(i)
		through[0], through[1] = append(through[0], sheet), append(through[1], island)
		sheet, island = other.editAll(i)
		by[0], by[1] = append(by[0], sheet), append(by[1], island)
	}
	assert.True(t, eval[bool](mine.tab, "window.stays === true"), "the page was loaded again")
	assert.Equal(t, strings.Replace(clicked, "count 0", fmt.Sprintf("count %d", edits), 1), eval[string](mine.tab, island), "the island's state")
	for i, what := range []string{"stylesheet", "island"} {
		a, b := median(through[i]), median(by[i])
		t.Logf("%s: median of %d edits until the page shows them: %v through the edge, %v direct, ratio %.2f",
			what, edits, a, b, float64(a)/float64(b))
		if os.Getenv("TORTURE") != "" {
			assert.Less(t, float64(a), 1.2*float64(b), what)
		}
	}

	text := filepath.Join(session.Workspace(), "src/pages/index.astro")
	page, err := os.ReadFile(text)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(text, []byte(strings.Replace(string(page), "words 0", "words 1", 1)), 0o600))
	mine.await(harness.Patience, "the page, loaded again", "document.querySelector('#words')?.textContent === 'words 1' && window.stays === undefined")

	harness.Eventually(t, harness.Patience, "a socket for each document", func() bool { return len(mine.sockets()) >= 2 })
	for _, s := range mine.sockets() {
		assert.True(t, strings.HasPrefix(s, fmt.Sprintf("ws://%s:%d%s", site.Host, e.HTTPPort, session.Path("/"))), "a socket to %s", s)
	}
	refusesOthers(t, e, session)
	reachesItself(mine.tab, e, session)
}

// reachesItself expects a site to reach itself by what it believes of its own address,
// and to take the forms of its own pages.
func reachesItself(x *tab, e *harness.Edge, session *harness.Session) {
	x.t.Helper()
	a := e.Do(session.Document("/own"))
	assert.Equal(x.t, http.StatusOK, a.Status)
	assert.Contains(x.t, a.Body, `<p id="own">noon</p><p id="url">noon</p>`)
	assert.Contains(x.t, a.Body, `<link rel="canonical" href="`+session.Path("/own")+`">`)
	x.do(chromedp.Navigate(fmt.Sprintf("http://%s:%d%s", session.Host(), e.HTTPPort, session.Path("/form"))))
	x.await(harness.Patience, "the form", "document.readyState === 'complete' && document.querySelector('#send')")
	_ = eval[bool](x, "document.querySelector('#send').click(), true")
	x.await(harness.Patience, "what the form said", "document.querySelector('#said')?.textContent === 'hello'")
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// devAddress finds where a development server was told to listen.
var devAddress = regexp.MustCompile(`astro.* dev .*--host (\S+) --port (\d+)`)

// refusesOthers expects neither the edge nor the development server to answer for a host
// that is not the session's.
func refusesOthers(t *testing.T, e *harness.Edge, session *harness.Session) {
	t.Helper()
	const stranger = "evil.example"
	own := session.Document("/")
	own.Host = stranger
	assert.Equal(t, http.StatusNotFound, e.Do(own).Status, "the edge")

	var address string
	for _, p := range harness.Processes(t, session.Workspace()) {
		if m := devAddress.FindStringSubmatch(p.Command); m != nil {
			address = m[1] + ":" + m[2]
		}
	}
	require.NotEmpty(t, address, "the development server runs")
	for host, want := range map[string]int{session.Host(): http.StatusOK, stranger: http.StatusForbidden} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+session.Path("/"), nil)
		require.NoError(t, err)
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, want, resp.StatusCode, "the development server, as %s", host)
	}
}

// startDev starts a development server on a copy of the session's site, with links to the
// packages that are installed there, and returns its address and folder.
func startDev(t *testing.T, session *harness.Session) (url, tree string) {
	t.Helper()
	tree = filepath.Join(t.TempDir(), "site")
	require.NoError(t, os.CopyFS(tree, os.DirFS(astroFixture)))
	out, err := exec.CommandContext(t.Context(), "cp", "-al", filepath.Join(session.Workspace(), "node_modules"), tree).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.RemoveAll(filepath.Join(tree, "node_modules", ".vite")))
	port := harness.FreePorts(t, 1)[0]
	log := new(harness.Log)
	cmd := exec.CommandContext(context.Background(), "npm", "run", "dev", "--", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	cmd.Dir = tree
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("the direct server:\n%s", log)
		}
	})
	url = fmt.Sprintf("http://127.0.0.1:%d/", port)
	harness.Eventually(t, harness.Patience, "the direct server answers", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return url, tree
}

// TestAstro7ThroughTheEdge serves a site of a newer Astro, for which this machine's Node
// may be too old, by its own server and by its development server.
func TestAstro7ThroughTheEdge(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Log("TORTURE=1 runs it: it installs and builds a site, and fetches a Node")
		return
	}
	newer := t.TempDir()
	require.NoError(t, os.CopyFS(newer, os.DirFS(astroFixture)))
	require.NoError(t, os.Remove(filepath.Join(newer, "package-lock.json")))
	manifest := filepath.Join(newer, "package.json")
	text, err := os.ReadFile(manifest)
	require.NoError(t, err)
	text = regexp.MustCompile(`("@astrojs/node"|"@astrojs/preact"|"astro"): "[\d.]+"`).ReplaceAllFunc(text, func(pin []byte) []byte {
		name, _, _ := strings.Cut(string(pin), ":")
		return []byte(name + `: "^` + map[string]string{`"@astrojs/node"`: "11", `"@astrojs/preact"`: "6", `"astro"`: "7"}[name] + `"`)
	})
	require.NoError(t, os.WriteFile(manifest, text, 0o600))

	e := harness.New(t, harness.Options{})
	sites := make(map[string]*harness.Site)
	for _, mode := range []string{"server", "dev"} {
		sites[mode] = e.NewSite("newer-"+mode, harness.SiteOptions{From: newer, Client: func(c map[string]any) {
			c["build"] = map[string]any{"mode": mode}
		}})
	}
	e.Start()
	browser := newBrowser(t)
	for mode, site := range sites {
		session := e.CreateSession(site)
		session.Open()
		x := openDev(openTab(browser, t, mode), session.Workspace(), fmt.Sprintf("http://%s:%d%s", site.Host, e.HTTPPort, session.Path("/")))
		if mode == "dev" {
			x.editAll(1)
		}
		reachesItself(x.tab, e, session)
	}
}

// TestServerThroughTheEdge serves a site by its own server, and refuses one that its own
// health check finds broken, though its home page answers 200.
func TestServerThroughTheEdge(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Log("TORTURE=1 runs it: it builds a site twice")
		return
	}
	e := harness.New(t, harness.Options{})
	site := e.NewSite("server", harness.SiteOptions{From: astroFixture, Client: func(c map[string]any) {
		c["build"] = map[string]any{"healthPath": "/health"}
	}})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	reachesItself(openTab(newBrowser(t), t, "server"), e, session)
	assert.Contains(t, e.Do(session.Document("/about/")).Body, "About", "prerendered")
	assert.JSONEq(t, `{"say":"noon"}`, e.Do(session.Fetch("/api/time")).Body)

	work := t.TempDir()
	site.Git("clone", "--quiet", site.Repository, work)
	for file, text := range map[string]string{
		"index.astro": "<html><body><h1>Error: no database</h1></body></html>",
		"health.js":   "export const GET = () => new Response(null, { status: 500 });",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(work, "src/pages", file), []byte(text), 0o600))
	}
	site.Git("-C", work, "commit", "--quiet", "--all", "--message=Break it")
	site.Git("-C", work, "push", "--quiet", "origin", "main")
	broken := e.CreateSession(site)
	harness.EventuallyEvery(t, 2*harness.Patience, time.Second, "the session has failed", func() bool { return broken.Now().Status == "failed" })
	assert.Contains(t, e.Do(broken.Document("/")).Body, "answers 500 for /health")
}
