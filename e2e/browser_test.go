package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// observe notes, in every document of a tab, the phases that it shows as active, with
// the document that showed them.
const observe = `(() => {
  const id = Math.random().toString(36).slice(2);
  const seen = JSON.parse(sessionStorage.getItem('seen') || '[]');
  const look = () => {
    const li = document.querySelector('li[data-phase][data-state=active]');
    if (!li) return;
    const last = seen[seen.length - 1];
    if (last && last.document === id && last.phase === li.dataset.phase) return;
    seen.push({ document: id, phase: li.dataset.phase });
    sessionStorage.setItem('seen', JSON.stringify(seen));
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  addEventListener('DOMContentLoaded', look);
})()`

// broken returns the addresses of images that did not load, and of stylesheets without a rule.
const broken = `(async () => {
  for (const img of document.images) img.loading = 'eager';
  await Promise.all([...document.images].map((img) => img.decode().catch(() => {})));
  return [
    ...[...document.images].filter((img) => !img.naturalWidth).map((img) => img.currentSrc || img.src),
    ...[...document.querySelectorAll('link[rel=stylesheet]')].filter((l) => !l.sheet || !l.sheet.cssRules.length).map((l) => l.href),
  ];
})()`

// newBrowser starts a browser with a profile of its own.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	profile := filepath.Join(t.TempDir(), "profile")
	t.Cleanup(func() { // the browser's own children end after it
		harness.Eventually(t, harness.Patience, "the browser's profile is removed", func() bool {
			return len(harness.Processes(t, profile)) == 0 && os.RemoveAll(profile) == nil
		})
	})
	ctx, cancel := chromedp.NewExecAllocator(context.Background(),
		append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, chromedp.DisableGPU,
			chromedp.Flag("disable-quic", true),
			chromedp.Flag("disable-component-update", true),
			chromedp.WindowSize(1280, 900),
			chromedp.WSURLReadTimeout(harness.Patience),
			chromedp.UserDataDir(profile))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx), "starting the browser")
	return ctx
}

// tab is one tab of the browser.
type tab struct {
	t    *testing.T
	ctx  context.Context // chromedp's handle of the tab
	name string
}

func openTab(ctx context.Context, t *testing.T, name string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	x := &tab{t: t, ctx: ctx, name: name}
	_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: observe})
	require.NoError(t, err)
	return x
}

// patience is for what a browser does at once.
const patience = harness.Patience

func (x *tab) do(step chromedp.Action[chromedp.Void]) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	require.NoError(x.t, chromedp.Do(ctx, step), x.name)
}

// eval evaluates an expression, and waits for it if it is a promise.
func eval[T any](x *tab, expression string) T {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(x.t, err, "%s: %s", x.name, expression)
	return v
}

func (x *tab) path() string {
	x.t.Helper()
	return eval[string](x, "location.pathname")
}

// await waits until an expression is true, across the documents that the tab loads.
func (x *tab) await(limit time.Duration, what, expression string) {
	x.t.Helper()
	harness.EventuallyEvery(x.t, limit, 100*time.Millisecond, x.name+": "+what, func() bool {
		ctx, cancel := context.WithTimeout(x.ctx, 10*time.Second)
		defer cancel()
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && ok // an error: between two documents
	})
}

// picture keeps a screenshot where E2E_SCREENSHOTS says.
func (x *tab) picture(what string) {
	x.t.Helper()
	dir := os.Getenv("E2E_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(x.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(x.t, err)
	require.NoError(x.t, os.MkdirAll(dir, 0o755))
	require.NoError(x.t, os.WriteFile(filepath.Join(dir, x.name+"-"+what+".png"), png, 0o600))
}

// fetchesWait returns a PATH on which git does not fetch before goOn is called, and not
// after hold: sites that are cloned sooner than a browser has shown its first page have
// little to be watched.
func fetchesWait(t *testing.T) (path string, goOn, hold func()) {
	t.Helper()
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	goOn = func() { require.NoError(t, os.WriteFile(gate, nil, 0o600)) }
	hold = func() { require.NoError(t, os.Remove(gate)) }
	t.Cleanup(goOn)
	script := fmt.Sprintf("#!/bin/sh\ncase \" $* \" in *' fetch '*) while [ ! -e %q ]; do sleep 0.05; done;; esac\nexec %q \"$@\"\n", gate, git)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700))
	return dir + string(os.PathListSeparator) + os.Getenv("PATH"), goOn, hold
}

// visitor is a tab of somebody at one client's.
type visitor struct {
	*tab
	client, title, link string
}

