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

// delay is how long an edit took until its page showed it, and of that how long until the
// page had heard of it, and until it had what was edited.
type delay struct{ heard, fetched, shown time.Duration }

// watch has a page note when it first shows what it is to show: it looks whenever
// something of the document changes, and so asks nobody in between. Its own clock is
// looked at, so that the way to and from the page counts for nothing.
const watch = `(window.seen = new Promise((resolve) => {
	const began = performance.now();
	const look = () => {
		if (!(%s)) return;
		observer.disconnect();
		removeEventListener('load', look, true);
		tell(Date.now());
	};
	const tell = (shown) => { // the browser may list what it fetched later than it is used
		const edited = performance.getEntriesByType('resource').findLast((e) => e.startTime >= began && new URL(e.name).pathname.endsWith('/%s'));
		if (edited) resolve([performance.timeOrigin + edited.startTime, performance.timeOrigin + edited.responseEnd, shown]);
		else setTimeout(tell, 5, shown);
	};
	const observer = new MutationObserver(look);
	observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
	addEventListener('load', look, true);
}), performance.setResourceTimingBufferSize(1e4), true)`

// edit changes a file of the site and waits until the page shows it.
func (x *devTab) edit(file, from, to, shown string) delay {
	x.t.Helper()
	path := filepath.Join(x.tree, file)
	text, err := os.ReadFile(path)
	require.NoError(x.t, err)
	require.Contains(x.t, string(text), from)
	// Vite's watcher overlooks a change that comes within 50 ms of the file's last one.
	_ = eval[bool](x.tab, "new Promise((resolve) => setTimeout(resolve, 100, true))")
	_ = eval[bool](x.tab, fmt.Sprintf(watch, shown, file))
	// Not truncated first: a module without its exports has Vite load the page again. The
	// text does not get shorter.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(x.t, err)
	start := time.Now()
	_, err = f.WriteString(strings.ReplaceAll(string(text), from, to))
	require.NoError(x.t, err)
	require.NoError(x.t, f.Close())
	at := eval[[3]float64](x.tab, "window.seen")
	since := func(ms float64) time.Duration { return time.UnixMicro(int64(ms * 1000)).Sub(start) }
	return delay{since(at[0]), since(at[1]), since(at[2])}
}

// editAll edits the stylesheet and the island for the i-th time.
func (x *devTab) editAll(i int) [2]delay {
	x.t.Helper()
	return [2]delay{
		x.edit("src/styles/site.css", fmt.Sprintf("rgb(%d,", i-1), fmt.Sprintf("rgb(%d,", i),
			fmt.Sprintf("getComputedStyle(document.querySelector('h1')).color === 'rgb(%d, 2, 3)'", i)),
		x.edit("src/components/Counter.jsx", fmt.Sprintf("count %d,", i-1), fmt.Sprintf("count %d,", i),
			fmt.Sprintf("document.querySelector('#island').textContent.startsWith('count %d,')", i)),
	}
}

// quartiles are of the delays until the edits were shown.
func quartiles(of []delay, part func(delay) time.Duration) (q [3]time.Duration) {
	var all []time.Duration
	for _, d := range of {
		all = append(all, part(d))
	}
	slices.Sort(all)
	for i := range q {
		q[i] = all[(i+1)*len(all)/4].Round(100 * time.Microsecond)
	}
	return q
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
	tabs := [2]*devTab{mine, other}
	var delays [2][2][]delay // by tab, of stylesheet and island
	edits := times(5, 40)
	for i := 1; i <= edits; i++ {
		for _, who := range [2]int{i % 2, 1 - i%2} { // each is the first as often as the other
			for what, d := range tabs[who].editAll(i) {
				delays[who][what] = append(delays[who][what], d)
			}
		}
	}
	assert.True(t, eval[bool](mine.tab, "window.stays === true"), "the page was loaded again")
	assert.Equal(t, strings.Replace(clicked, "count 0", fmt.Sprintf("count %d", edits), 1), eval[string](mine.tab, island), "the island's state")
	for what, name := range []string{"stylesheet", "island"} {
		var shown [2][3]time.Duration
		for who, tab := range tabs {
			of := delays[who][what]
			shown[who] = quartiles(of, func(d delay) time.Duration { return d.shown })
			t.Logf("%s, %s: quartiles of %d edits until the page shows them %v (heard of %v, fetched %v)", name, tab.name, edits, shown[who],
				quartiles(of, func(d delay) time.Duration { return d.heard }), quartiles(of, func(d delay) time.Duration { return d.fetched - d.heard }))
		}
		a, b := shown[0][1], shown[1][1]
		t.Logf("%s: median %v through the edge, %v direct, ratio %.2f", name, a, b, float64(a)/float64(b))
		if os.Getenv("TORTURE") != "" {
			assert.Less(t, float64(a), 1.2*float64(b), name)
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as a session's server has: the scheduler may count by that
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
