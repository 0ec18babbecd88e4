package site_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/containerboot/site"
)

// TestHomeWithoutASlash is of a development server that refuses addresses with a slash at
// their end.
func TestHomeWithoutASlash(t *testing.T) {
	for home, want := range map[string]string{"/session/abc": "bare", "/session/abc/": "slashed", "/elsewhere": "none"} {
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path != home:
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, "none")
			case home == "/session/abc":
				_, _ = io.WriteString(w, "bare")
			default:
				_, _ = io.WriteString(w, "slashed")
			}
		}))
		t.Cleanup(origin.Close)
		p := site.NewProgram(site.ProgramConfig{Target: fixed(origin.Listener.Addr().String()), Prefix: "/session/abc", KnowsPrefix: true})
		t.Cleanup(p.Close)
		for _, path := range []string{"/session/abc/", "/"} {
			w := httptest.NewRecorder()
			p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil))
			assert.Equal(t, want, w.Body.String(), home+" "+path)
			assert.Equal(t, want == "none", w.Code == http.StatusNotFound)
		}
	}
}