func TestBrowserFromButtonToSite(t *testing.T) {
	data := t.TempDir()
	path, goOn, hold := fetchesWait(t)
	x := makeRun(t, data, "PATH="+path)
	browser := newBrowser(t)
	visitors := []*visitor{
		{client: "amelia", title: "Amelia Thorne Ceramics", link: "/about/"},
		{client: "bramble", title: "Bramble Bakery", link: "/bakes/"},
	}
	for _, v := range visitors {
		v.tab = openTab(browser, t, v.client)
		v.do(chromedp.Navigate(fmt.Sprintf("http://edit.%s.localhost:%d/new", v.client, x.port)))
		v.picture("1-new")
	}
	// Both at once, in two tabs.
	for _, v := range visitors {
		v.do(chromedp.Click(chromedp.CSS("form[action='/new'] button")))
	}
	for _, v := range visitors {
		v.await(patience, "the waiting page", "document.querySelector('li[data-phase][data-state=active]')")
		assert.True(t, eval[bool](v.tab, "document.getElementById('left').hidden"), "%s: nobody knows yet how long it takes", v.client)
		v.picture("2-waiting")
	}
	goOn()
	for _, v := range visitors {
		v.await(10*time.Minute, "the site", fmt.Sprintf("document.readyState === 'complete' && document.title.includes(%q)", v.title))
	}

	for _, v := range visitors {
		var seen []struct {
			Document string `json:"document"`
			Phase    string `json:"phase"`
		}
		raw := eval[string](v.tab, "sessionStorage.getItem('seen')")
		require.NoError(t, json.Unmarshal([]byte(raw), &seen), raw)
		byDocument := map[string][]string{}
		most := ""
		for _, s := range seen {
			byDocument[s.Document] = append(byDocument[s.Document], s.Phase)
			if len(byDocument[s.Document]) > len(byDocument[most]) {
				most = s.Document
			}
		}
		phases := byDocument[most]
		t.Logf("%s: phases %v", v.client, phases)
		assert.GreaterOrEqual(t, len(phases), 3, "%s: phases seen by one document: %v", v.client, seen)
		order := []string{"starting", "cloning", "installing", "building", "ready"}
		assert.True(t, slices.IsSortedFunc(phases, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) }),
			"%s: out of order: %v", v.client, phases)

		session := strings.Join(strings.Split(v.path(), "/")[:3], "/")
		assert.Regexp(t, `^/session/[A-Za-z0-9_-]{22,}$`, session)
		v.requireWhole("the first page")
		v.picture("3-site")

		v.do(chromedp.Click(chromedp.CSS(fmt.Sprintf("nav a[href$=%q]", v.link))))
		v.await(patience, "the page behind the link", fmt.Sprintf("document.readyState === 'complete' && location.pathname === %q", session+v.link))
		v.requireWhole("the page behind the link")
		v.picture("4-link")

		v.do(chromedp.Reload())
		v.await(patience, "the page, reloaded", "document.readyState === 'complete'")
		assert.Equal(t, session+v.link, v.path())
		v.requireWhole("the page, reloaded")

		// A font and pictures of the stylesheet come from the session too.
		foreign := eval[[]string](v.tab, fmt.Sprintf(`performance.getEntriesByType('resource').map((e) => new URL(e.name)).filter((u) => u.protocol.startsWith('http') && (u.host !== location.host || !u.pathname.startsWith(%q) && !u.pathname.startsWith('/.webordinary/'))).map(String)`, session+"/"))
		t.Logf("%s: reached by redirects: %v", v.client, foreign)
		for _, u := range foreign {
			assert.Contains(t, u, fmt.Sprintf("//edit.%s.localhost:%d/", v.client, x.port))
		}
	}
	hold()
	visitors[0].showsTimeLeft(x.port, goOn)
	x.interrupt(t)
}

// showsTimeLeft begins one more session of a client: its waiting page says how long that
// takes, as the first one did, and does not read each second out.
func (v *visitor) showsTimeLeft(port int, goOn func()) {
	t := v.t
	t.Helper()
	v.do(chromedp.Navigate(fmt.Sprintf("http://edit.%s.localhost:%d/new", v.client, port)))
	v.do(chromedp.Click(chromedp.CSS("form[action='/new'] button")))
	v.await(patience, "the time that is left", `/^(About \d+ (seconds|minutes)|A few seconds) left\.$/.test(document.getElementById('left').textContent) && !document.getElementById('left').hidden`)
	v.picture("5-time-left")
	said := eval[string](v.tab, "document.querySelector('[role=status]').textContent")
	eval[bool](v.tab, `new Promise((done) => { window.said = 0; new MutationObserver(() => window.said++).observe(document.querySelector('[role=status]'), { childList: true, characterData: true, subtree: true }); setTimeout(() => done(true), 2500) })`)
	assert.Zero(t, eval[int](v.tab, "window.said"), "nothing changed but the time, and yet it was read out: %s", said)
	goOn()
	v.await(10*time.Minute, "the site", fmt.Sprintf("document.readyState === 'complete' && document.title.includes(%q)", v.title))
}

// requireWhole checks that the page is styled and that all its images are there.
func (x *tab) requireWhole(what string) {
	x.t.Helper()
	missing := eval[[]string](x, broken)
	assert.Empty(x.t, missing, "%s: %s: did not load", x.name, what)
	facts := eval[struct {
		Images  int    `json:"images"`
		Sheets  int    `json:"sheets"`
		Font    string `json:"font"`
		Heading string `json:"heading"`
	}](x, `({
		images: document.images.length,
		sheets: [...document.styleSheets].length,
		font: getComputedStyle(document.body).fontFamily,
		heading: document.querySelector('h1')?.textContent ?? '',
	})`)
	assert.Positive(x.t, facts.Images, "%s: %s", x.name, what)
	assert.Positive(x.t, facts.Sheets, "%s: %s", x.name, what)
	assert.NotContains(x.t, facts.Font, "Times", "%s: %s: the browser's own font", x.name, what)
	assert.NotEmpty(x.t, facts.Heading, "%s: %s", x.name, what)
}
