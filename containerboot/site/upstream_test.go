package site_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/site"
)

// proxied starts an upstream and a proxy to it, and returns the proxy's address.
func proxied(t *testing.T, upstream http.HandlerFunc) *httptest.Server {
	t.Helper()
	origin := httptest.NewServer(upstream)
	t.Cleanup(origin.Close)
	h, err := site.NewUpstream(origin.URL)
	require.NoError(t, err)
	proxy := httptest.NewServer(h)
	t.Cleanup(proxy.Close)
	return proxy
}

func TestUpstreamGetsTheRequestAsItArrived(t *testing.T) {
	var got *http.Request
	proxy := proxied(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r
		w.Header().Set("X-Agent", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(body)
	})
	r, _ := http.NewRequest(http.MethodPost, proxy.URL+"/api/a%2Fb?x=1;y=%zz", strings.NewReader("hello"))
	r.Host = "edit.amelia.example.com"
	forwarded := map[string]string{
		"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "edit.amelia.example.com",
		"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/session/abc", "Forwarded": "for=203.0.113.7",
	}
	for name, value := range forwarded {
		r.Header.Set(name, value)
	}
	resp, err := proxy.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	assert.Equal(t, http.StatusTeapot, resp.StatusCode)
	assert.Equal(t, "yes", resp.Header.Get("X-Agent"))
	assert.Equal(t, "hello", string(body))
	assert.Equal(t, "/api/a%2Fb?x=1;y=%zz", got.RequestURI)
	assert.Equal(t, "edit.amelia.example.com", got.Host)
	for name, value := range forwarded {
		assert.Equal(t, []string{value}, got.Header[name], name)
	}
}

// TestUpstreamCannotSpeakForTheContainer has an agent answer what the edge would take
// for the container's own refusal.
func TestUpstreamCannotSpeakForTheContainer(t *testing.T) {
	proxy := proxied(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(bootapi.HeaderRefused, "token")
		w.Header()["x-webordinary-odd"] = []string{"x"}
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusSwitchingProtocols)
			return
		}
		w.WriteHeader(http.StatusMisdirectedRequest)
	})
	for _, upgrade := range []string{"", "websocket"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy.URL, nil)
		require.NoError(t, err)
		if upgrade != "" {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", upgrade)
		}
		resp, err := proxy.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		for name := range resp.Header {
			assert.False(t, strings.HasPrefix(name, bootapi.HeaderPrefix), "%d: %s", resp.StatusCode, name)
		}
	}
}

func TestUpstreamStreams(t *testing.T) {
	next := make(chan struct{})
	proxy := proxied(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "first")
		w.(http.Flusher).Flush()
		<-next
		fmt.Fprintln(w, "second")
	})
	resp, err := proxy.Client().Get(proxy.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n') // while the upstream waits
	require.NoError(t, err)
	assert.Equal(t, "first\n", line)
	close(next)
	line, err = lines.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "second\n", line)
}

func TestUpstreamCarriesSockets(t *testing.T) {
	proxy := proxied(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "websocket", r.Header.Get("Upgrade"))
		conn, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		rw.Flush()
		_, _ = io.Copy(conn, rw) // an echo
	})
	conn, err := net.Dial("tcp", proxy.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "GET /api/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil) //nolint:bodyclose // the connection is the test's to close
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	for _, word := range []string{"one\n", "two\n"} {
		fmt.Fprint(conn, word)
		back, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, word, back)
	}
}

func TestUpstreamDown(t *testing.T) {
	h, err := site.NewUpstream("http://127.0.0.1:1") // where nobody listens, nor ever will
	require.NoError(t, err)
	w := get(h, "/api/x")
	assert.Equal(t, http.StatusBadGateway, w.Code)
	assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
	assert.Equal(t, "The editing agent does not answer.\n", w.Body.String())
}

func TestUpstreamOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"http://127.0.0.1:9000": true, "http://agent:9000/": true, "http://[::1]:9000": true,
		"": false, "agent:9000": false, "https://agent:9000": false, "http://agent": false, "http://:9000": false,
		"http://agent:9000/path": false, "http://agent:9000?x": false, "http://agent:9000#x": false,
		"http://u:p@agent:9000": false, "http://agent:x": false, "ws://agent:9000": false, "http://agent:9000//": false,
	} {
		_, err := site.NewUpstream(origin)
		assert.Equal(t, ok, err == nil, "%q: %v", origin, err)
		if err != nil {
			assert.NotContains(t, err.Error(), "u:p@")
		}
	}
}
