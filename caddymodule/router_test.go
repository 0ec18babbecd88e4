package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/edge"
)

func TestSessionFromNothingToSite(t *testing.T) {
	e := startEdge(t)

	page := e.get("/new")
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "<form")

	path := e.session()
	site := e.get(path)
	assert.Equal(t, http.StatusOK, site.status)
	assert.Contains(t, site.header.Get("Set-Cookie"), "webordinary_session="+strings.Split(path, "/")[2])

	health := e.do(http.MethodGet, "edit.acme.test", path+"api/health", nil)
	assert.Equal(t, http.StatusOK, health.status)

	assert.Equal(t, http.StatusNotFound, e.do(http.MethodGet, "edit.nobody.test", path, nil).status)
	assert.Equal(t, http.StatusOK, e.do(http.MethodGet, "EDIT.acme.PATTERN.test.:80", path, nil).status,
		"the operator's pattern gives the client a second host")
	assert.Equal(t, http.StatusNotFound, e.get(path+"../../.boot/quiesce").status)
	private := e.do(http.MethodPost, "edit.acme.test", "/.boot/quiesce", http.Header{
		"Cookie": {"webordinary_session=" + strings.Split(path, "/")[2]},
	})
	assert.Equal(t, http.StatusNotFound, private.status, "the edge's own calls are no visitor's")
}

func TestReloadKeepsSessionsAndTunables(t *testing.T) {
	e := startEdge(t)
	path := e.session()
	state, live := e.app().state, e.live()
	id := strings.Split(path, "/")[2]
	route, ok := live.service.Route(id)
	require.True(t, ok)

	require.NoError(t, e.load("hold_timeout 5s", "idle_timeout 7m"))
	assert.Same(t, state, e.app().state, "a changed tunable is the same state")
	require.Len(t, state.configs, 1)
	assert.Equal(t, 7*time.Minute, time.Duration(state.configs[0].IdleTimeout))

	require.Error(t, e.load("", "config_store embedded {\npath /dev/null/none.db\n}"), "a store that cannot be opened")
	assert.Same(t, live, e.live())
	require.Len(t, state.configs, 1, "a failed reload leaves the old configuration in force")
	assert.Equal(t, 7*time.Minute, time.Duration(state.configs[0].IdleTimeout))
	require.Error(t, e.load("new_sessions maybe"))

	again, ok := live.service.Route(id)
	require.True(t, ok)
	assert.Same(t, route, again, "the container runs on")
	assert.Equal(t, http.StatusOK, e.get(path).status)
}

func TestPermission(t *testing.T) {
	e := startEdge(t)
	p := &Permission{app: e.app()}
	ctx := context.Background()
	assert.NoError(t, p.CertificateAllowed(ctx, "edit.acme.test"))
	assert.NoError(t, p.CertificateAllowed(ctx, "edit.acme.pattern.test"))
	for _, name := range []string{"", "edit.nobody.test", "acme.test", "a.edit.acme.test", "127.0.0.1", "*.acme.test", strings.Repeat("a", 300)} {
		require.ErrorIs(t, p.CertificateAllowed(ctx, name), caddytls.ErrPermissionDenied, name)
	}
	err := (&Permission{app: &App{state: new(state)}}).CertificateAllowed(ctx, "edit.acme.test")
	require.Error(t, err)
	assert.NotErrorIs(t, err, caddytls.ErrPermissionDenied, "not knowing is not denying")
}

// The way to a decision costs a request of an active session no allocation beyond the
// few that net/url and net/http make on their own.
func TestDecisionAllocations(t *testing.T) {
	e := startEdge(t)
	path := e.session()
	h := &Router{app: e.app(), NewSessions: newSessionsOpen}
	r := httptest.NewRequest(http.MethodGet, "http://edit.acme.test"+path, nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	live := e.live()
	allocs := testing.AllocsPerRun(1000, func() {
		req := request{r: r, live: live}
		h.resolve(&req)
		if edge.Decide(req.traits, req.target, req.known).Action != edge.Proxy {
			t.Fatal("not proxied")
		}
	})
	assert.LessOrEqual(t, allocs, 1.0, "the request itself")
}
