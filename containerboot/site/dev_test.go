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

// viteClient is what Vite 5 to 8 serve, shortened.
const viteClient = "const importMetaUrl = new URL(import.meta.url);\n" +
	"const socketHost = `${null || importMetaUrl.hostname}:${hmrPort || importMetaUrl.port}${\"/own/\"}`;\n" +
	"const directSocketHost = \"localhost:4321/\";\nconst base = \"/\" || \"/\";\n//# sourceMappingURL=data:"

// TestDevSocket leads from the script's address to the path that Vite listens at.
func TestDevSocket(t *testing.T) {
	var asked []string
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI+" "+r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, viteClient)
	}))
	t.Cleanup(origin.Close)
	p := site.NewProgram(site.ProgramConfig{Target: fixed(origin.Listener.Addr().String()), Prefix: "/session/abc", KnowsPrefix: true})
	t.Cleanup(p.Close)
	proxy := httptest.NewServer(p)
	t.Cleanup(proxy.Close)
	get := func(path string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("Accept-Encoding", "br")
		resp, err := proxy.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}

	assert.Equal(t, "const importMetaUrl = new URL(import.meta.url);\n"+
		"const socketHost = importMetaUrl.host + \"/session/abc/.webordinary/hmr\" + \"/own/\";\n"+
		"const directSocketHost = socketHost;\nconst base = \"/session/abc/\";\n//# sourceMappingURL=data:", get("/session/abc/@vite/client"))
	assert.Equal(t, viteClient, get("/session/abc/src/other.js"), "another script")
	get("/session/abc/.webordinary/hmr/own/?token=x%2F")
	get("/about/")
	assert.Equal(t, []string{
		"/session/abc/@vite/client ", "/session/abc/src/other.js ", "/own/?token=x%2F ", "/session/abc/about/ ",
	}, asked)
}

// TestDevWithABaseOfItsOwn serves a site below the session's prefix whose base is another
// one, whatever the server was told.
func TestDevWithABaseOfItsOwn(t *testing.T) {
	const prefix = "/session/abc"
	for base, want := range map[string]map[string]string{
		prefix:  {"/session/abc/": "/session/abc/", "/session/abc/a/": "/session/abc/a/", "/a/": "/session/abc/a/", "/session/abc/%C3%A9%2F": "/session/abc/%C3%A9%2F"},
		"":      {"/session/abc/": "/", "/session/abc": "/", "/session/abc/a/?q=1": "/a/?q=1", "/a/": "/a/", "/session/abc/.webordinary/hmr/?token=x": "/?token=x", "/session/abc/%C3%A9%2F": "/%C3%A9%2F"},
		"/docs": {"/session/abc/": "/docs/", "/session/abc/a/": "/docs/a/", "/session/abc/docs/a/": "/docs/a/", "/docs/a/": "/docs/a/", "/session/abc/docsier/": "/docs/docsier/", "/session/abc/%C3%A9%2F": "/docs/%C3%A9%2F", "/session/abc/.webordinary/hmr/docs/": "/docs/"},
	} {
		origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case base + "/@vite/client":
				_, _ = io.WriteString(w, viteClient)
			case base + "/go":
				http.Redirect(w, r, base+"/there/", http.StatusFound)
			default:
				_, _ = io.WriteString(w, r.RequestURI)
			}
		}))
		t.Cleanup(origin.Close)
		p := site.NewProgram(site.ProgramConfig{
			Target: fixed(origin.Listener.Addr().String()), Prefix: prefix, KnowsPrefix: true, Serves: func() string { return base },
		})
		t.Cleanup(p.Close)
		for path, at := range want {
			assert.Equal(t, at, get(p, "http://localhost"+path).Body.String(), "%q: %s", base, path)
		}
		assert.Contains(t, get(p, "http://localhost"+prefix+"/@vite/client").Body.String(), prefix+"/.webordinary/hmr", base)
		there := get(p, "http://localhost"+prefix+"/go").Header().Get("Location")
		assert.Equal(t, at(prefix, base), there, base)
	}
}

// at is where a redirect within a base leads a visitor.
func at(prefix, base string) string {
	if base == prefix {
		return prefix + "/there/"
	}
	return prefix + base + "/there/"
}

// TestDevHost: a development server is asked for by its own address, whatever edit host
// the visitor knows it by, and not at all for a host that is none.
func TestDevHost(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := "http://" + r.Host
		switch r.URL.Path {
		case "/session/abc/go":
			http.Redirect(w, r, "/about/", http.StatusFound)
		case "/session/abc/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<link rel="canonical" href="`+own+`/session/abc/"><script type="module" src="/@vite/client"></script>`+
				r.Header.Get("Origin")+" "+r.Header.Get("X-Forwarded-Host"))
		}
	}))
	t.Cleanup(origin.Close)
	p := site.NewProgram(site.ProgramConfig{
		Target: fixed(origin.Listener.Addr().String()), Prefix: "/session/abc", KnowsPrefix: true, Hosts: []string{"edit.amelia.example"},
	})
	t.Cleanup(p.Close)

	const host = "https://edit.amelia.example"
	forwarded := []string{"Origin: " + host, "X-Forwarded-Host: edit.amelia.example"}
	w := get(p, host+"/session/abc/", forwarded...)
	assert.Equal(t, `<link rel="canonical" href="/session/abc/"><script type="module" src="/@vite/client"></script>`+origin.URL+" ", w.Body.String())
	assert.Equal(t, "/session/abc/about/", get(p, host+"/session/abc/go").Header().Get("Location"))
	for to, want := range map[string]int{
		host: 200, "https://EDIT.amelia.example:8443": 200, "http://127.0.0.1:8080": 200, "http://[::1]:8080": 200, "http://a.localhost": 200,
		"https://evil.example": 403, "https://edit.amelia.example.evil.example": 403, "https://xlocalhost": 403,
	} {
		assert.Equal(t, want, get(p, to+"/session/abc/").Code, to)
	}
	assert.Equal(t, http.StatusBadRequest, get(p, "https://evil.example/session/abc/", "Connection: Upgrade", "Upgrade: websocket").Code)
}
