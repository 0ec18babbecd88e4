package site_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSiteWithABase is linked with its base, which its folder knows nothing of.
func TestSiteWithABase(t *testing.T) {
	s := serving(t, folder(t, map[string]string{
		"index.html":               `<link rel="stylesheet" href="/docs/_astro/a.B7zz8Vtq.css"><a href="/docs/about/">about</a>`,
		"about/index.html":         `about`,
		"docs/index.html":          `its own docs`,
		"404.html":                 `lost`,
		"_astro/a.B7zz8Vtq.css":    `a{b:url(/docs/_astro/b.png)}`,
		"_astro/lazy.B7zz8Vtq.js":  `pe="modulepreload",ue=function(t){return"/docs/"+t}`,
		"_astro/other.B7zz8Vtq.js": `f("/elsewhere/_astro/x.js")`,
	}))
	const home = `<link rel="stylesheet" href="/session/abc/docs/_astro/a.B7zz8Vtq.css"><a href="/docs/about/">about</a>`
	for path, want := range map[string]string{
		"/":                           home,
		"/docs/":                      home,
		"/docs":                       home,
		"/about/":                     `about`,
		"/docs/about/":                `about`,
		"/docs/docs/":                 `its own docs`,
		"/docs/_astro/a.B7zz8Vtq.css": `a{b:url(/session/abc/docs/_astro/b.png)}`,
		"/_astro/lazy.B7zz8Vtq.js":    `pe="modulepreload",ue=function(t){return"/session/abc/docs/"+t}`,
		"/_astro/other.B7zz8Vtq.js":   `f("/elsewhere/_astro/x.js")`,
	} {
		w := get(s, prefix+path)
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Equal(t, want, w.Body.String(), path)
	}
	w := get(s, prefix+"/docs/about")
	assert.Equal(t, "/session/abc/docs/about/", w.Header().Get("Location"))
	assert.Equal(t, http.StatusNotFound, get(s, prefix+"/docsabout/").Code)
}

// TestBaseOfPlainLinks has no link to an asset tell of the base: Astro writes short styles
// into the pages.
func TestBaseOfPlainLinks(t *testing.T) {
	home := `<link rel="icon" href="/docs/v1/icon.svg"><a href="/docs/v1/about">about</a><a href="/docs/v1">home</a><a href="/docs/v1/missing/">none</a>`
	s := serving(t, folder(t, map[string]string{"index.html": home, "about/index.html": "about", "icon.svg": "<svg/>"}))
	for path, want := range map[string]string{"/docs/v1/": home, "/docs/v1/about/": "about", "/about/": "about", "/docs/v1/icon.svg": "<svg/>"} {
		w := get(s, prefix+path)
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Equal(t, want, w.Body.String(), path)
	}
	assert.Equal(t, http.StatusNotFound, get(s, prefix+"/docs/v1/missing/").Code)

	// A page that is missing makes no base where another link leads to a page as it is.
	home = `<a href="/blog/">blog</a><a href="/about/">about</a><a href="/">home</a>`
	s = serving(t, folder(t, map[string]string{"index.html": home, "about/index.html": "about"}))
	assert.Equal(t, http.StatusNotFound, get(s, prefix+"/blog/").Code)
	assert.Equal(t, http.StatusNotFound, get(s, prefix+"/blog/about/").Code)
}

// TestOtherAssetFolder is of a site whose configuration has another name for it.
func TestOtherAssetFolder(t *testing.T) {
	for _, base := range []string{"", "/docs"} {
		s := serving(t, folder(t, map[string]string{
			"index.html": `<script src="` + base + `/js/plain.js"></script><link rel="stylesheet" href="` + base + `/static/a/main.B7zz8Vtq.css">` +
				`<astro-island component-url="` + base + `/static/a/I.B7zz8Vtq.js"></astro-island>`,
			"js/plain.js":                "plain",
			"static/a/main.B7zz8Vtq.css": `a{b:url(` + base + `/static/a/b.png)}`,
			"static/a/I.B7zz8Vtq.js":     `import("` + base + `/static/a/x.js")`,
		}))
		home := get(s, prefix+base+"/").Body.String()
		assert.Contains(t, home, `component-url="/session/abc`+base+`/static/a/I.B7zz8Vtq.js"`)
		assert.Contains(t, home, `src="`+base+`/js/plain.js"`)
		w := get(s, prefix+base+"/static/a/main.B7zz8Vtq.css")
		assert.Equal(t, `a{b:url(/session/abc`+base+`/static/a/b.png)}`, w.Body.String())
		assert.Contains(t, w.Header().Get("Cache-Control"), "immutable")
	}
}

// TestRedirectPages are what Astro makes of the redirects in its configuration.
func TestRedirectPages(t *testing.T) {
	page := func(to string) string {
		return `<!doctype html><title>Redirecting to: ` + to + `</title><meta http-equiv="refresh" content="0;url=` + to + `"><meta name="robots" content="noindex"><link rel="canonical" href="https://www.example.com` + to + `"><body><a href="` + to + `">Redirecting</a></body>`
	}
	s := serving(t, folder(t, map[string]string{
		"index.html":       `home`,
		"old/index.html":   page("/new/"),
		"other/index.html": page("//example.com/"),
		"far/index.html":   page("https://example.com/"),
	}))
	assert.Contains(t, get(s, prefix+"/old/").Body.String(), `content="0;url=/session/abc/new/"`)
	assert.Contains(t, get(s, prefix+"/other/").Body.String(), `content="0;url=//example.com/"`)
	assert.Contains(t, get(s, prefix+"/far/").Body.String(), `content="0;url=https://example.com/"`)
}
