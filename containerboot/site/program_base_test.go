package site_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

// TestProgramWithABase links its assets below its base, where it serves; its files know
// nothing of that.
func TestProgramWithABase(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/docs/":
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Link", "</docs/_astro/a.css>; rel=preload")
			_, _ = io.WriteString(w, `<head><link href="/docs/_astro/a.css"></head><a href="/docs/about"><astro-island component-url="/docs/_astro/I.js">`)
		case "/docs/old":
			http.Redirect(w, r, "/docs/about", http.StatusMovedPermanently)
		default:
			_, _ = io.WriteString(w, r.Method+" "+r.URL.EscapedPath())
		}
	}))
	t.Cleanup(origin.Close)
	p := site.NewProgram(site.ProgramConfig{Target: fixed(origin.Listener.Addr().String()), Prefix: prefix, Base: "/docs"})
	t.Cleanup(p.Close)
	s := site.New(site.Config{Prefix: prefix})
	require.NoError(t, s.Switch(site.Output{Program: p, Root: folder(t, map[string]string{
		"_astro/a.css": `a{b:url(/docs/_astro/b.png)}`,
		"_astro/I.js":  `import("/docs/_astro/x.js")`,
	})}))

	for _, home := range []string{"/", "/docs/"} {
		w := get(s, prefix+home)
		assert.Equal(t, `<head><link href="/session/abc/docs/_astro/a.css"></head><a href="/docs/about"><astro-island component-url="/session/abc/docs/_astro/I.js">`, w.Body.String())
		assert.Equal(t, "</session/abc/docs/_astro/a.css>; rel=preload", w.Header().Get("Link"))
	}
	assert.Equal(t, `a{b:url(/session/abc/docs/_astro/b.png)}`, get(s, prefix+"/docs/_astro/a.css").Body.String())
	assert.Equal(t, `import("/session/abc/docs/_astro/x.js")`, get(s, prefix+"/docs/_astro/I.js").Body.String())
	assert.Equal(t, "/session/abc/docs/about", get(s, prefix+"/docs/old").Header().Get("Location"))
	for asked, want := range map[string]string{
		"/docs/a%2Fb": "/docs/a%2Fb", "/about": "/docs/about", "/docs": "/docs", "/docsy": "/docs/docsy",
	} {
		assert.Equal(t, "POST "+want, ask(s, http.MethodPost, prefix+asked).Body.String())
	}
}
