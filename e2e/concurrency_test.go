package e2e

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

func TestOneContainerHoweverManyAsk(t *testing.T) {
	const visitors = 200
	for range times(1, 20) {
		e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
		site := e.NewSite("amelia", harness.SiteOptions{})
		session := e.CreateSession(site) // no edge runs: it stays asleep
		require.Equal(t, "inactive", session.Now().Status)
		e.Start()
		most := session.Most()

		// Each opens the page, and its event stream turns it over; here they look again.
		var wg sync.WaitGroup
		begin := make(chan struct{})
		outcomes := make(chan string, visitors)
		for range visitors {
			wg.Go(func() {
				<-begin
				outcomes <- visit(e, session, harness.Patience)
			})
		}
		close(begin)
		wg.Wait()
		close(outcomes)
		count := map[string]int{}
		for o := range outcomes {
			count[o]++
		}
		assert.Equal(t, map[string]int{"site": visitors}, count)
		assert.Equal(t, 1, e.Started(), "containers ever started")
		assert.Equal(t, 1, most(), "containers at once")
		e.Interrupt()
	}
}

// visit is a person who opens a session and waits for its site. It returns "site", or
// what was in the way.
func visit(e *harness.Edge, session *harness.Session, limit time.Duration) string {
	pause := time.NewTicker(500 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-pause.C {
		a, err := e.Try(session.Document("/"))
		switch {
		case err != nil:
			return err.Error()
		case a.Status == http.StatusOK:
			return "site"
		case a.Status != http.StatusAccepted:
			return http.StatusText(a.Status)
		}
	}
	return "still waiting"
}
