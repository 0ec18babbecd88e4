package sessions_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

func TestUnknownIDsCostOneLookup(t *testing.T) {
	b := newBench(t)
	s := b.service(nil)
	before := b.registry.calls.Load()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := s.Lookup(t.Context(), "nobody")
			assert.ErrorIs(t, err, sessions.ErrNotFound)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, b.registry.calls.Load()-before, int64(2), "one flight, and at most one that began after it")
	_, err := s.Lookup(t.Context(), "nobody")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	_, err = s.Wake(t.Context(), "")
	require.ErrorIs(t, err, sessions.ErrNotFound)
}

func TestNothingGrowsWithWhatStrangersSend(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "amelia")
	for n := range 6000 {
		_, err := s.Lookup(t.Context(), fmt.Sprintf("stranger-%d", n))
		require.ErrorIs(t, err, sessions.ErrNotFound)
	}
	assert.LessOrEqual(t, sessions.Remembered(s), 4096)
	_, err := s.Wake(t.Context(), "another-stranger")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	w := s.Watch("watched-stranger")
	b.eventually(func() bool { return len(w.C()) == 1 }, "it is told that there is none")
	w.Close()
	_, err = s.Lookup(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return sessions.Live(s) == 0 }, "nothing is kept")
	b.awake(s, id)
	b.eventually(func() bool { return sessions.Live(s) == 1 }, "what is live is")
	require.NoError(t, s.Sleep(t.Context(), id, "x"))
	b.eventually(func() bool { return sessions.Live(s) == 0 }, "and then no more")
}

func TestRouteAllocatesNothing(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "amelia")
	b.awake(s, id)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { s.Route(id) }))
	assert.Zero(t, testing.AllocsPerRun(1000, func() { s.Route("nobody") }))
}

func BenchmarkRoute(b *testing.B) {
	s := sessions.New(sessions.Options{})
	ids := sessions.FillRoutes(s, 10_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if _, ok := s.Route(ids[n%len(ids)]); !ok {
				b.Error("no route")
			}
		}
	})
}
