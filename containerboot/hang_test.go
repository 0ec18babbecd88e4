package containerboot_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestEndWhileARemoteHangs stops a container whose save on demand hangs in its push:
// the work is kept in the cache, in time.
func TestEndWhileARemoteHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	w.edit("s1")
	w.hang("push")
	go c.send(context.Background(), bootapi.PathSave, "")
	w.hung("push")
	start := time.Now()
	assert.Zero(t, c.stop())
	assert.Less(t, time.Since(start), bootapi.StopGrace)
	assert.FileExists(t, w.dir+"/cache/amelia/bundles/s1.bundle")
}

// syncTimeout is that of the package.
const syncTimeout = 2 * time.Minute

// TestSleepWhileARemoteHangs asks for a sleep while the fetch after a wake hangs.
func TestSleepWhileARemoteHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	require.Zero(t, c.stop())
	w.hang("ls-remote")
	c, _ = w.ready(claim)
	w.hung("ls-remote")
	c.await(func() bool { return c.status().IdleMillis > 0 })

	ctx, cancel := context.WithTimeout(t.Context(), syncTimeout/2)
	defer cancel()
	code, body, err := c.send(ctx, bootapi.PathQuiesce, `{"idleMillis":1}`)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, code)
	assert.True(t, decode[bootapi.QuiesceReply](t, body).Agreed, body)
}

// TestWritesAreTakenAgain has whoever asked for a sleep go before it was agreed to.
func TestWritesAreTakenAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	w.edit("s1")
	w.hang("push")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		_, _, err := c.send(ctx, bootapi.PathQuiesce, `{}`)
		gone <- err
	}()
	w.hung("push")
	code, body := c.post(bootapi.PathRebuild, nil)
	require.Equal(t, http.StatusServiceUnavailable, code, body)
	cancel()
	require.Error(t, <-gone)
	c.await(func() bool { code, _ := c.post(bootapi.PathRebuild, nil); return code == http.StatusAccepted })
	assert.NotContains(t, c.logged(), "work saved", "not only once the save has ended")
}

// TestRequestsUnderWayAtTheEnd stops a container while its agent works on a request: it
// is answered, and what it wrote is saved.
func TestRequestsUnderWayAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	asked, goOn := make(chan struct{}), make(chan struct{})
	agent := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-goOn
		write(t, w.workspace("s1")+"/acknowledged.txt", "x")
		_, _ = io.WriteString(rw, "done")
	}))
	t.Cleanup(agent.Close)
	c, _ := w.ready(w.claim("s1"), "API_UPSTREAM="+agent.URL)
	answered := make(chan string, 1)
	go func() {
		code, body, err := c.send(context.Background(), "/api/work", "")
		answered <- fmt.Sprint(code, " ", body, " ", err)
	}()
	<-asked
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	c.await(func() bool { return strings.Contains(c.logged(), `"stopping"`) })
	saved := func() bool { return strings.Contains(c.logged(), "work saved") }
	// Not for long: a request that takes more than 5 s is not waited for.
	assert.Never(t, saved, 500*time.Millisecond, 5*time.Millisecond, "while a request is under way")
	close(goOn)
	assert.Equal(t, "200 done <nil>", <-answered)
	assert.Zero(t, c.exited())
	assert.Equal(t, "A\tacknowledged.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))
}

// TestSocketsEndBeforeTheLastSave: what came by one later would be lost.
func TestSocketsEndBeforeTheLastSave(t *testing.T) {
	t.Parallel()
	agent := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		conn, rest, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rest)
	}))
	t.Cleanup(agent.Close)
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"), "API_UPSTREAM="+agent.URL)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "GET /api/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s: %s\r\n\r\n", bootapi.HeaderToken, c.token)
	head := make([]byte, 12)
	_, err = io.ReadFull(conn, head)
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 101", string(head))

	w.edit("s1")
	w.hang("push")
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	_, _ = io.Copy(io.Discard, conn) // to its end
	assert.NotContains(t, c.logged(), "work saved")
	assert.Zero(t, c.exited())
	assert.Contains(t, c.logged(), `"where":"bundle"`)
}

// send is post for other goroutines than the test's own, and for what may hang.
func (c *container) send(ctx context.Context, path, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set(bootapi.HeaderToken, c.token)
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}
