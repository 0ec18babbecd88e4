package activity

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestWhatCounts(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		method string
		header map[string]string
		kind   string
	}{
		"a navigation":                      {"GET", map[string]string{"Sec-Fetch-Mode": "navigate"}, KindDocument},
		"a page for an old browser":         {"GET", map[string]string{"Accept": "text/html,*/*"}, KindDocument},
		"curl":                              {"GET", map[string]string{"Accept": "*/*"}, ""},
		"no Accept":                         {"GET", nil, ""},
		"a fetch that would take html":      {"GET", map[string]string{"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, ""},
		"an image":                          {"GET", map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, ""},
		"another Sec-Fetch header alone":    {"GET", map[string]string{"Sec-Fetch-Site": "none", "Accept": "text/html"}, ""},
		"a prefetched navigation":           {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Purpose": "prefetch"}, ""},
		"HEAD of a page":                    {"HEAD", map[string]string{"Accept": "text/html"}, ""},
		"a preflight":                       {"OPTIONS", map[string]string{"Sec-Fetch-Mode": "cors"}, ""},
		"POST":                              {"POST", nil, KindWrite},
		"DELETE":                            {"DELETE", nil, KindWrite},
		"a navigation of a monitor":         {"GET", map[string]string{"Sec-Fetch-Mode": "navigate", bootapi.HeaderActivity: "none"}, ""},
		"POST of a monitor":                 {"POST", map[string]string{bootapi.HeaderActivity: "none"}, ""},
		"a mark with another value":         {"POST", map[string]string{bootapi.HeaderActivity: "some"}, KindWrite},
		"a socket that is opened":           {"GET", map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Accept": "text/html"}, ""},
		"a navigation that names upgrade":   {"GET", map[string]string{"Upgrade": "h2c", "Accept": "text/html"}, KindDocument},
		"a GET with a body is a plain read": {"GET", map[string]string{"Content-Type": "application/json"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := New(newClock().now)
			r := httptest.NewRequest(tc.method, "/", strings.NewReader("x"))
			for k, v := range tc.header {
				r.Header.Set(k, v)
			}
			a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Empty(t, r.Header.Get(bootapi.HeaderActivity), "the mark must not go on")
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, "answer")
			})).ServeHTTP(httptest.NewRecorder(), r)
			_, kind := a.Idle()
			assert.Equal(t, tc.kind, kind)
			assert.Empty(t, a.flights, "nothing may stay under way")
		})
	}
}

func TestTransfersAndStreams(t *testing.T) {
	t.Parallel()
	serveAs := func(method, contentType string, begin bool, lasts time.Duration) string {
		c := newClock()
		a := New(c.now)
		r := httptest.NewRequest(method, "/", nil)
		var during string
		a.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			if begin {
				_, _ = io.WriteString(w, "first")
			}
			for range lasts / time.Minute {
				c.pass(time.Minute)
				if begin {
					_, _ = io.WriteString(w, "more")
				}
			}
			if idle, kind := a.Idle(); idle == 0 {
				during = kind
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		return during
	}
	serve := func(contentType string, begin bool) string {
		return serveAs(http.MethodGet, contentType, begin, time.Minute)
	}
	assert.Equal(t, KindTransfer, serve("video/mp4", true), "a long download counts")
	assert.Empty(t, serve("text/event-stream; charset=utf-8", true), "an open stream does not")
	assert.Empty(t, serve("application/json", false), "nor a poll that waits for its answer")
	assert.Equal(t, KindWrite, serveAs(http.MethodPost, "text/event-stream", true, 10*time.Minute), "an agent's answer does")
	assert.Empty(t, serveAs(http.MethodPost, "text/event-stream", true, time.Hour), "but not if it never ends")
	assert.Equal(t, KindWrite, serveAs(http.MethodPost, "application/json", true, time.Hour), "another answer does while it moves")
}

// TestLargeFile shows that an answer goes through whole, also by way of sendfile.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	a := New(time.Now)
	srv := httptest.NewServer(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
	})))
	defer srv.Close()
	for _, ask := range []struct {
		header string
		want   []byte
	}{{"", content}, {"bytes=5-999999", content[5:1_000_000]}} {
		r, err := http.NewRequest(http.MethodGet, srv.URL, nil)
		require.NoError(t, err)
		r.Header.Set("Range", ask.header)
		resp, err := srv.Client().Do(r)
		require.NoError(t, err)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.True(t, bytes.Equal(ask.want, got), "%d bytes of %d", len(got), len(ask.want))
	}
}

// frame makes a masked frame.
func frame(opcode byte, payload string) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := []byte{1, 2, 3, 4}
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

func TestSockets(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		protocol string
		sent     []byte
		kind     string
	}{
		"silent":             {"", nil, ""},
		"ping, pong, close":  {"", bytes.Join([][]byte{frame(9, "p"), frame(10, ""), frame(8, "\x03\xe8")}, nil), ""},
		"text":               {"", frame(1, "hello"), KindSocket},
		"text after a ping":  {"", append(frame(9, "p"), frame(1, "hello")...), KindSocket},
		"hot reload":         {"vite-hmr", frame(1, `{"type":"ping"}`), ""},
		"hot reload's probe": {"chat, vite-ping", frame(1, "x"), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := New(time.Now)
			var got atomic.Int64
			srv := httptest.NewServer(a.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if !assert.NoError(t, err) {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				n, _ := io.Copy(io.Discard, conn)
				got.Store(n + 1)
			})))
			defer srv.Close()

			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			require.NoError(t, err)
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: "+tc.protocol+"\r\n\r\n")
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			_, err = conn.Write(tc.sent)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			require.Eventually(t, func() bool { return got.Load() == int64(len(tc.sent))+1 }, time.Minute, time.Millisecond)
			_, kind := a.Idle()
			assert.Equal(t, tc.kind, kind)
		})
	}
}
