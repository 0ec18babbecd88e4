package site_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

const prefix = "/session/abc"

// folder writes files, by name, into a new folder.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(content), 0o644))
	}
	return dir
}

func serving(t testing.TB, dir string) *site.Site {
	t.Helper()
	s := site.New(site.Config{Prefix: prefix})
	require.NoError(t, s.Switch(site.Output{Root: dir}))
	return s
}

// ask sends a request with headers given as "Name: value".
func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	return ask(h, http.MethodGet, target, headers...)
}

func astroSite() map[string]string {
	return map[string]string{
		"index.html":                   `<h1>home</h1>`,
		"about/index.html":             `<h1>about</h1>`,
		"contact.html":                 `<h1>contact</h1>`,
		"both.html":                    `both as a file`,
		"both/index.html":              `both as a folder`,
		"folder/only/index.html":       `deep`,
		"404.html":                     `<h1>lost</h1>`,
		"plain":                        `no extension`,
		"robots.txt":                   `User-agent: *`,
		"data.json":                    `{}`,
		"site.webmanifest":             `{}`,
		"feed.xml":                     `<rss/>`,
		"photo.avif":                   `avif`,
		"a b/ü.txt":                    `odd name`,
		".env":                         `SECRET`,
		".git/config":                  `SECRET`,
		"about/.hidden":                `SECRET`,
		".well-known/security.txt":     `Contact`,
		".well-known/.hidden":          `SECRET`,
		"_astro/index.B7zz8Vtq.css":    `body{}`,
		"_astro/index.B7zz8Vtq.css.br": `brotli`,
		"_astro/index.B7zz8Vtq.css.gz": `gzip`,
		"_astro/font.DkX1cv_0.woff2":   `font`,
		"_astro/app.js":                `1`,
		"_astro/app.B7zz8Vtq.mjs":      `1`,
		"_astro/app.B7zz8Vtq.js.map":   `{}`,
		"_astro/lib.B7zz8Vtq.wasm":     `wasm`,
	}
}

func TestPaths(t *testing.T) {
	s := serving(t, folder(t, astroSite()))
	tests := []struct {
		path, location, body string
		status               int
	}{
		{path: "/", status: 200, body: `<h1>home</h1>`},
		{path: "/index.html", status: 200, body: `<h1>home</h1>`},
		{path: "/about/", status: 200, body: `<h1>about</h1>`},
		{path: "/about/index.html", status: 200, body: `<h1>about</h1>`},
		{path: "/about", status: 307, location: "/about/"},
		{path: "/about?q=1&r=a;b", status: 307, location: "/about/?q=1&r=a;b"},
		{path: "/folder/only", status: 307, location: "/folder/only/"},
		{path: "/contact", status: 200, body: `<h1>contact</h1>`},
		{path: "/contact/", status: 307, location: "/contact"},
		{path: "/contact/?q", status: 307, location: "/contact?q"},
		{path: "/both", status: 200, body: `both as a file`},
		{path: "/both/", status: 200, body: `both as a folder`},
		{path: "/plain", status: 200, body: `no extension`},
		{path: "/a%20b/%C3%BC.txt", status: 200, body: `odd name`},
		{path: "/.well-known/security.txt", status: 200, body: `Contact`},

		{path: "/folder/", status: 404},
		{path: "/folder", status: 404},
		{path: "/nothing", status: 404},
		{path: "/robots.txt/", status: 404},
		{path: "/.env", status: 404},
		{path: "/.git/config", status: 404},
		{path: "/about/.hidden", status: 404},
		{path: "/.well-known/.hidden", status: 404},
		{path: "/.well-known", status: 404},
		{path: "//", status: 404},
		{path: "//about", status: 404},
		{path: "/about//", status: 404},
		{path: "/./about/", status: 404},
		{path: "/x/../about/", status: 404},
		{path: "/%2e%2e/index.html", status: 404},
		{path: "/about%5cindex.html", status: 404},
		{path: "/index.html%00", status: 404},
		{path: "/%ff", status: 404},
		{path: "/" + strings.Repeat("a", 5000), status: 404},
		{path: "/session/abcd/about/", status: 404},
	}
	for _, test := range tests {
		for _, p := range []string{prefix, ""} {
			t.Run(p+test.path, func(t *testing.T) {
				w := get(s, "http://edit.example.com"+p+test.path)
				assert.Equal(t, test.status, w.Code)
				if test.location != "" {
					assert.Equal(t, p+test.location, w.Header().Get("Location"))
					assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				}
				if test.status == http.StatusNotFound {
					assert.Equal(t, `<h1>lost</h1>`, w.Body.String())
					assert.Empty(t, w.Header().Get("Etag"), "a 404 is no version of the page")
				} else {
					assert.Equal(t, test.body, w.Body.String())
				}
				assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			})
		}
	}
}

