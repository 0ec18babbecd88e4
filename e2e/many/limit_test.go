package many

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// newSession is the request of a person who presses the button at /new.
func newSession(site *harness.Site) harness.Request {
	return harness.Request{
		Method: http.MethodPost, Host: site.Host, Path: "/new",
		Header: harness.DocumentHeader("Sec-Fetch-Site", "same-origin", "Content-Type", "application/x-www-form-urlencoded"),
	}
}

// created takes the session's id from the answer to newSession.
func created(a harness.Answer) string {
	return strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Location"), "/session/"), "/")
}

var listed = regexp.MustCompile(`href="/session/([^/"]+)/"`)

// running are the sessions that the page of a client at its limit lists.
func running(page string) []string {
	var ids []string
	for _, found := range listed.FindAllStringSubmatch(page, -1) {
		ids = append(ids, found[1])
	}
	slices.Sort(ids)
	return ids
}

func TestLimitHoldsOverAllEdges(t *testing.T) {
	t.Parallel()
	const (
		creates = 300
		limit   = 5
	)
	for range times(1, 10) {
		c := harness.NewCluster(t, harness.ClusterOptions{ECS: harness.ECSOptions{Moods: harness.Worst()}})
		site := c.NewSite("amelia", harness.SiteOptions{Client: func(client map[string]any) {
			client["settings"].(map[string]any)["maxConcurrentSessions"] = limit
		}})
		c.Start()

		var wg sync.WaitGroup
		var mu sync.Mutex
		begin := make(chan struct{})
		statuses, ids := map[int]int{}, []string{}
		for i := range creates {
			wg.Go(func() {
				<-begin
				a, err := c.Edges[i%len(c.Edges)].Try(newSession(site))
				mu.Lock()
				defer mu.Unlock()
				assert.NoError(t, err)
				statuses[a.Status]++
				switch a.Status {
				case http.StatusSeeOther:
					ids = append(ids, created(a))
				case http.StatusTooManyRequests:
					assert.LessOrEqual(t, len(running(a.Body)), limit)
				default:
					assert.Fail(t, "neither a session nor the limit", a.Body)
				}
			})
		}
		close(begin)
		wg.Wait()
		require.Equal(t, map[int]int{http.StatusSeeOther: limit, http.StatusTooManyRequests: creates - limit}, statuses)
		slices.Sort(ids)

		// Each of them has its site, on every edge.
		for _, e := range c.Edges {
			for _, id := range ids {
				assert.Contains(t, e.SessionOf(site, id).Open().Body, marker(site))
			}
			a := e.Do(newSession(site))
			require.Equal(t, http.StatusTooManyRequests, a.Status)
			assert.Equal(t, ids, running(a.Body), "the sessions that the page lists")
		}
		require.Len(t, c.ECS.Tasks(""), limit, "containers ever started")

		// The page has a button that puts one of them to sleep; then there is room for one.
		slept := ids[2]
		a := c.Edges[2].Do(harness.Request{
			Method: http.MethodPost, Host: site.Host, Path: "/.webordinary/sessions/" + slept + "/sleep",
			Header: harness.DocumentHeader("Sec-Fetch-Site", "same-origin"),
		})
		require.Less(t, a.Status, 400, a.Body)
		require.Empty(t, c.ECS.Running(slept))
		a = c.Edges[1].Do(newSession(site))
		require.Equal(t, http.StatusSeeOther, a.Status, a.Body)
		next := created(a)
		assert.Contains(t, c.Edges[0].SessionOf(site, next).Open().Body, marker(site))
		ids[2] = next
		slices.Sort(ids)
		for _, e := range c.Edges {
			a := e.Do(newSession(site))
			require.Equal(t, http.StatusTooManyRequests, a.Status)
			assert.Equal(t, ids, running(a.Body))
			// An edge may have to find out first that what it knows the way to is gone.
			harness.Eventually(t, harness.Patience, "to wake one needs a slot, too", func() bool {
				a := e.Do(e.SessionOf(site, slept).Document("/"))
				require.Contains(t, []int{http.StatusAccepted, http.StatusTooManyRequests}, a.Status)
				return a.Status == http.StatusTooManyRequests
			})
		}
		require.Len(t, c.ECS.Running(""), limit)
		require.Empty(t, c.ECS.Doubles())
	}
}
