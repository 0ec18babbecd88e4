package caddymodule

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// asker is all that an edge may say to what has not proved itself.
var asker = regexp.MustCompile(`\A(POST /\.boot/proof HTTP/1\.1\r\nHost: container\r\nContent-Type: application/json\r\nContent-Length: 76\r\n\r\n\{"nonce":"[0-9a-f]{64}"\})*\z`)

// TestAddressGoesToAStranger ends a session's container and gives its address away.
func TestAddressGoesToAStranger(t *testing.T) {
	e, s := startStaged(t, nil)
	says := func(text string) func(net.Conn, *http.Request, *bufio.Reader) bool {
		return func(conn net.Conn, _ *http.Request, _ *bufio.Reader) bool {
			_, _ = io.WriteString(conn, text)
			return true
		}
	}
	const foreign = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\nforeign"
	for name, stranger := range map[string]func(net.Conn, *http.Request, *bufio.Reader) bool{
		"a web server":          says(foreign),
		"an impostor":           says(strings.Replace(foreign, "\r\n", "\r\nX-Webordinary-Proof: "+strings.Repeat("0", 32)+"\r\n", 1)),
		"one with early hints":  says("HTTP/1.1 103 Early Hints\r\nLink: </foreign>\r\n\r\n" + foreign),
		"one that wants bodies": says("HTTP/1.1 100 Continue\r\n\r\n" + foreign),
		"one that upgrades":     says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nforeign"),
		"another container": func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool {
			return answerProof(conn, r, "another token")
		},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, visit := range map[string]func(path string) answer{
				"document": e.get,
				"upload": func(path string) answer {
					return e.send(t, http.MethodPost, path, "secret of a visitor", nil)
				},
				"socket": func(path string) answer {
					return e.send(t, http.MethodGet, path, "", http.Header{
						"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Sec-Websocket-Version": {"13"},
					})
				},
			} {
				path := e.awake()
				require.Contains(t, e.get(path).body, "Epoch 1.")
				heard := new(recording)
				serveRaw(t, s.of(path).takeAddress(t), heard, stranger)

				got := visit(path)
				want := http.StatusServiceUnavailable
				switch kind {
				case "document":
					want = http.StatusAccepted
					assert.Contains(t, got.header.Get("Content-Type"), "text/html")
				case "upload": // of which nothing was sent yet: it is held
					want = http.StatusOK
					assert.Contains(t, got.body, "Epoch 2.")
				}
				assert.Equal(t, want, got.status, kind)
				assert.NotContains(t, got.body+fmt.Sprint(got.header), "foreign", kind)
				require.Eventually(t, func() bool {
					got := e.do(http.MethodGet, "edit.acme.test", path, http.Header{"Sec-Fetch-Mode": {"navigate"}, "Prefer": {"wait=60"}})
					return got.status == http.StatusOK && strings.Contains(got.body, "Epoch 2.")
				}, patience, 10*time.Millisecond, "it is woken again")
				assert.Regexp(t, asker, heard.String())
			}
		})
	}
}

// send is do with a body, in which nothing may be relayed before the answer.
func (e *testEdge) send(t *testing.T, method, path, body string, header http.Header) answer {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			t.Errorf("relayed %d", code)
			return nil
		},
	})
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("http://127.0.0.1:%d%s", e.port, path), strings.NewReader(body))
	require.NoError(t, err)
	req.Host = "edit.acme.test"
	maps.Copy(req.Header, header)
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{status: res.StatusCode, header: res.Header, body: string(got)}
}

// TestNothingIsSentTwice has a site take a request and hang up.
func TestNothingIsSentTwice(t *testing.T) {
	var uploads atomic.Int64
	e, _ := startStaged(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
			uploads.Add(1)
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "page")
	})
	path := e.awake()
	require.Equal(t, "page", e.get(path).body, "so that there is a connection to use again")
	for n := range 3 {
		require.Eventually(t, func() bool { return e.get(path).body == "page" }, patience, 5*time.Millisecond)
		got := e.send(t, http.MethodPost, path, "once", http.Header{"Idempotency-Key": {"x"}})
		assert.Equal(t, http.StatusServiceUnavailable, got.status)
		assert.Equal(t, int64(n+1), uploads.Load())
	}
}

