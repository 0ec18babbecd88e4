package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

func TestContainerKilledUnderLoad(t *testing.T) {
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	most := session.Most()

	var (
		wg        sync.WaitGroup
		stop      = make(chan struct{})
		mu        sync.Mutex
		documents = map[int]int{} // by status
		posts     = map[int]int{}
		ids       []string
	)
	load := func(n int, do func(worker, i int)) {
		for worker := range n {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						do(worker, i)
					}
				}
			})
		}
	}
	load(6, func(int, int) {
		a, err := e.Try(session.Document("/about/"))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			assert.NoError(t, err)
			documents[0]++
		}
		documents[a.Status]++
	})
	load(2, func(worker, i int) {
		id := fmt.Sprintf("%d-%d", worker, i)
		a, err := e.Try(session.Post("/api/count?id="+id, "x"))
		mu.Lock()
		defer mu.Unlock()
		assert.NoError(t, err)
		posts[a.Status]++
		ids = append(ids, id)
	})

	rounds := times(3, 100)
	for round := range rounds {
		id := fmt.Sprintf("blocked-%d", round)
		blocked := make(chan harness.Answer, 1)
		go func() {
			a, err := e.Try(session.Post("/api/block?id="+id, "x"))
			assert.NoError(t, err)
			blocked <- a
		}()
		harness.Eventually(t, harness.Patience, "the POST is under way", func() bool { return api.Count(id) == 1 })
		require.NoError(t, syscall.Kill(session.Container().PID, syscall.SIGKILL))
		select {
		case a := <-blocked:
			assert.Equal(t, http.StatusServiceUnavailable, a.Status, "a POST whose container died")
			assert.NotEmpty(t, a.Header.Get("Retry-After"))
		case <-time.After(harness.Patience):
			require.Fail(t, "the POST whose container died was not answered")
		}
		session.Open()
		assert.Equal(t, 1, api.Count(id), "the POST was replayed")
		require.Equal(t, round+2, e.Started(), "containers ever started")
	}
	close(stop)
	wg.Wait()

	for status := range documents {
		assert.Contains(t, []int{http.StatusOK, http.StatusAccepted}, status, "documents by status: %v", documents)
	}
	assert.NotZero(t, documents[http.StatusOK])
	for status := range posts {
		assert.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, status, "POSTs by status: %v", posts)
	}
	for _, id := range ids {
		assert.LessOrEqual(t, api.Count(id), 1, "POST %s was replayed", id)
	}
	assert.Equal(t, 1, most(), "containers at once")
}
