package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/websocket"
)

// API stands in for the editing agent that gets a session's /api/ requests:
//
//	POST /api/echo             answers the body
//	POST /api/count?id=ID      counts how often ID arrived
//	POST /api/block?id=ID      counts too, and does not answer before Release
//	GET  /api/slow?bytes=N     N bytes over about 6 seconds
//	GET  /api/echo             a WebSocket that echoes
type API struct {
	URL string

	mu       sync.Mutex
	counts   map[string]int
	released chan struct{}
}

// NewAPI starts one for the time of a test.
func NewAPI(t testing.TB) *API {
	t.Helper()
	a := &API{counts: map[string]int{}, released: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/echo", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // the reader may be gone
	})
	mux.HandleFunc("POST /api/count", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, a.count(r.FormValue("id")))
	})
	mux.HandleFunc("POST /api/block", func(w http.ResponseWriter, r *http.Request) {
		a.count(r.FormValue("id"))
		select {
		case <-a.released:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /api/slow", serveSlowly)
	mux.Handle("GET /api/echo", websocket.Server{Handler: func(c *websocket.Conn) {
		_, _ = io.Copy(c, c) // until either side goes
	}})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		a.Release()
		server.CloseClientConnections()
		server.Close()
	})
	a.URL = server.URL
	return a
}

func (a *API) count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[id]++
	return a.counts[id]
}

// Count is how often an id arrived.
func (a *API) Count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts[id]
}

// Release lets the blocked requests be answered.
func (a *API) Release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.released:
	default:
		close(a.released)
	}
}

const slowSteps = 120

func serveSlowly(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.FormValue("bytes"))
	if err != nil {
		http.Error(w, "bytes: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	body := SlowBody(n)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for step := range slowSteps {
		if _, err := w.Write(body[n*step/slowSteps : n*(step+1)/slowSteps]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush() // the next write fails if this does
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// SlowBody is what GET /api/slow sends: bytes of which no two stretches are alike.
func SlowBody(n int) []byte {
	body := make([]byte, 0, n+sha256.Size*2)
	for i := 0; len(body) < n; i++ {
		sum := sha256.Sum256([]byte(strconv.Itoa(i)))
		body = append(body, hex.EncodeToString(sum[:])...)
	}
	return body[:n]
}

// Socket is a WebSocket that a visitor has open.
type Socket struct {
	t    testing.TB
	conn *websocket.Conn
}

// OpenSocket opens a WebSocket to a path of the session, of a subprotocol if one is named.
func (s *Session) OpenSocket(path string, protocol ...string) *Socket {
	t := s.edge.t
	t.Helper()
	origin := fmt.Sprintf("http://%s:%d", s.host, s.edge.HTTPPort)
	config, err := websocket.NewConfig("ws"+origin[len("http"):]+s.Path(path), origin)
	require.NoError(t, err)
	config.Protocol = protocol
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var d net.Dialer
	tcp, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.edge.HTTPPort))
	require.NoError(t, err)
	require.NoError(t, tcp.SetDeadline(time.Now().Add(time.Minute)))
	conn, err := websocket.NewClient(config, tcp)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() }) // the other end may have closed it
	return &Socket{t: t, conn: conn}
}

// Echoes sends a message and expects it back.
func (s *Socket) Echoes(message string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetDeadline(time.Now().Add(time.Minute)))
	require.NoError(s.t, websocket.Message.Send(s.conn, message), "the socket was closed")
	var back string
	require.NoError(s.t, websocket.Message.Receive(s.conn, &back), "the socket was closed")
	require.Equal(s.t, message, back)
}

// Send sends a message and does not wait for its echo. It fails once the socket is closed.
func (s *Socket) Send(message string) error {
	if err := s.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	return websocket.Message.Send(s.conn, message)
}
