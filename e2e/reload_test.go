package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// changed returns a Caddyfile in which old, which must be there, is replaced.
func changed(t *testing.T, config, old, replacement string) string {
	t.Helper()
	require.Contains(t, config, old)
	return strings.Replace(config, old, replacement, 1)
}

func TestReloadsDropNothing(t *testing.T) {
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL, IdleTimeout: "10m"})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	socket := session.OpenSocket("/api/echo")
	socket.Echoes("before")

	const size = 3_000_000
	download := make(chan harness.Answer, 1)
	go func() {
		a, err := e.Try(session.Fetch("/api/slow?bytes=" + strconv.Itoa(size)))
		assert.NoError(t, err)
		download <- a
	}()

	same := e.ConfigText()
	for _, step := range []struct{ name, config string }{
		{"same", same},
		{"idle timeout", changed(t, same, `"{$WEBORDINARY_IDLE_TIMEOUT}"`, "20m")},
		{"hosts", changed(t, same, "hosts edit.{client}.localhost", "hosts edit.{client}.localhost {client}-edit.localhost")},
		{"the router's block", changed(t, same, "new_sessions open", "new_sessions off\n\t\thold_timeout 45s")},
		{"same again", same},
	} {
		r := e.Reload(step.config)
		require.Zerof(t, r.Code, "%s: %s", step.name, r.Err)
		socket.Echoes("after " + step.name)
		if step.name == "hosts" {
			a := e.Do(harness.Request{Host: "amelia-edit.localhost", Path: session.Path("/"), Header: harness.DocumentHeader()})
			assert.Equal(t, http.StatusOK, a.Status, "on the host of the new pattern")
		}
		if step.name == "the router's block" {
			assert.Equal(t, http.StatusNotFound, e.Do(harness.Request{Host: site.Host, Path: "/new"}).Status, "/new, turned off")
		}
	}
	for _, broken := range []string{
		changed(t, same, "new_sessions open", "new_sessions sometimes"),
		changed(t, same, "hosts edit.{client}.localhost", "hosts edit.localhost"),
		changed(t, same, "runner process", "runner teleport"),
		"{",
	} {
		r := e.Reload(broken)
		assert.NotZero(t, r.Code, "a broken configuration was loaded")
		assert.NotEmpty(t, r.Err)
		socket.Echoes("after a broken one")
	}
	a := e.Do(session.Document("/"))
	assert.Equal(t, http.StatusOK, a.Status)

	whole := <-download
	assert.Equal(t, http.StatusOK, whole.Status)
	if whole.Body != string(harness.SlowBody(size)) { // too long to be printed
		assert.Failf(t, "the download is not whole", "%d of %d bytes", len(whole.Body), size)
	}
	assert.Equal(t, 1, e.Started(), "containers ever started")

	// What one more reload takes is given back.
	before := goroutines(t, e)
	for range times(10, 200) {
		require.Zero(t, e.Reload(same).Code)
	}
	harness.EventuallyEvery(t, harness.Patience, 200*time.Millisecond, "goroutines of replaced configurations end", func() bool {
		return goroutines(t, e) < before+20
	})
	socket.Echoes("at the end")
	assert.Equal(t, 1, e.Started(), "containers ever started")
}

var goroutineTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)

// goroutines is how many the edge has.
func goroutines(t *testing.T, e *harness.Edge) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.Admin+"/debug/pprof/goroutine?debug=1", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	match := goroutineTotal.FindStringSubmatch(line)
	require.NotNil(t, match, line)
	n, err := strconv.Atoi(match[1])
	require.NoError(t, err)
	return n
}

func TestInterruptWithOpenStreamsEndsInTime(t *testing.T) {
	parallel(t)
	gate := t.TempDir() + "/gate"
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	waiting := e.NewSite("amelia", harness.SiteOptions{Build: fmt.Sprintf("awaitFile(%q);", gate)})
	ready := e.NewSite("bramble", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(waiting)
	other := e.CreateSession(ready)
	other.Open()

	// The edge's own stream, of a session that is waking, and a container's.
	for host, path := range map[string]string{
		waiting.Host: "/.webordinary/sessions/" + session.SessionID + "/events",
		ready.Host:   other.Path("/api/events"),
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", e.HTTPPort, path), nil)
		require.NoError(t, err)
		r.Host = host
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Contains(t, resp.Header.Get("Content-Type"), "text/event-stream")
		_, err = bufio.NewReader(resp.Body).ReadString('\n')
		require.NoError(t, err)
	}

	// The grace period is 10 s; the 30 s that a container has to save come on top.
	e.InterruptWithin(45 * time.Second)
	assert.Empty(t, harness.Processes(t, e.Data), "processes after Ctrl-C")
}
