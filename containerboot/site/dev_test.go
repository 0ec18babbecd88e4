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
	"const directSocketHost = \"localhost:4321/\";\nconst base = \"/\" || \"/\";\n"

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
		"const directSocketHost = socketHost;\nconst base = \"/session/abc/\";\n", get("/session/abc/@vite/client"))
	assert.Equal(t, viteClient, get("/session/abc/src/other.js"), "another script")
	get("/session/abc/.webordinary/hmr/own/?token=x%2F")
	get("/about/")
	assert.Equal(t, []string{
		"/session/abc/@vite/client ", "/session/abc/src/other.js br", "/own/?token=x%2F br", "/session/abc/about/ br",
	}, asked)
}
