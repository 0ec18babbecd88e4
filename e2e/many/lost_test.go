package many

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// visited is a session with its site, and how many visitors were answered in which way.
type visited struct {
	*harness.Session
	site *harness.Site

	mu      sync.Mutex
	answers map[string]int
}

// look asks an edge for something of the session, and says what is wrong with the answer.
func (v *visited) look(e *harness.Edge, kind string) error {
	q := v.Document("/")
	switch kind {
	case "fetch":
		q = v.Fetch("/marker.txt")
	case "post":
		q = v.Post("/api/echo", marker(v.site))
	}
	a, err := e.Try(q)
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	v.mu.Lock()
	v.answers[fmt.Sprintf("%s %d", kind, a.Status)]++
	v.mu.Unlock()
	// Whatever the status: nothing of a site but this one's.
	if strings.Contains(strings.ReplaceAll(a.Body, marker(v.site), ""), "content of ") {
		return fmt.Errorf("%s: %d with another client's site: %s", kind, a.Status, a.Body)
	}
	own := strings.Contains(a.Body, marker(v.site))
	switch {
	case a.Status == http.StatusOK && own:
	case a.Status == http.StatusAccepted && kind == "document" && !own:
	case a.Status == http.StatusServiceUnavailable && kind != "document" && !own:
	default:
		return fmt.Errorf("%s: %d: %s", kind, a.Status, a.Body)
	}
	return nil
}

// crowd visits sessions on all edges, in all ways, until stop is called.
func crowd(t *testing.T, c *harness.Cluster, sessions ...*visited) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, v := range sessions {
		for i, e := range c.Edges {
			for _, kind := range []string{"document", "fetch", "post"} {
				wg.Go(func() {
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						if err := v.look(e, kind); err != nil {
							assert.NoError(t, err, "edge %d, %s", i, v.site.ID)
						}
						select {
						case <-done:
							return
						case <-tick.C:
						}
					}
				})
			}
		}
	}
	return sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
}

// requireServed checks that every edge comes to serve a session.
func requireServed(t *testing.T, c *harness.Cluster, v *visited) {
	t.Helper()
	for _, e := range c.Edges {
		require.Contains(t, v.On(e).Open().Body, marker(v.site))
	}
}

// Whatever becomes of a container, visitors of all edges wait and then see their site:
// never a fault, never another client's.
func TestContainerIsLost(t *testing.T) {
	t.Parallel()
	api := harness.NewAPI(t)
	c := harness.NewCluster(t, harness.ClusterOptions{
		ECS: harness.ECSOptions{
			APIUpstream: api.URL, StopTimeout: 3 * time.Second,
			Moods: harness.Moods{"provision": "50ms", "deprovision": "20ms", "lag": "200ms", "reuseAddresses": true},
		},
	})
	visit := func(id string) *visited {
		site := c.NewSite(id, harness.SiteOptions{
			Build: "fs.mkdirSync('dist', { recursive: true }); fs.writeFileSync('dist/marker.txt', fs.readFileSync('content.txt', 'utf8').trim() + '<');",
		})
		return &visited{Session: c.NewAsleep(site), site: site, answers: map[string]int{}}
	}
	amelia, bramble := visit("amelia"), visit("bramble")
	c.Start()
	requireServed(t, c, amelia)

	for range times(1, 20) {
		for _, fault := range []struct {
			name string
			do   func(harness.Task)
		}{
			{"it dies", c.ECS.Kill},
			{"ECS stops it", c.ECS.End},
			{"it hangs", c.ECS.Pause},
		} {
			t.Run(fault.name, func(t *testing.T) {
				requireServed(t, c, bramble)
				before := len(c.ECS.Tasks(amelia.SessionID))
				stop := crowd(t, c, amelia, bramble)
				defer stop()
				fault.do(c.ECS.Task(amelia.SessionID))
				harness.Eventually(t, harness.Patience, "there is another container", func() bool {
					return len(c.ECS.Tasks(amelia.SessionID)) == before+1
				})
				requireServed(t, c, amelia)
				stop()
				requireOneContainer(t, c, amelia.Session, before+1)
			})
		}
		t.Run("its address is another client's", func(t *testing.T) {
			asleep(t, c, c.Edges[0], bramble.Session)
			requireServed(t, c, amelia)
			before := len(c.ECS.Tasks(amelia.SessionID))
			lost := c.ECS.Task(amelia.SessionID)
			c.ECS.Kill(lost)
			harness.Eventually(t, harness.Patience, "the container has ended", func() bool { return len(c.ECS.Running(amelia.SessionID)) == 0 })
			require.Contains(t, bramble.Open().Body, marker(bramble.site))
			require.Equal(t, lost.Address, c.ECS.Task(bramble.SessionID).Address)
			require.Len(t, c.ECS.Tasks(amelia.SessionID), before, "nobody has visited it since")

			stop := crowd(t, c, amelia, bramble)
			defer stop()
			requireServed(t, c, amelia)
			requireServed(t, c, bramble)
			stop()
			requireOneContainer(t, c, amelia.Session, before+1)
		})
	}
	t.Logf("answers: amelia %v, bramble %v", amelia.answers, bramble.answers)
}
