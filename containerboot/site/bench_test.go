package site_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

// sink takes a response without keeping it.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func benchmarkFiles() map[string]string {
	return map[string]string{
		"small.txt": strings.Repeat("x", 1<<10),
		"page/index.html": `<link rel="stylesheet" href="/_astro/a.B7zz8Vtq.css">` +
			strings.Repeat(`<p>text</p><img src="/_astro/a.B7zz8Vtq.png" srcset="/_astro/b.png 1x, /_astro/c.png 2x">`, 200),
	}
}

func BenchmarkSmallFile(b *testing.B)     { benchmark(b, "/small.txt") }
func BenchmarkRewrittenPage(b *testing.B) { benchmark(b, "/page/") }
func BenchmarkNotFound(b *testing.B)      { benchmark(b, "/none.png") }

func benchmark(b *testing.B, path string) {
	s := serving(b, folder(b, benchmarkFiles()))
	r := httptest.NewRequest(http.MethodGet, prefix+path, nil)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		s.ServeHTTP(w, r)
	}
}

// BenchmarkFirstLook is what a page costs the first time, when it is read and
// rewritten.
func BenchmarkFirstLook(b *testing.B) {
	dir := folder(b, benchmarkFiles())
	s := serving(b, dir)
	r := httptest.NewRequest(http.MethodGet, prefix+"/page/", nil)
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, s.Switch(site.Output{Root: dir}))
		clear(w.header)
		s.ServeHTTP(w, r)
	}
}

func TestAllocationsOfAKnownFile(t *testing.T) {
	s := serving(t, folder(t, benchmarkFiles()))
	for _, path := range []string{"/small.txt", "/page/"} {
		r := httptest.NewRequest(http.MethodGet, prefix+path, nil)
		w := &sink{header: http.Header{}}
		n := testing.AllocsPerRun(100, func() {
			clear(w.header)
			s.ServeHTTP(w, r)
		})
		assert.LessOrEqual(t, n, 5.0, path)
	}
}