func TestPrefixAloneIsTheHomePage(t *testing.T) {
	s := serving(t, folder(t, astroSite()))
	assert.Equal(t, `<h1>home</h1>`, get(s, prefix).Body.String())
}

func TestPrefixOfAnOlderSession(t *testing.T) {
	for _, given := range []string{"/session/amelia#u'1#t", "/session/amelia%23u'1%23t/"} {
		s := site.New(site.Config{Prefix: given})
		require.NoError(t, s.Switch(site.Output{Root: folder(t, map[string]string{
			"about/index.html": `<link href='/_astro/x.css'>`,
		})}))
		w := get(s, "/session/amelia%23u%271%23t/about/")
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, `<link href='/session/amelia%23u%271%23t/_astro/x.css'>`, w.Body.String())
		w = get(s, "/session/amelia%23u%271%23t/about")
		assert.Equal(t, "/session/amelia%23u%271%23t/about/", w.Header().Get("Location"))
	}
}

func TestHeaders(t *testing.T) {
	s := serving(t, folder(t, astroSite()))
	const immutable, revalidate = "public, max-age=31536000, immutable", "no-cache"
	tests := []struct{ path, contentType, cacheControl string }{
		{"/", "text/html; charset=utf-8", revalidate},
		{"/robots.txt", "text/plain; charset=utf-8", revalidate},
		{"/data.json", "application/json; charset=utf-8", revalidate},
		{"/site.webmanifest", "application/manifest+json; charset=utf-8", revalidate},
		{"/feed.xml", "application/xml; charset=utf-8", revalidate},
		{"/photo.avif", "image/avif", revalidate},
		{"/plain", "application/octet-stream", revalidate},
		{"/_astro/index.B7zz8Vtq.css", "text/css; charset=utf-8", immutable},
		{"/_astro/font.DkX1cv_0.woff2", "font/woff2", immutable},
		{"/_astro/app.B7zz8Vtq.mjs", "text/javascript; charset=utf-8", immutable},
		{"/_astro/app.js", "text/javascript; charset=utf-8", revalidate},
		{"/_astro/lib.B7zz8Vtq.wasm", "application/wasm", immutable},
		{"/nothing", "text/html; charset=utf-8", revalidate},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			w := get(s, prefix+test.path)
			assert.Equal(t, test.contentType, w.Header().Get("Content-Type"))
			assert.Equal(t, test.cacheControl, w.Header().Get("Cache-Control"))

			head := ask(s, http.MethodHead, prefix+test.path)
			assert.Equal(t, w.Header(), head.Header())
			assert.Equal(t, w.Code, head.Code)
			assert.Empty(t, head.Body.String())
		})
	}
}

func TestMethods(t *testing.T) {
	s := serving(t, folder(t, astroSite()))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w := ask(s, method, prefix+"/")
		assert.Equal(t, 405, w.Code)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
}

func TestConditionsAndRanges(t *testing.T) {
	large := strings.Repeat("0123456789", 20<<10) // not kept in memory
	s := serving(t, folder(t, map[string]string{"small.txt": "0123456789", "large.txt": large}))
	for _, p := range []string{prefix + "/small.txt", prefix + "/large.txt"} {
		t.Run(p, func(t *testing.T) {
			etag := get(s, p).Header().Get("Etag")
			assert.Regexp(t, `^"[^"]+"$`, etag)

			assert.Equal(t, 304, get(s, p, "If-None-Match: "+etag).Code)
			assert.Equal(t, 200, get(s, p, `If-None-Match: "other"`).Code)
			assert.Equal(t, 412, get(s, p, `If-Match: "other"`).Code)

			w := get(s, p, "Range: bytes=2-4")
			assert.Equal(t, 206, w.Code)
			assert.Equal(t, "234", w.Body.String())
			assert.Equal(t, "3", w.Header().Get("Content-Length"))

			w = get(s, p, "Range: bytes=2-4", `If-Range: "other"`)
			assert.Equal(t, 200, w.Code)
			assert.Equal(t, 416, get(s, p, "Range: bytes=999999-").Code)
		})
	}
}

