package many

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// served is when each edge served a session first.
type served struct {
	mu sync.Mutex
	at []time.Time
}

func (s *served) by(edge int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[edge].IsZero() {
		s.at[edge] = time.Now()
	}
}

// call is a program that calls a session's API, and is held until that answers. It returns
// "API", or what was in the way.
func call(e *harness.Edge, session *harness.Session, body string) string {
	a, err := e.Try(session.Post("/api/echo", body, "Prefer", "wait=180"))
	switch {
	case err != nil:
		return err.Error()
	case a.Status != http.StatusOK || a.Body != body:
		return fmt.Sprintf("API: %d after %s", a.Status, a.Took.Round(time.Second))
	default:
		return "API"
	}
}

func TestOneStartHoweverManyAskOnManyEdges(t *testing.T) {
	t.Parallel()
	const visitors = 1000
	api := harness.NewAPI(t)
	c := harness.NewCluster(t, harness.ClusterOptions{
		Router: "\t\thold_timeout 3m\n\t\tmax_held 1000 3000\n",
		ECS:    harness.ECSOptions{APIUpstream: api.URL, Moods: harness.Worst()},
	})
	site := c.NewSite("amelia", harness.SiteOptions{})
	c.Start()
	session := c.NewAsleep(site)
	require.Equal(t, "inactive", session.Now().Status)

	var took []time.Duration
	for round := range times(5, 50) {
		// Each opens the page, and its event stream turns it over; here they look again.
		// Each call of the API is held.
		var wg sync.WaitGroup
		begin := make(chan struct{})
		outcomes := make(chan string, visitors)
		first := served{at: make([]time.Time, len(c.Edges))}
		for i := range visitors {
			edge := i % len(c.Edges)
			wg.Go(func() {
				<-begin
				if i%2 == 0 {
					outcomes <- visit(c.Edges[edge], session, site, time.Second)
					return
				}
				outcome := call(c.Edges[edge], session, strconv.Itoa(i))
				first.by(edge)
				outcomes <- outcome
			})
		}
		close(begin)
		wg.Wait()
		close(outcomes)
		count := map[string]int{}
		for o := range outcomes {
			count[o]++
		}
		assert.Equal(t, map[string]int{"site": visitors / 2, "API": visitors / 2}, count, "round %d", round)
		task := requireOneContainer(t, c, session, round+1)
		ready := c.ECS.ReadyAt(task)
		for _, at := range first.at {
			took = append(took, at.Sub(ready))
		}
		asleep(t, c, c.Edges[round%len(c.Edges)], session)
	}
	t.Logf("with %d visitors, from the site's answer to the first call through each edge, %s", visitors, distribution(took))
}

// soon is how long after its site answers a session is promised to be served by every
// edge. It is measured where nothing else runs; in an ordinary run it is printed alone.
const soon = 300 * time.Millisecond

func TestEveryEdgeServesSoon(t *testing.T) {
	api := harness.NewAPI(t)
	c := harness.NewCluster(t, harness.ClusterOptions{
		Bin:    harness.Released(t),
		Router: "\t\thold_timeout 3m\n",
		ECS:    harness.ECSOptions{APIUpstream: api.URL, Moods: harness.Worst()},
	})
	site := c.NewSite("amelia", harness.SiteOptions{})
	c.Start()
	var took []time.Duration
	for range times(3, 50) {
		session := c.NewAsleep(site)
		at := make([]time.Time, len(c.Edges))
		var wg sync.WaitGroup
		for i, e := range c.Edges {
			wg.Go(func() {
				assert.Equal(t, "API", call(e, session, "held"))
				at[i] = time.Now()
			})
		}
		wg.Wait()
		ready := c.ECS.ReadyAt(requireOneContainer(t, c, session, 1))
		for _, at := range at {
			took = append(took, at.Sub(ready))
		}
		c.Edges[0].CLI("session", "delete", session.SessionID)
	}
	t.Logf("from the site's answer to a call that was held by an edge, %s", distribution(took))
	if torture() {
		assert.LessOrEqual(t, slices.Max(took), soon)
	}
}