// TestWhatASiteMayDo: what goes through untouched, and what is cut off as the site cuts it.
func TestWhatASiteMayDo(t *testing.T) {
	e, _ := startStaged(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/hints"):
			w.Header().Set("Link", "</x.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "hinted")
		case strings.HasSuffix(r.URL.Path, "/upload"):
			_, _ = io.Copy(w, r.Body)
		case strings.HasSuffix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "/cut-stream"):
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case strings.HasSuffix(r.URL.Path, "/socket"):
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s: %s\r\n\r\n",
				bootapi.HeaderProof, w.Header().Get(bootapi.HeaderProof))
			_, _ = io.Copy(conn, rw)
		}
	})
	path := e.awake()
	base := fmt.Sprintf("http://127.0.0.1:%d%s", e.port, path)
	request := func(method, rest string, body io.Reader, hooks *httptrace.ClientTrace) *http.Response {
		req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), hooks), method, base+rest, body)
		require.NoError(t, err)
		req.Host = "edit.acme.test"
		if method == http.MethodPost {
			req.Header.Set("Expect", "100-continue")
		}
		res, err := (&http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: patience}).RoundTrip(req)
		require.NoError(t, err)
		t.Cleanup(func() { res.Body.Close() })
		return res
	}

	var hints []textproto.MIMEHeader
	res := request(http.MethodGet, "hints", nil, &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { //nolint:bodyclose // closed by Cleanup
		hints = append(hints, h)
		return nil
	}})
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "hinted", string(body))
	require.Len(t, hints, 1)
	assert.Equal(t, "</x.css>; rel=preload", hints[0].Get("Link"))
	for _, h := range []http.Header{http.Header(hints[0]), res.Header} {
		for name := range h {
			assert.False(t, strings.HasPrefix(name, bootapi.HeaderPrefix), name)
		}
	}

	res = request(http.MethodPost, "upload", strings.NewReader("all of it"), new(httptrace.ClientTrace)) //nolint:bodyclose // closed by Cleanup
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "all of it", string(body), "a client that waits for 100 gets it")

	for _, rest := range []string{"cut", "cut-stream"} {
		res = request(http.MethodGet, rest, nil, new(httptrace.ClientTrace)) //nolint:bodyclose // closed by Cleanup
		body, err = io.ReadAll(res.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "no answer that was cut short looks whole")
		assert.Equal(t, "begun", string(body))
	}

	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET %ssocket HTTP/1.1\r\nHost: edit.acme.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\necho", path)
	in := bufio.NewReader(conn)
	res, err = http.ReadResponse(in, nil) //nolint:bodyclose // there is none
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	assert.Empty(t, res.Header[bootapi.HeaderProof])
	echo := make([]byte, 4)
	_, err = io.ReadFull(in, echo)
	require.NoError(t, err)
	assert.Equal(t, "echo", string(echo))
}

