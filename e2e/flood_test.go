package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// Hosts and names that are nobody's cost the store nothing and leave nothing behind,
// however many different ones come.
func TestFloodOfUnknownHosts(t *testing.T) {
	parallel(t)
	store := harness.NewStore(t)
	store.CreateTables()
	link := store.Link()
	e := harness.New(t, store.Edge(link, harness.Options{}))
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()

	// latency is the median of a known client's page.
	latency := func() time.Duration {
		var took []time.Duration
		for range times(50, 500) {
			a := e.Do(session.Document("/"))
			require.Equal(t, http.StatusOK, a.Status)
			took = append(took, a.Took)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	tls13 := func(name string) error {
		d := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}} // there is no certificate to be checked
		conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", e.HTTPSPort))
		if err == nil {
			_ = conn.Close() // which should not have been opened
		}
		return err
	}
	flood := func(names int) {
		var next, failed atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(names); i = next.Add(1) {
					a, err := e.Try(harness.Request{Host: fmt.Sprintf("edit.stranger-%d.localhost", i), Path: "/session/x/"})
					if err != nil || a.Status != http.StatusNotFound || tls13(fmt.Sprintf("edit.other-%d.localhost", i)) == nil {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		assert.Zero(t, failed.Load(), "requests without a 404, or handshakes with a certificate")
	}

	flood(times(200, 2000)) // what is made once is made by now
	before, heap := latency(), e.HeapAfterGC()
	calls, began := link.Calls(), time.Now()
	names := times(2000, 50_000)
	flood(names)
	took := time.Since(began)
	calls = link.Calls() - calls
	grown := e.HeapAfterGC() - heap
	after := latency()

	// The change log is read once a second, and nothing else of the store.
	assert.LessOrEqual(t, calls, int64(took/time.Second)+2)
	assert.Less(t, grown, int64(4<<20), "bytes that %d names left behind", 2*names)
	t.Logf("%d hosts and %d server names in %s: %d calls of the store, the heap grew by %d KiB, a known client's page took %s before and %s after",
		names, names, took.Round(time.Millisecond), calls, grown>>10, before, after)
}
