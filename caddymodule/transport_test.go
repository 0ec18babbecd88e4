package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

const testToken = "the-token-of-session-one"

// proofOf answers a ProofRequest as the container with a token does.
func proofOf(w http.ResponseWriter, r *http.Request, token string) {
	var req bootapi.ProofRequest
	if json.NewDecoder(r.Body).Decode(&req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	proof, err := bootapi.MakeProof(bootapi.HashToken(token), req.Nonce)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(bootapi.Proof{Proof: proof})
}

// signed is a container's handler: it proves itself on connections, and its site's
// answers as those of session "one" in epoch 1.
func signed(site http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == bootapi.PathProof {
			proofOf(w, r, testToken)
			return
		}
		w.Header().Set(bootapi.HeaderProof, bootapi.ResponseProof(testToken, "one", 1))
		site(w, r)
	})
}

// testRoute is the way to session "one" at an address.
func testRoute(address string) *sessions.Route {
	return &sessions.Route{
		SessionID: "one", Token: testToken, Prefix: "/session/one", Epoch: 1, Address: address,
		Proof: bootapi.ResponseProof(testToken, "one", 1),
	}
}

func routeTo(server *httptest.Server) *sessions.Route {
	return testRoute(server.Listener.Addr().String())
}

// newTransport is a Transport as a configuration without settings has one.
func newTransport(t *testing.T) *Transport {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	tr := new(Transport)
	require.NoError(t, tr.Provision(ctx))
	t.Cleanup(func() { require.NoError(t, tr.Cleanup()) })
	return tr
}

// asked is a request for a route, as reverse_proxy makes it.
func asked(t *testing.T, route *sessions.Route, method string, body io.Reader) *http.Request {
	t.Helper()
	ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, map[string]any{routeVar: route})
	req, err := http.NewRequestWithContext(ctx, method, "http://"+route.Address+"/", body)
	require.NoError(t, err)
	req.Host = "edit.acme.test"
	req.URL.Scheme = "" // the transport's to set
	return req
}

// through sends a request over the transport, as the route's.
func through(t *testing.T, tr http.RoundTripper, route *sessions.Route, passive bool, header http.Header) (*http.Response, error) {
	t.Helper()
	vars := map[string]any{routeVar: route}
	if passive {
		vars[passiveVar] = true
	}
	ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, vars)
	req := (&http.Request{Method: http.MethodGet, URL: &url.URL{Host: route.Address, Path: "/"}, Header: header, Host: "edit.acme.test"}).WithContext(ctx)
	before := header.Clone()
	res, err := tr.RoundTrip(req)
	// reverse_proxy logs the request that it gave us: the token must not be in it.
	require.Equal(t, before, req.Header)
	require.Equal(t, "//"+route.Address+"/", req.URL.String())
	return res, err
}

// requireLost checks that an error costs the session its route.
func requireLost(t *testing.T, err error) {
	t.Helper()
	var lost *lostError
	require.ErrorAs(t, err, &lost)
}

// TestTransportDoesNotTakeItsOwnFaultsForTheContainers has the edge run out of files.
func TestTransportDoesNotTakeItsOwnFaultsForTheContainers(t *testing.T) {
	tr := newTransport(t)
	tr.pools.base = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	}}
	route := testRoute("192.0.2.1:80")
	_, err := through(t, tr, route, false, nil) //nolint:bodyclose // an error comes without one
	require.ErrorIs(t, err, syscall.EMFILE)
	var lost *lostError
	require.NotErrorAs(t, err, &lost)
	err = tr.pools.of(route).ask(t.Context(), route.Address)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.NotErrorAs(t, err, &lost)
}

func TestTransportSaysWhoItIsAndStripsWhatIsNotForOthers(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(signed(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("X-Webordinary-Anything", "x")
		w.Header().Set("X-Site", "y")
	}))
	defer server.Close()
	tr, route := newTransport(t), routeTo(server)

	res, err := through(t, tr, route, false, http.Header{
		"X-Webordinary-Token":    {"forged"},
		"X-Webordinary-Proof":    {"forged"},
		"X-Webordinary-Activity": {"none"},
		"X-Webordinary-Other":    {"x"},
		"Cookie":                 {"a=1; webordinary_session=one; b=2"},
	})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, []string{testToken}, got[bootapi.HeaderToken])
	assert.Equal(t, []string{"/session/one"}, got["X-Forwarded-Prefix"])
	for _, name := range []string{"X-Webordinary-Other", bootapi.HeaderActivity, bootapi.HeaderProof} {
		assert.NotContains(t, got, name)
	}
	assert.Equal(t, "a=1; b=2", got.Get("Cookie"))
	for name := range res.Header {
		assert.False(t, strings.HasPrefix(name, bootapi.HeaderPrefix), name)
	}
	assert.Equal(t, "y", res.Header.Get("X-Site"))

	res, err = through(t, tr, route, true, http.Header{})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, bootapi.ActivityNone, got.Get(bootapi.HeaderActivity))
}

