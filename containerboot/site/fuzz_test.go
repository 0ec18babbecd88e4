package site_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

// FuzzServe asks for any path with any headers. Whatever holds the word SECRET lies
// outside of the folder or is hidden.
func FuzzServe(f *testing.F) {
	parent := folder(f, map[string]string{
		"secret.txt":          "SECRET",
		"dist2/index.html":    "SECRET",
		"dist/index.html":     `home <a href="/_astro/a.css">`,
		"dist/about/a.html":   "about",
		"dist/.env":           "SECRET",
		"dist/about/.env":     "SECRET",
		"dist/.well-known/.x": "SECRET",
	})
	for name, target := range map[string]string{"out": "../secret.txt", "outdir": "..", "abs": parent} {
		require.NoError(f, os.Symlink(target, filepath.Join(parent, "dist", name)))
	}
	s := site.New(site.Config{Prefix: "/session/a#b"})
	require.NoError(f, s.Switch(site.Output{Root: filepath.Join(parent, "dist")}))

	for _, path := range []string{
		"/", "/about/a", "/session/a%23b/about/a/", "/session/a%23b", "/session/a%23bc/", "/../secret.txt",
		"/..%2fsecret.txt", "/%2e%2e/secret.txt", "/..\\secret.txt", "/out", "/outdir/secret.txt", "/outdir/dist2/",
		"/abs/secret.txt", "/.env", "/about/.env", "/.well-known/.x", "/.well-known/../.env", "//secret.txt",
		"/about/../../secret.txt", "/dist2/index.html\x00", "/%00", "/about//.env", "/\xff",
		"/session/a%23b/../../secret.txt", "/session/a%23b//..//secret.txt",
	} {
		f.Add(path, "text/html", "bytes=0-1", "gzip;q=1")
	}
	f.Fuzz(func(t *testing.T, path, accept, ranges, encoding string) {
		ask := func(method string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "/", nil)
			r.URL = &url.URL{Path: path}
			if decoded, err := url.PathUnescape(path); err == nil {
				r.URL = &url.URL{Path: decoded, RawPath: path}
			}
			r.Header = http.Header{"Accept": {accept}, "Range": {ranges}, "Accept-Encoding": {encoding}}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		w := ask(http.MethodGet)
		if strings.Contains(w.Body.String(), "SECRET") {
			t.Fatalf("%q leads out of the folder", path)
		}
		switch w.Code {
		case 200, 206, 404, 416:
		case 307:
			if to := w.Header().Get("Location"); !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n") {
				t.Fatalf("%q redirects to %q", path, to)
			}
		default:
			t.Fatalf("%q gets status %d", path, w.Code)
		}
		if head := ask(http.MethodHead); head.Code != w.Code {
			t.Fatalf("HEAD of %q gets status %d, GET %d", path, head.Code, w.Code)
		}
	})
}
