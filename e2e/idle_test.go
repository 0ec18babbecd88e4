package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

func TestIdleSessionSleepsAndWakesUnchanged(t *testing.T) {
	e := harness.New(t, harness.Options{IdleTimeout: "3s"})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()

	const limit = time.Second
	quickest := time.Hour
	// A machine that has much else to do may hold up one wake, but not each.
	for round := 0; round < times(2, 30) || quickest >= limit && round < 10; round++ {
		session.AwaitAsleep()
		assert.Empty(t, e.Containers(), "processes of a sleeping session")

		e.ForgetTools()
		// The very request that wakes is answered by the site, which dates the answer.
		woken := e.Do(session.Document("/", "Prefer", "wait=30"))
		assert.Equal(t, http.StatusOK, woken.Status)
		assert.Contains(t, woken.Body, "content of amelia")
		t.Logf("from the request to the site: %s", woken.Took)
		quickest = min(quickest, woken.Took)
		for _, line := range e.Tools() {
			tool, args, _ := strings.Cut(line, " ")
			assert.NotContains(t, []string{"npm", "npx", "node"}, tool, "run for an unchanged session: %s", line)
			assert.NotContains(t, " "+args+" ", " clone ", "run for an unchanged session: %s", line)
		}
	}
	assert.Less(t, quickest, limit, "from the request to the site")
}

func TestUsedSessionStaysAwake(t *testing.T) {
	parallel(t)
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{IdleTimeout: "5s", APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()

	// A transfer of 6 seconds is activity for as long as it lasts.
	slow := e.Do(session.Fetch("/api/slow?bytes=1000000"))
	assert.Equal(t, http.StatusOK, slow.Status)
	assert.Len(t, slow.Body, 1_000_000)
	assert.Equal(t, 1, e.Started())

	// A silent socket is not.
	socket := session.OpenSocket("/api/echo")
	socket.Echoes("hello")
	session.AwaitAsleep()
}

// again does something every 200 ms until stop is called or the test has ended.
func again(t *testing.T, do func()) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			do()
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// Of sessions side by side those sleep whose tabs are forgotten, and those do not in
// which somebody types or something is built.
func TestForgottenTabsSleepAndWorkDoesNot(t *testing.T) {
	parallel(t)
	const timeout = 4 * time.Second
	dir := t.TempDir()
	wanted, building, gate := filepath.Join(dir, "wanted"), filepath.Join(dir, "building"), filepath.Join(dir, "gate")
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{IdleTimeout: timeout.String(), APIUpstream: api.URL})
	t.Cleanup(func() { _ = os.WriteFile(gate, nil, 0o600) })
	site := e.NewSite("amelia", harness.SiteOptions{Build: fmt.Sprintf(
		"if (fs.existsSync(%q)) { fs.writeFileSync(%q, ''); awaitFile(%q); }", wanted, building, gate)})
	e.Start()
	built, typed, pinged, polled := e.CreateSession(site), e.CreateSession(site), e.CreateSession(site), e.CreateSession(site)
	all := []*harness.Session{built, typed, pinged, polled}

	typed.Open()
	typing := typed.OpenSocket("/api/echo")
	edit(t, typed, "typed")
	pinged.Open()
	pings := pinged.OpenSocket("/api/echo", "vite-hmr")
	polled.Open()
	built.Open()
	require.NoError(t, os.WriteFile(wanted, nil, 0o600))
	assert.Equal(t, http.StatusAccepted, e.Do(built.Post("/api/rebuild", "")).Status)
	epochs := map[string]int64{}
	for _, s := range all {
		epochs[s.SessionID] = s.Now().Epoch
	}

	// The tabs go on for as long as the test does, whatever becomes of their sessions.
	var served atomic.Int64
	again(t, func() {
		a, err := e.Try(polled.Fetch("/kilobyte.txt", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"))
		if assert.NoError(t, err) && a.Status == http.StatusOK {
			served.Add(1)
		}
	})
	var pinging atomic.Int64
	again(t, func() {
		if pings.Send(`{"type":"ping"}`) == nil { // else the session sleeps
			pinging.Add(1)
		}
	})
	var lost atomic.Bool
	stopTyping := again(t, func() {
		if typing.Send("typed") != nil {
			lost.Store(true)
		}
	})

	<-time.After(3 * timeout) // time in which who is idle is put to sleep
	pinged.AwaitAsleep()
	polled.AwaitAsleep()
	assert.Positive(t, pinging.Load(), "pings that were sent")
	assert.Positive(t, served.Load(), "polls that the site answered")
	require.FileExists(t, building, "the rebuild has begun")
	for _, s := range []*harness.Session{built, typed} {
		now := s.Now()
		assert.Equal(t, "active", now.Status)
		assert.Equal(t, epochs[s.SessionID], now.Epoch)
		s.Container()
	}

	stopTyping()
	assert.False(t, lost.Load(), "the socket of who types was closed")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	typed.AwaitAsleep()
	built.AwaitAsleep()
	requireSaved(t, site, typed, "typed")
	assert.Equal(t, len(all), e.Started(), "containers ever started")
}

// A person who comes back while the work is being saved finds the site, and keeps it.
func TestWhoReturnsWhileItSavesKeepsTheContainer(t *testing.T) {
	parallel(t)
	const timeout = 4 * time.Second
	e := harness.New(t, harness.Options{IdleTimeout: timeout.String()})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	pushing, gate := filepath.Join(t.TempDir(), "pushing"), filepath.Join(t.TempDir(), "gate")
	site.OnPush(fmt.Sprintf("touch %q\nwhile [ ! -e %q ]; do sleep 0.05; done\n", pushing, gate))
	t.Cleanup(func() { _ = os.WriteFile(gate, nil, 0o600) })
	edit(t, session, "edited before a pause")
	before := session.Container()

	harness.Eventually(t, harness.Patience, "the container saves", func() bool {
		_, err := os.Stat(pushing)
		return err == nil
	})
	returned := e.Do(session.Document("/"))
	assert.Equal(t, http.StatusOK, returned.Status, "while it saves")
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	stay := time.After(timeout)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for staying := true; staying; {
		select {
		case <-stay:
			staying = false
		case <-tick.C:
			require.Equal(t, http.StatusOK, e.Do(session.Document("/")).Status, "after it has saved")
		}
	}
	assert.Equal(t, before.PID, session.Container().PID)
	requireSaved(t, site, session, "edited before a pause")
	session.AwaitAsleep()
	assert.Equal(t, 1, e.Started(), "containers ever started")
}