func TestTransportTellsAContainersRefusalFromTheSites(t *testing.T) {
	wrong := false
	server := httptest.NewServer(signed(func(w http.ResponseWriter, _ *http.Request) {
		if wrong {
			w.Header().Del(bootapi.HeaderProof)
			w.Header().Set(bootapi.HeaderRefused, "token")
		}
		w.WriteHeader(http.StatusMisdirectedRequest)
	}))
	defer server.Close()
	tr, route := newTransport(t), routeTo(server)

	res, err := through(t, tr, route, false, http.Header{})
	require.NoError(t, err, "a site may answer 421 too")
	require.NoError(t, res.Body.Close())
	wrong = true
	_, err = through(t, tr, route, false, http.Header{}) //nolint:bodyclose // an error comes without one
	require.ErrorIs(t, err, errMisdirected)
	requireLost(t, err)
}

// TestTransportRelaysNothingWithoutAProof has what proved itself on the connection answer
// as something else afterwards.
func TestTransportRelaysNothingWithoutAProof(t *testing.T) {
	good := bootapi.ResponseProof(testToken, "one", 1)
	for name, answer := range map[string]string{
		"no proof":                       "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign",
		"an empty one":                   "HTTP/1.1 200 OK\r\nX-Webordinary-Proof:\r\nContent-Length: 7\r\n\r\nforeign",
		"another session's":              "HTTP/1.1 200 OK\r\nX-Webordinary-Proof: " + bootapi.ResponseProof(testToken, "two", 1) + "\r\nContent-Length: 7\r\n\r\nforeign",
		"another epoch's":                "HTTP/1.1 200 OK\r\nX-Webordinary-Proof: " + bootapi.ResponseProof(testToken, "one", 2) + "\r\nContent-Length: 7\r\n\r\nforeign",
		"another token's":                "HTTP/1.1 200 OK\r\nX-Webordinary-Proof: " + bootapi.ResponseProof("other", "one", 1) + "\r\nContent-Length: 7\r\n\r\nforeign",
		"two proofs":                     "HTTP/1.1 200 OK\r\nX-Webordinary-Proof: " + good + "\r\nX-Webordinary-Proof: x\r\nContent-Length: 7\r\n\r\nforeign",
		"an error":                       "HTTP/1.1 500 Oops\r\nContent-Length: 7\r\n\r\nforeign",
		"early hints":                    "HTTP/1.1 103 Early Hints\r\nLink: </foreign>\r\n\r\nHTTP/1.1 200 OK\r\nX-Webordinary-Proof: " + good + "\r\nContent-Length: 0\r\n\r\n",
		"100 and then foreign":           "HTTP/1.1 100 Continue\r\nLink: </foreign>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign",
		"a switch of protocols":          "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nforeign",
		"what is no answer":              "foreign",
		"an answer cut short":            "HTTP/1.1 200 OK\r\nX-Webordinary-Pr",
		"the proof of a trailer":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Webordinary-Proof\r\n\r\n0\r\nX-Webordinary-Proof: " + good + "\r\n\r\n",
		"early hints with another proof": "HTTP/1.1 103 Early Hints\r\nX-Webordinary-Proof: x\r\nLink: </foreign>\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			address := listenRaw(t, func(conn net.Conn, r *http.Request, in *bufio.Reader) bool {
				if r.URL.Path == bootapi.PathProof {
					return answerProof(conn, r, testToken)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(conn, answer)
				return false
			})
			tr := newTransport(t)
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				req := asked(t, testRoute(address), method, strings.NewReader("body"))
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "websocket")
				req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
						t.Errorf("relayed %d", code)
						return nil
					},
				}))
				_, err := tr.RoundTrip(req) //nolint:bodyclose // an error comes without one
				requireLost(t, err)
			}
		})
	}
}

