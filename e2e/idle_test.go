package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
