package caddymodule

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// through sends a request over the transport to a server, as the route's.
func through(t *testing.T, tr http.RoundTripper, server *httptest.Server, route *sessions.Route, passive bool, header http.Header) (*http.Response, error) {
	t.Helper()
	u, err := url.Parse(server.URL + "/")
	require.NoError(t, err)
	vars := map[string]any{routeVar: route}
	if passive {
		vars[passiveVar] = true
	}
	ctx := context.WithValue(context.Background(), caddyhttp.VarsCtxKey, vars)
	req := (&http.Request{Method: http.MethodGet, URL: u, Header: header, Host: "edit.acme.test"}).WithContext(ctx)
	before := header.Clone()
	res, err := tr.RoundTrip(req)
	// reverse_proxy logs the request that it gave us: the token must not be in it.
	require.Equal(t, before, req.Header)
	require.Equal(t, server.URL+"/", req.URL.String())
	return res, err
}

// newTransport is a Transport whose connections all go to the server, whatever the URL's host.
func newTransport(t *testing.T, server *httptest.Server) *Transport {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	tr := new(Transport)
	require.NoError(t, tr.Provision(ctx))
	inner := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	t.Cleanup(inner.CloseIdleConnections)
	tr.http = inner
	return tr
}

func TestTransportSaysWhoItIsAndStripsWhatVisitorsMayNotSay(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer server.Close()
	tr := newTransport(t, server)
	route := &sessions.Route{SessionID: "one", Token: "secret", Prefix: "/session/one", PoolKey: "3.one"}

	res, err := through(t, tr, server, route, false, http.Header{
		"X-Webordinary-Token":    {"forged"},
		"X-Webordinary-Activity": {"none"},
		"X-Webordinary-Other":    {"x"},
		"Cookie":                 {"a=1; webordinary_session=one; b=2"},
	})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, []string{"secret"}, got[bootapi.HeaderToken])
	assert.Equal(t, []string{"/session/one"}, got["X-Forwarded-Prefix"])
	assert.NotContains(t, got, "X-Webordinary-Other")
	assert.NotContains(t, got, bootapi.HeaderActivity)
	assert.Equal(t, "a=1; b=2", got.Get("Cookie"))

	res, err = through(t, tr, server, route, true, http.Header{})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, bootapi.ActivityNone, got.Get(bootapi.HeaderActivity))
}

func TestTransportTellsAContainersRefusalFromTheSites(t *testing.T) {
	refusal := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refusal != "" {
			w.Header().Set(bootapi.HeaderRefused, refusal)
		}
		w.WriteHeader(http.StatusMisdirectedRequest)
	}))
	defer server.Close()
	tr := newTransport(t, server)
	route := &sessions.Route{SessionID: "one", Token: "secret", PoolKey: "1.one"}

	res, err := through(t, tr, server, route, false, http.Header{})
	require.NoError(t, err, "a site may answer 421 too")
	require.NoError(t, res.Body.Close())
	refusal = "token"
	_, err = through(t, tr, server, route, false, http.Header{}) //nolint:bodyclose // an error comes without one
	require.ErrorIs(t, err, errMisdirected)
}

func TestTransportKeepsConnectionsOfEpochsApart(t *testing.T) {
	var conns int
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns++
		}
	}
	server.Start()
	defer server.Close()
	tr := newTransport(t, server)
	for _, key := range []string{"1.one", "1.one", "2.one"} {
		res, err := through(t, tr, server, &sessions.Route{SessionID: "one", PoolKey: key}, false, http.Header{})
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	assert.Equal(t, 2, conns, "the second request uses the first one's connection, the third must not")
}