// TestClaimsReachTheirContainerAlone puts others where a container is awaited: one that
// knows no hash, twice, one of an older epoch, and one that repeats what it overheard.
func TestClaimsReachTheirContainerAlone(t *testing.T) {
	e, s := startStaged(t, nil)
	heard := new(recording)
	var asked atomic.Int64
	var mu sync.Mutex // guards what follows
	nonces := make(map[string]bool)
	var overheard string
	s.place = func(a *actor) {
		old := bootapi.HashToken("the token of an earlier epoch")
		in, first := make(chan struct{}), a.ln
		serveRaw(t, first, heard, func(conn net.Conn, r *http.Request, _ *bufio.Reader) bool {
			var req bootapi.ProofRequest
			if json.NewDecoder(r.Body).Decode(&req) != nil {
				return false
			}
			n := asked.Add(1)
			mu.Lock()
			defer mu.Unlock()
			assert.False(t, nonces[req.Nonce], "a nonce comes once")
			nonces[req.Nonce] = true
			proof := ""
			switch n {
			case 1, 2: // knows nothing
			case 3:
				proof, _ = bootapi.MakeProof(old, req.Nonce)
				overheard, _ = bootapi.MakeProof(a.req.TokenHash, bootapi.NewNonce())
			case 4:
				proof = overheard
			case 5:
				close(in)
			}
			body := fmt.Sprintf(`{"proof":%q}`, proof)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			return n < 5
		})
		go func() {
			<-in
			_ = first.Close()
			again := time.NewTicker(time.Millisecond)
			defer again.Stop()
			for t.Context().Err() == nil {
				<-again.C
				if ln, err := net.Listen("tcp", a.address); err == nil {
					a.listen(ln)
					return
				}
			}
		}()
	}
	path := e.awake()
	a := s.of(path)
	assert.GreaterOrEqual(t, asked.Load(), int64(5))
	assert.Regexp(t, asker, heard.String(), "nothing else was said to them")
	claim := a.claimed()
	require.NotNil(t, claim)
	assert.Equal(t, stageKey, string(claim.Site.DeployKey))
	// The container itself heard the claim only after it had proved itself, each time.
	for _, part := range strings.SplitAfter(a.heard.String(), "POST /.boot/claim") {
		if before, ok := strings.CutSuffix(part, "POST /.boot/claim"); ok {
			assert.Regexp(t, asker, before)
		}
	}
	assert.Contains(t, e.get(path).body, "It works.")
	id := strings.Split(path, "/")[2]

	// By the public edge nobody gets at what is private, whatever they call it.
	before := a.asked(bootapi.PathClaim) + a.asked(bootapi.PathQuiesce)
	for _, target := range []string{
		"/.boot/claim", "/.boot/", "/.boot", "//.boot/claim", "/.BOOT/claim", "/%2eboot/claim", "/%2Eboot%2Fclaim", "/.boot%2fclaim",
		"/.boot;x/claim", "/.boot/claim;x", "/./.boot/claim", "/x/../.boot/claim", "/%252eboot/claim", "/.b%6fot/claim", `/\.boot\claim`,
		"/session/" + id + "/.boot/claim", "/session/" + id + "//.boot/claim", "/session/" + id + "/%2eboot/claim", "/session/" + id + "/../../.boot/claim",
		"/session/" + id + "/%2e%2e/%2e%2e/.boot/claim", "/session/" + id + "/..%2f..%2f.boot/claim", "/session/" + id + "/x/..;/.boot/claim",
		"/session/" + id + "/.boot/quiesce?x", "http://edit.acme.test/.boot/claim", "http://edit.acme.test/session/" + id + "/.boot/claim",
		"http://" + a.address + "/.boot/claim", "http:.boot/claim", "*", "/.boot/claim%00", "/.boot/claim#x",
	} {
		for _, host := range []string{"edit.acme.test", "EDIT.acme.test.", "edit.acme.test:80", a.address, "container"} {
			for _, cookie := range []string{"", "Cookie: webordinary_session=" + id + "\r\n"} {
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port))
				require.NoError(t, err)
				body, err := json.Marshal(claim)
				require.NoError(t, err)
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%sX-Webordinary-Token: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", target, host, cookie, len(body), body)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err, target)
				assert.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed}, res.StatusCode, "%s at %s", target, host)
				require.NoError(t, res.Body.Close())
				require.NoError(t, conn.Close())
			}
		}
	}
	assert.Equal(t, before, a.asked(bootapi.PathClaim)+a.asked(bootapi.PathQuiesce))
}
