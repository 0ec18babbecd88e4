package containerboot_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestEveryAnswerIsProved asks a container whose agent says what only containerboot may.
func TestEveryAnswerIsProved(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 100)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Clone()
		w.Header().Set(bootapi.HeaderProof, "forged")
		w.Header().Set("X-Webordinary-Else", "forged")
		switch r.URL.Path {
		case "/api/hints":
			w.Header().Set("Link", "</x.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "hinted")
		case "/api/nothing":
		case "/api/flushed":
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "flushed")
		case "/api/refused":
			w.Header().Set(bootapi.HeaderRefused, "token")
			w.WriteHeader(http.StatusMisdirectedRequest)
		case "/api/broken":
			panic(http.ErrAbortHandler)
		case "/api/socket":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 103 Early Hints\r\nX-Webordinary-Proof: forged\r\n\r\n")
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Webordinary-Proof: forged\r\n\r\nswitched")
		}
	}))
	t.Cleanup(agent.Close)
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c := w.start("s1", claim.Token, "API_UPSTREAM="+agent.URL)
	resp := c.request(http.MethodGet, "/", nil) //nolint:bodyclose // closed by Cleanup
	assert.Empty(t, resp.Header[bootapi.HeaderProof], "of no epoch before the claim")
	code, _ := c.post(bootapi.PathClaim, claim)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, bootapi.PhaseReady, c.settled().Phase)
	proof := []string{bootapi.ResponseProof(claim.Token, "s1", claim.Epoch)}

	for _, tc := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"GET", "/session/s1/", 200},
		{"GET", "/no/such/page", 404},
		{"GET", "/session/s2/", 404},
		{"GET", bootapi.PathHealth, 200},
		{"POST", bootapi.PathHealth, 405},
		{"GET", bootapi.PathEvents, 200},
		{"POST", bootapi.PathSave, 200},
		{"POST", bootapi.PathQuiesce, 400},
		{"GET", "/.boot/other", 404},
		{"GET", "/api/nothing", 200},
		{"GET", "/api/flushed", 200},
		{"GET", "/api/refused", 421},
		{"GET", "/api/broken", 502},
	} {
		resp := c.request(tc.method, tc.path, nil) //nolint:bodyclose // closed by Cleanup
		assert.Equal(t, tc.code, resp.StatusCode, tc.path)
		assert.Equal(t, proof, resp.Header[bootapi.HeaderProof], tc.path)
		assert.Empty(t, resp.Header["X-Webordinary-Else"], tc.path)
		assert.Empty(t, resp.Header[bootapi.HeaderRefused], tc.path)
	}

	var hints []textproto.MIMEHeader
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			assert.Equal(t, http.StatusEarlyHints, code)
			hints = append(hints, header)
			return nil
		},
	}), http.MethodGet, c.url+"/api/hints", nil)
	require.NoError(t, err)
	r.Header.Set(bootapi.HeaderToken, c.token)
	r.Header.Set("X-Webordinary-Else", "of a visitor")
	resp, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, proof, resp.Header[bootapi.HeaderProof])
	require.Len(t, hints, 2)
	for _, h := range hints {
		assert.Equal(t, proof, h[bootapi.HeaderProof])
		assert.Empty(t, h["X-Webordinary-Else"])
		assert.NotEmpty(t, h["Link"])
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s: %s\r\n\r\n", bootapi.HeaderToken, c.token)
	in := bufio.NewReader(conn)
	for _, code := range []int{http.StatusEarlyHints, http.StatusSwitchingProtocols} {
		resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // there is none
		require.NoError(t, err)
		assert.Equal(t, code, resp.StatusCode)
		assert.Equal(t, proof, resp.Header[bootapi.HeaderProof])
	}
	switched := make([]byte, 8)
	_, err = io.ReadFull(in, switched)
	require.NoError(t, err)
	assert.Equal(t, "switched", string(switched))

	close(seen)
	for header := range seen {
		for name := range header {
			assert.False(t, strings.HasPrefix(name, bootapi.HeaderPrefix), name)
		}
	}
}

// TestNoProofWithoutTheToken: it would serve an impostor.
func TestNoProofWithoutTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	for _, path := range []string{"/", "/session/s1/", bootapi.PathHealth, bootapi.PathProof, bootapi.PathClaim, bootapi.PathQuiesce, "/.boot/other"} {
		for _, token := range []string{"", "x", bootapi.NewToken(), bootapi.HashToken(c.token)} {
			resp := c.request(http.MethodPost, path, nil, bootapi.HeaderToken, token, "Authorization", "Bearer "+token) //nolint:bodyclose // closed by Cleanup
			assert.GreaterOrEqual(t, resp.StatusCode, 400)
			assert.Empty(t, resp.Header[bootapi.HeaderProof], path)
		}
	}
}
