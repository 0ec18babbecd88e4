package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

const (
	// effective is how soon a change is promised to be effective on every edge, and
	// fresh how soon an edge is up to date after an outage. They are what torture
	// measures: in an ordinary run, beside others, only a hang is a failure.
	effective = 3 * time.Second
	fresh     = 5 * time.Second
	hung      = harness.Patience
)

// limit is a promised time in torture, and where other tests run beside one that only a
// hang exceeds.
func limit(promised time.Duration) time.Duration {
	if os.Getenv("TORTURE") != "" {
		return promised
	}
	return hung
}

// welcome is a host's answer to who would begin a session: 200 where it is a client's, 403
// where that is disabled, 404 where it is nobody's.
func welcome(t testing.TB, e *harness.Edge, host string) int {
	t.Helper()
	return e.Do(harness.Request{Host: host, Path: "/new", Header: harness.DocumentHeader()}).Status
}

// configured is a configuration as JSON.
func configured(t testing.TB, id, host string, disabled bool) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"clientId":   id,
		"domains":    map[string]any{"production": "www." + id + ".example", "edit": host},
		"repository": map[string]any{"url": "https://git.example.com/" + id + ".git", "branch": "main"},
		"settings":   map[string]any{"containerSize": "small", "idleTimeoutMinutes": 15, "maxConcurrentSessions": 5},
		"disabled":   disabled,
	})
	require.NoError(t, err)
	return string(text)
}

// Whatever is changed on one edge is effective on all of them.
func TestEdgesFollowOneStore(t *testing.T) {
	parallel(t)
	store := harness.NewStore(t)
	store.CreateTables()
	one := harness.New(t, store.Edge(nil, harness.Options{Bin: harness.Raced(t)}))
	two := harness.New(t, store.Edge(nil, harness.Options{}))
	one.Start()
	two.Start()

	var mu sync.Mutex
	slowest := map[string]time.Duration{}
	// seen waits until both edges answer so, since a write that has just ended.
	seen := func(what, host string, status int) {
		began := time.Now()
		for _, e := range []*harness.Edge{one, two} {
			harness.Eventually(t, limit(effective), fmt.Sprintf("%s: %s answers %d", what, host, status), func() bool {
				return welcome(t, e, host) == status
			})
		}
		mu.Lock()
		defer mu.Unlock()
		slowest[what] = max(slowest[what], time.Since(began))
	}
	put := func(id, host string, disabled bool) {
		status, body := one.AskAdmin(http.MethodPut, "/webordinary/clients/"+id, configured(t, id, host, disabled))
		require.Equal(t, http.StatusOK, status, body)
	}
	repeat := func(i int) {
		from, to := fmt.Sprintf("from-%d", i), fmt.Sprintf("to-%d", i)
		host, other := from+".example.com", to+".example.com"
		put(from, host, false)
		seen("a new client", host, http.StatusOK)
		put(from, host, true)
		seen("a change", host, http.StatusForbidden)
		put(from, "gave-"+host, true)
		put(to, host, false)
		seen("a move", host, http.StatusOK)
		put(to, other, false)
		seen("a host given up", host, http.StatusNotFound)
		for _, id := range []string{from, to} {
			status, body := one.AskAdmin(http.MethodDelete, "/webordinary/clients/"+id, "")
			require.Equal(t, http.StatusOK, status, body)
		}
		seen("a deletion", other, http.StatusNotFound)
	}
	const atOnce = 10
	for begin := 0; begin < times(10, 100); begin += atOnce {
		var wg sync.WaitGroup
		for i := range atOnce {
			wg.Go(func() { repeat(begin + i) })
		}
		wg.Wait()
	}
	for what, took := range slowest {
		t.Logf("%s: effective on both edges within %s", what, took.Round(time.Millisecond))
	}

	// The command line writes past the edges, and one that starts now knows it all.
	r := one.Run("["+configured(t, "swap-one", "swap.example.com", false)+","+configured(t, "swap-two", "other.example.com", true)+"]",
		"webordinary", "client", "put", "-")
	require.Zero(t, r.Code, r.Err)
	seen("a put by the command line", "swap.example.com", http.StatusOK)
	r = one.Run("["+configured(t, "swap-one", "other.example.com", false)+","+configured(t, "swap-two", "swap.example.com", true)+"]",
		"webordinary", "client", "put", "-")
	require.Zero(t, r.Code, r.Err)
	seen("a swap by the command line", "swap.example.com", http.StatusForbidden)
	late := harness.New(t, store.Edge(nil, harness.Options{}))
	late.Start()
	assert.Equal(t, http.StatusForbidden, welcome(t, late, "swap.example.com"))
	assert.Equal(t, http.StatusOK, welcome(t, late, "other.example.com"))
}

