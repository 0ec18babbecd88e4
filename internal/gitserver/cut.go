package gitserver

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Cut passes connections on to a server and cuts some of them.
type Cut struct {
	// Addr is host:port of the loopback address.
	Addr string
	to   atomic.Pointer[string]
	// cuts is how many more connections are cut, of those that send so much.
	cuts  atomic.Int64
	after atomic.Int64
	count atomic.Int64
}

// NewCut listens for the time of a test.
func NewCut(t testing.TB, to string) *Cut {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &Cut{Addr: l.Addr().String()}
	c.To(to)
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { c.pass(ctx, in) })
		}
	})
	return c
}

// To leads to another server from now on.
func (c *Cut) To(addr string) { c.to.Store(&addr) }

// Next cuts connections once the server has sent so many bytes on one, so many times. A
// connection over which less is sent does not count.
func (c *Cut) Next(times, after int64) {
	c.count.Store(0)
	c.after.Store(after)
	c.cuts.Store(times)
}

// Times is how often a connection was cut since Next.
func (c *Cut) Times() int { return int(c.count.Load()) }

func (c *Cut) pass(ctx context.Context, in net.Conn) {
	defer in.Close()
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", *c.to.Load())
	if err != nil {
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = in.Close()
		_ = out.Close()
	})
	defer stop()
	var up sync.WaitGroup
	defer up.Wait()
	up.Go(func() {
		_, _ = io.Copy(out, in) // either end may go away at any time
		_ = out.(*net.TCPConn).CloseWrite()
	})
	_, err = io.CopyN(in, out, c.after.Load())
	if err == nil && c.cuts.Add(-1) >= 0 {
		c.count.Add(1)
		_ = in.(*net.TCPConn).SetLinger(0) // a reset, as of a connection that is lost
		_ = in.Close()
		return
	}
	if err == nil {
		_, _ = io.Copy(in, out)
	}
	_ = in.(*net.TCPConn).CloseWrite()
}
