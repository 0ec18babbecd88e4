package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
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

func TestReloadChangesWhatTheNextContainerIsStartedWith(t *testing.T) {
	e := startEdge(t)
	path := e.session()
	live := e.live()
	route, _ := live.service.Route(strings.Split(path, "/")[2])
	runner := fmt.Sprintf("runner process {\nbinary %s\napi_upstream http://127.0.0.1:9\n}", containerboot)
	require.NoError(t, e.load("", runner))
	assert.Same(t, live, e.live())
	again, ok := live.service.Route(strings.Split(path, "/")[2])
	require.True(t, ok)
	assert.Same(t, route, again, "the container runs on")
	require.Error(t, e.load("", "runner process {\nbinary /dev/null/none\n}"))
	assert.Equal(t, http.StatusOK, e.get(path).status)
}

func TestVisitorsFaultCostsNobodyTheContainer(t *testing.T) {
	e := startEdge(t)
	path := e.session()
	route, _ := e.live().service.Route(strings.Split(path, "/")[2])
	for range 20 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST %sform HTTP/1.1\r\nHost: edit.acme.test\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", path)
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NoError(t, conn.Close())
		// The container may answer before it has read the body.
		assert.Contains(t, []int{http.StatusBadRequest, http.StatusMethodNotAllowed}, res.StatusCode)
		assert.Equal(t, http.StatusOK, e.get(path).status)
	}
	again, ok := e.live().service.Route(strings.Split(path, "/")[2])
	require.True(t, ok)
	assert.Same(t, route, again)
}

func TestFailedSessionTellsVisitorsTheCauseOnly(t *testing.T) {
	e := startEdge(t)
	require.NoError(t, os.RemoveAll(filepath.Join(e.data, "acme.git")))
	created := e.do(http.MethodPost, "edit.acme.test", "/new", http.Header{"Sec-Fetch-Site": {"same-origin"}})
	path := created.header.Get("Location")
	var status answer
	require.Eventually(t, func() bool {
		status = e.do(http.MethodGet, "edit.acme.test", path+"api/status", nil)
		return strings.Contains(status.body, `"status":"failed"`)
	}, patience, 20*time.Millisecond)
	assert.Equal(t, http.StatusServiceUnavailable, status.status)
	assert.Contains(t, status.body, `"phase":"failed"`)
	assert.Contains(t, status.body, `"cause":`)
	assert.NotContains(t, status.body, "detail")
	var page answer // but for while another attempt is made
	require.Eventually(t, func() bool {
		page = e.get(path)
		return page.status != http.StatusAccepted
	}, patience, 20*time.Millisecond)
	assert.Equal(t, http.StatusServiceUnavailable, page.status)
	assert.Contains(t, page.body, `class="cause"`)
}

func TestPassiveAgentsWakeNothing(t *testing.T) {
	e := startEdge(t)
	require.NoError(t, e.load("passive_agents UptimeRobot"))
	path := e.session()
	id := strings.Split(path, "/")[2]
	require.NoError(t, e.live().service.Sleep(context.Background(), id, "test"))
	robot := e.do(http.MethodGet, "edit.acme.test", path, http.Header{
		"User-Agent": {"Mozilla/5.0 (compatible; UptimeRobot/2.0)"}, "Accept": {"text/html"},
	})
	assert.Equal(t, http.StatusServiceUnavailable, robot.status)
	rec, err := e.live().service.Get(context.Background(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusInactive, rec.Status)
}

func TestProxyOfAJSONConfigurationCannotBypassTheRouter(t *testing.T) {
	for want, raw := range map[string]string{
		"upstreams":     `{"handler":"reverse_proxy","upstreams":[{"dial":"localhost:9"}]}`,
		"must be rever": `{"handler":"static_response"}`,
		"only http":     `{"handler":"reverse_proxy","transport":{"protocol":"fastcgi"}}`,
		"load balanc":   `{"handler":"reverse_proxy","load_balancing":{"retries":3}}`,
	} {
		_, err := completeProxy(json.RawMessage(raw))
		require.ErrorContains(t, err, want)
	}
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
	require.ErrorIs(t, err, caddytls.ErrPermissionDenied, "anything else would be logged at each handshake")
	assert.ErrorContains(t, err, "no routing table yet", "not knowing is told apart from denying")
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
	// What goes on in the background allocates, too, but not all the time.
	require.Eventually(t, func() bool {
		allocs := testing.AllocsPerRun(1000, func() {
			req := request{r: r, live: live}
			h.resolve(&req)
			if edge.Decide(req.traits, req.target, req.known).Action != edge.Proxy {
				t.Error("not proxied")
			}
		})
		return allocs <= 1 // the request itself
	}, patience, 10*time.Millisecond)
}