func TestPrecompressed(t *testing.T) {
	s := serving(t, folder(t, astroSite()))
	const css = prefix + "/_astro/index.B7zz8Vtq.css"
	tests := []struct{ accept, coding, body string }{
		{"gzip, deflate, br", "br", "brotli"},
		{"gzip", "gzip", "gzip"},
		{"GZip;q=0.5", "gzip", "gzip"},
		{"br;q=0, gzip", "gzip", "gzip"},
		{"br; q=0, *", "gzip", "gzip"},
		{"identity", "", "body{}"},
		{"", "", "body{}"},
	}
	etags := map[string]string{}
	for _, test := range tests {
		t.Run(test.accept, func(t *testing.T) {
			w := get(s, css, "Accept-Encoding: "+test.accept)
			assert.Equal(t, test.coding, w.Header().Get("Content-Encoding"))
			assert.Equal(t, test.body, w.Body.String())
			assert.Equal(t, "text/css; charset=utf-8", w.Header().Get("Content-Type"))
			assert.Equal(t, "Accept-Encoding", w.Header().Get("Vary"))
			assert.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
			assert.NotEmpty(t, w.Header().Get("Content-Length"))
			etags[test.coding] = w.Header().Get("Etag")
		})
	}
	assert.Len(t, map[string]bool{etags["br"]: true, etags["gzip"]: true, etags[""]: true}, 3)
}

func TestRewrittenFilesAreNotSentPrecompressed(t *testing.T) {
	s := serving(t, folder(t, map[string]string{
		"_astro/a.css": `a{background:url(/_astro/b.png)}`, "_astro/a.css.gz": `stale`,
	}))
	w := get(s, prefix+"/_astro/a.css", "Accept-Encoding: gzip")
	assert.Empty(t, w.Header().Get("Content-Encoding"))
	assert.Equal(t, `a{background:url(/session/abc/_astro/b.png)}`, w.Body.String())
}

func TestRewritingLeavesTheFolderAloneAndHasItsOwnETags(t *testing.T) {
	const page = `<link rel="stylesheet" href="/_astro/a.css">`
	dir := folder(t, map[string]string{"index.html": page})
	etags := map[string]bool{}
	for _, p := range []string{"/session/one", "/session/two", ""} {
		s := site.New(site.Config{Prefix: p})
		require.NoError(t, s.Switch(site.Output{Root: dir}))
		w := get(s, p+"/")
		assert.Equal(t, strings.Replace(page, "/_astro", p+"/_astro", 1), w.Body.String())
		etags[w.Header().Get("Etag")] = true
	}
	assert.Len(t, etags, 3)
	onDisk, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	assert.Equal(t, page, string(onDisk))
}

func TestETagsFollowContentAndNotTimes(t *testing.T) {
	old := time.Unix(1_700_000_000, 0)
	etag := func(content string) string {
		dir := folder(t, map[string]string{"a.txt": content})
		require.NoError(t, os.Chtimes(filepath.Join(dir, "a.txt"), old, old))
		w := get(serving(t, dir), "/a.txt")
		assert.Empty(t, w.Header().Get("Last-Modified"))
		return w.Header().Get("Etag")
	}
	assert.Equal(t, etag("one"), etag("one"))
	assert.NotEqual(t, etag("one"), etag("two"))

	// Too large to be hashed: never mistaken for another build's.
	huge := strings.Repeat("x", 5<<20)
	assert.NotEqual(t, etag(huge), etag(huge))
}