// TestTransportSendsStrangersNothing has something else listen at the container's address.
func TestTransportSendsStrangersNothing(t *testing.T) {
	heard := ""
	proofs := func(token string) func(net.Conn, *http.Request, *bufio.Reader) bool {
		return func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool { return answerProof(conn, r, token) }
	}
	says := func(text string) func(net.Conn, *http.Request, *bufio.Reader) bool {
		return func(conn net.Conn, _ *http.Request, _ *bufio.Reader) bool {
			_, _ = io.WriteString(conn, text)
			return true
		}
	}
	for name, tc := range map[string]struct {
		serve    func(net.Conn, *http.Request, *bufio.Reader) bool
		stranger bool // it is known to be one
	}{
		"another container":       {proofs("another token"), true},
		"a web server":            {says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), true},
		"one that knows no paths": {says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), true},
		"one that redirects":      {says("HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), true},
		"one that wants more":     {says("HTTP/1.1 100 Continue\r\n\r\n"), true},
		"one with early hints":    {says("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), true},
		"one that replays": {func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool {
			var req bootapi.ProofRequest
			_ = json.NewDecoder(r.Body).Decode(&req)
			if heard == "" { // of a real container, once
				heard, _ = bootapi.MakeProof(bootapi.HashToken(testToken), bootapi.NewNonce())
			}
			body := fmt.Sprintf(`{"proof":%q}`, heard)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			return true
		}, true},
		"one that goes on": {func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool {
			var req bootapi.ProofRequest
			_ = json.NewDecoder(r.Body).Decode(&req)
			proof, _ := bootapi.MakeProof(bootapi.HashToken(testToken), req.Nonce)
			body := fmt.Sprintf(`{"proof":%q}`, proof)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign", len(body), body)
			return true
		}, true},
		"another protocol":   {says("SSH-2.0-OpenSSH_9.2\r\n"), true},
		"one without an end": {says("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), false},
		"one that hangs up":  {func(net.Conn, *http.Request, *bufio.Reader) bool { return false }, false},
		"one that is full":   {says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var bytes recording
			address := listenRecorded(t, &bytes, tc.serve)
			tr := newTransport(t)
			req := asked(t, testRoute(address), http.MethodPost, failOnRead{t})
			req.Header.Set("Cookie", "login=of-the-visitor")
			_, err := tr.RoundTrip(req) //nolint:bodyclose // an error comes without one
			requireLost(t, err)
			assert.Equal(t, tc.stranger, errors.Is(err, bootapi.ErrStranger), err)
			assert.Regexp(t, `\APOST /\.boot/proof HTTP/1\.1\r\nHost: container\r\nContent-Type: application/json\r\nContent-Length: 76\r\n\r\n\{"nonce":"[0-9a-f]{64}"\}\z`, bytes.String())
		})
	}
}

// TestTransportGivesUpOnWhatIsSilent covers addresses at which nothing is said: where
// nobody listens, where connections are taken and never answered, and where a container
// that has answered so far hangs.
func TestTransportGivesUpOnWhatIsSilent(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		_, err := newTransport(t).RoundTrip(asked(t, testRoute(address), http.MethodGet, nil)) //nolint:bodyclose // an error comes without one
		requireLost(t, err)
	})
	t.Run("never answers", func(t *testing.T) {
		t.Parallel()
		address := listenRaw(t, func(conn net.Conn, _ *http.Request, _ *bufio.Reader) bool {
			_, _ = io.Copy(io.Discard, conn)
			return false
		})
		_, err := newTransport(t).RoundTrip(asked(t, testRoute(address), http.MethodGet, nil)) //nolint:bodyclose // an error comes without one
		requireLost(t, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		var hanging atomic.Bool
		address := listenRaw(t, func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool {
			switch {
			case hanging.Load():
				_, _ = io.Copy(io.Discard, conn)
				return false
			case r.URL.Path == bootapi.PathProof:
				return answerProof(conn, r, testToken)
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%s: %s\r\nContent-Length: 2\r\n\r\nok", bootapi.HeaderProof, bootapi.ResponseProof(testToken, "one", 1))
			return true
		})
		tr, route := newTransport(t), testRoute(address)
		res, err := tr.RoundTrip(asked(t, route, http.MethodGet, nil))
		require.NoError(t, err)
		_, err = io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		hanging.Store(true)
		_, err = tr.RoundTrip(asked(t, route, http.MethodGet, nil)) //nolint:bodyclose // an error comes without one
		requireLost(t, err)
		require.ErrorContains(t, err, "silent")
	})
}

// TestTransportWaitsForASlowSite has a site take longer than a container may be silent.
func TestTransportWaitsForASlowSite(t *testing.T) {
	var proofs atomic.Int64
	answerNow := make(chan struct{})
	site := signed(func(w http.ResponseWriter, _ *http.Request) {
		<-answerNow
		_, _ = io.WriteString(w, "slow")
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == bootapi.PathProof && proofs.Add(1) == 3 {
			close(answerNow) // it was found to be alive
		}
		site.ServeHTTP(w, r)
	}))
	defer server.Close()
	tr, route := newTransport(t), routeTo(server)
	results := make(chan error, 2)
	for range 2 {
		req := asked(t, route, http.MethodGet, nil)
		go func() {
			res, err := tr.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			results <- err
		}()
	}
	require.NoError(t, <-results)
	require.NoError(t, <-results)
	assert.Equal(t, int64(3), proofs.Load(), "one for each connection, and one question for both")
}

// TestTransportKeepsConnectionsOfEpochsApart counts connections of two epochs, and of one
// whose configuration has ended.
func TestTransportKeepsConnectionsApart(t *testing.T) {
	var opened, closed atomic.Int64
	server := httptest.NewUnstartedServer(signed(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			closed.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	tr, first, second := newTransport(t), routeTo(server), routeTo(server)
	for _, route := range []*sessions.Route{first, first, second} {
		res, err := through(t, tr, route, false, http.Header{})
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	assert.Equal(t, int64(2), opened.Load(), "the second request uses the first one's connection, the third must not")
	assert.Zero(t, closed.Load())
	require.NoError(t, tr.Cleanup())
	require.Eventually(t, func() bool { return closed.Load() == 2 }, patience, time.Millisecond, "they end with their configuration")
	tr.pools.byRoute.Range(func(any, any) bool {
		t.Error("a pool is left")
		return true
	})
}

// failOnRead is a body that must not be read.
type failOnRead struct{ t *testing.T }

func (f failOnRead) Read([]byte) (int, error) {
	f.t.Error("the visitor's body was read")
	return 0, io.EOF
}
