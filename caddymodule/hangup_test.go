package caddymodule

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heldNow is how many requests are held.
func (e *testEdge) heldNow() int {
	h := e.app().state.held
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total
}

func TestVisitorWhoLeavesFreesTheirPlace(t *testing.T) {
	e := startEdge(t)
	// The build waits until the test lets it go on.
	gate := filepath.Join(e.data, "gate")
	e.put(fmt.Sprintf(`{
		"clientId": "acme",
		"domains": {"production": "acme.example", "edit": "edit.acme.test"},
		"repository": {"url": "file://%s/acme.git", "branch": "main"},
		"settings": {"containerSize": "small", "idleTimeoutMinutes": 10, "maxConcurrentSessions": 2},
		"build": {"command": "until [ -e %s ]; do sleep 0.05; done; npm run build"}
	}`, e.data, gate))
	created := e.do(http.MethodPost, "edit.acme.test", "/new", http.Header{"Sec-Fetch-Site": {"same-origin"}})
	path := created.header.Get("Location")

	post := func() net.Conn {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", e.port))
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "POST %sform HTTP/1.1\r\nHost: edit.acme.test\r\nContent-Length: 5\r\n\r\nhello", path)
		require.NoError(t, err)
		return conn
	}
	leaves, stays := post(), post()
	defer stays.Close()
	require.Eventually(t, func() bool { return e.heldNow() == 2 }, patience, 10*time.Millisecond)
	require.NoError(t, leaves.Close())
	require.Eventually(t, func() bool { return e.heldNow() == 1 }, patience, 10*time.Millisecond,
		"its body is unread, and still it is noticed that the visitor left")

	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	res, err := http.ReadResponse(bufio.NewReader(stays), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, "a static site takes no POST: the container answered")
	assert.Zero(t, e.heldNow())
}
