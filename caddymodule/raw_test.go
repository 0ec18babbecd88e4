package caddymodule

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// recording is what was received, by whatever listens.
type recording struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recording) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *recording) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// recordedConn writes down what is read.
type recordedConn struct {
	net.Conn
	to *recording
}

func (c recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	_, _ = c.to.Write(p[:n])
	return n, err
}

// listenRaw answers requests by hand, as servers may that no library would be, and
// returns the address. serve reports whether the connection goes on.
func listenRaw(t *testing.T, serve func(conn net.Conn, r *http.Request, in *bufio.Reader) bool) string {
	t.Helper()
	return listenRecorded(t, new(recording), serve)
}

// listenRecorded is listenRaw that records every byte it receives.
func listenRecorded(t *testing.T, to *recording, serve func(conn net.Conn, r *http.Request, in *bufio.Reader) bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := ln.Addr().String()
	serveRaw(t, ln, to, serve)
	return address
}

// serveRaw serves a listener so until the test ends.
func serveRaw(t *testing.T, ln net.Listener, to *recording, serve func(conn net.Conn, r *http.Request, in *bufio.Reader) bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var conns []net.Conn
	closed := false
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			if closed {
				_ = conn.Close()
			}
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(recordedConn{conn, to})
				for {
					r, err := http.ReadRequest(in)
					if err != nil || !serve(conn, r, in) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		closed = true
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// answerProof answers a ProofRequest as the container with a token does.
func answerProof(conn net.Conn, r *http.Request, token string) bool {
	var req bootapi.ProofRequest
	if r.URL.Path != bootapi.PathProof || json.NewDecoder(r.Body).Decode(&req) != nil {
		return false
	}
	proof, err := bootapi.MakeProof(bootapi.HashToken(token), req.Nonce)
	if err != nil {
		return false
	}
	body := fmt.Sprintf(`{"proof":%q}`, proof)
	_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err == nil
}
