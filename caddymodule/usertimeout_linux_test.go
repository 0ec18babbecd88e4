package caddymodule

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestConnectionsToVanishedHostsAreBounded looks at what the kernel was told of a
// connection to a container.
func TestConnectionsToVanishedHostsAreBounded(t *testing.T) {
	server := httptest.NewServer(signed(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	tr := newTransport(t)
	var opened net.Conn
	dial := tr.pools.base.DialContext
	tr.pools.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		opened = conn
		return conn, err
	}
	res, err := through(t, tr, routeTo(server), false, nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	raw, err := opened.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	var timeout, alive int
	require.NoError(t, raw.Control(func(fd uintptr) {
		timeout, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		alive, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	}))
	assert.Equal(t, 60_000, timeout)
	assert.Equal(t, 1, alive, "asks where nothing is sent")
}