// An outage of the store costs no visitor anything.
func TestStoreOutage(t *testing.T) {
	parallel(t)
	for name, cut := range map[string]func(*harness.Link){
		"refused": func(l *harness.Link) { l.Refuse() },
		"hanging": func(l *harness.Link) { l.Hang(t) },
	} {
		t.Run(name, func(t *testing.T) {
			parallel(t)
			store := harness.NewStore(t)
			store.CreateTables()
			link := store.Link()
			edge := harness.New(t, store.Edge(link, harness.Options{}))
			again := harness.New(t, store.Edge(link, harness.Options{}))
			blank := harness.New(t, store.Edge(link, harness.Options{}))
			operator := harness.New(t, store.Edge(nil, harness.Options{})) // whose link is not cut
			site := edge.NewSite("amelia", harness.SiteOptions{})
			edge.Start()
			again.Start()
			session := edge.CreateSession(site)
			session.Open()

			stop := make(chan struct{})
			var visitors sync.WaitGroup
			requests := make([]int, 8)
			for i := range requests {
				visitors.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						a := edge.Do(session.Document("/"))
						if !assert.Equal(t, http.StatusOK, a.Status, "a known client's page") {
							return
						}
						assert.Equal(t, http.StatusNotFound, welcome(t, edge, "edit.nobody.localhost"))
						requests[i] += 2
						<-time.After(time.Millisecond)
					}
				})
			}

			cut(link)
			began := time.Now()
			harness.Eventually(t, hung, "the edge knows of the outage", func() bool { return edge.RoutingTable().Failing })
			again.Interrupt()
			again.Start()
			assert.Equal(t, http.StatusOK, welcome(t, again, site.Host), "served from the snapshot")
			assert.Equal(t, "snapshot", again.RoutingTable().Source)
			blank.StartUntil(http.StatusServiceUnavailable)
			a := blank.Do(harness.Request{Host: site.Host, Path: "/new", Header: harness.DocumentHeader()})
			assert.Equal(t, http.StatusServiceUnavailable, a.Status)
			assert.NotEmpty(t, a.Header.Get("Retry-After"))
			harness.Eventually(t, hung, "it says why", func() bool {
				table := blank.RoutingTable()
				return !table.Loaded && table.LastError != ""
			})
			require.Zero(t, operator.Run(configured(t, "bramble", "edit.bramble.localhost", false), "webordinary", "client", "put", "-").Code)
			<-time.After(time.Until(began.Add(time.Duration(times(5, 60)) * time.Second)))
			assert.Equal(t, http.StatusNotFound, welcome(t, edge, "edit.bramble.localhost"))

			link.Restore(t)
			restored := time.Now()
			var took []time.Duration
			for _, e := range []*harness.Edge{edge, again, blank} {
				harness.Eventually(t, limit(fresh), "the edge is up to date", func() bool {
					return welcome(t, e, "edit.bramble.localhost") == http.StatusOK
				})
				took = append(took, time.Since(restored))
			}
			close(stop)
			visitors.Wait()
			total := 0
			for _, n := range requests {
				total += n
			}
			assert.Greater(t, total, 10)
			t.Logf("%s for %s: %d requests, none failed; up to date %s after the store's return",
				name, restored.Sub(began).Round(time.Second), total, slices.Max(took).Round(time.Millisecond))
		})
	}
}