func TestWithoutA404Page(t *testing.T) {
	s := serving(t, folder(t, map[string]string{"index.html": "app"}))
	const document = "Accept: text/html,*/*;q=0.8"
	tests := []struct {
		path, header string
		status       int
	}{
		{"/orders/7", document, 200},
		{"/orders/7", "Sec-Fetch-Mode: navigate", 200},
		{"/orders/7", "Sec-Fetch-Mode: cors", 404},
		{"/orders/7", "Accept: */*", 404},
		{"/image.png", document, 404},
		{"/.git/config", document, 404},
	}
	for _, test := range tests {
		w := get(s, prefix+test.path, test.header)
		assert.Equal(t, test.status, w.Code, "%s %s", test.path, test.header)
		if test.status == 200 {
			assert.Equal(t, "app", w.Body.String())
		}
	}
}

func TestNothingOutsideTheFolder(t *testing.T) {
	outside := folder(t, map[string]string{"secret.txt": "SECRET"})
	dir := folder(t, map[string]string{"index.html": "home", "in.txt": "inside"})
	for name, target := range map[string]string{
		"out.txt":  filepath.Join(outside, "secret.txt"),
		"outdir":   outside,
		"up.txt":   "../" + filepath.Base(outside) + "/secret.txt",
		"link.txt": "in.txt",
		"loop":     "loop",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	s := serving(t, dir)
	for _, p := range []string{"/out.txt", "/outdir/secret.txt", "/outdir/", "/up.txt", "/loop", "/pipe"} {
		w := get(s, prefix+p)
		assert.Equal(t, 404, w.Code, p)
		assert.NotContains(t, w.Body.String(), "SECRET", p)
	}
	assert.Equal(t, "inside", get(s, prefix+"/link.txt").Body.String())
}

func TestBeforeTheFirstSwitch(t *testing.T) {
	w := get(site.New(site.Config{Prefix: prefix}), prefix+"/")
	assert.Equal(t, 503, w.Code)
	assert.NotEmpty(t, w.Header().Get("Retry-After"))
}

func TestSwitchRefuses(t *testing.T) {
	dir := folder(t, map[string]string{"index.html": "home"})
	s := serving(t, dir)
	for _, root := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "index.html"), ""} {
		assert.Error(t, s.Switch(site.Output{Root: root}), root)
	}
	assert.Equal(t, "home", get(s, prefix+"/").Body.String(), "the folder served before stays")
	assert.NoError(t, s.Switch(site.Output{Root: t.TempDir()}), "an empty folder is one")
	assert.Equal(t, 404, get(s, prefix+"/").Code)
}

// Each build's page links that build's asset and holds its name. Whatever a reader
// gets must be whole and of one build, while builds are switched and removed.
func TestSwitchUnderLoad(t *testing.T) {
	large := strings.Repeat("-", 200<<10)
	build := func(name string) string {
		return folder(t, map[string]string{
			"index.html": name + `<link href="/_astro/a.css">` + name,
			"large.txt":  name + large + name,
		})
	}
	dir := build("A")
	s := serving(t, dir)
	server := httptest.NewServer(s)
	defer server.Close()

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, path := range []string{"/", "/large.txt", "/", "/large.txt"} {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := server.Client().Get(server.URL + prefix + path)
				if !assert.NoError(t, err) {
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if !assert.NoError(t, err) || !assert.Equal(t, 200, resp.StatusCode) {
					return
				}
				if !assert.Equal(t, body[0], body[len(body)-1], "a mixture of two builds") {
					return
				}
			}
		})
	}
	for i := range 100 {
		next := build(string(rune('A' + i%26)))
		require.NoError(t, s.Switch(site.Output{Root: next}))
		require.NoError(t, os.RemoveAll(dir))
		dir = next
	}
	close(stop)
	readers.Wait()
}

func TestManyFilesStayWithinMemory(t *testing.T) {
	const n, size = 40, 1 << 20
	files := map[string]string{}
	page := `<link href="/_astro/a.css">` + strings.Repeat("x", size)
	for i := range n {
		files[string(rune('a'+i/26))+string(rune('a'+i%26))+".html"] = page
	}
	s := serving(t, folder(t, files))
	for name := range files {
		require.Equal(t, 200, get(s, "/"+name).Code)
	}
	assert.LessOrEqual(t, s.MemoryUsed(), 32<<20)
	assert.Greater(t, s.MemoryUsed(), 16<<20)
}
