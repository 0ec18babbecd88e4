package sessions_test

import (
	"context"
	"slices"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// calls is how many calls of a kind an edge has made: each draws how long it takes.
func (e *simEdge) calls(kind string) int {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	return int(e.w.draws[e.name+" "+kind])
}

// asked is how often a container was asked whether it is idle.
func (b *simBox) askedIdle() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// dutyOf waits until one of these edges is on duty, and returns which it is.
func dutyOf(t *testing.T, w *simWorld, most time.Duration, edges ...*simEdge) *simEdge {
	t.Helper()
	for until := time.Now().Add(most); ; {
		now, err := w.records.Duty(t.Context())
		require.NoError(t, err)
		if i := slices.IndexFunc(edges, func(e *simEdge) bool { return e.name == now.Holder }); i >= 0 {
			return edges[i]
		}
		require.True(t, time.Now().Before(until), "none has it within %s, but %q", most, now.Holder)
		simSleep(t.Context(), 100*time.Millisecond)
	}
}

// Three edges cost the registry, the runner and the containers what one does; the death
// of the one that asks and sweeps is noticed within two leases, at the worst, and its end at once.
func TestOneEdgeAsksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 1)
		w := newSimWorld(1, simMoods{})
		w.onAgree = func(*simBox) {}
		edges := []*simEdge{newSimEdge(w, "edge1"), newSimEdge(w, "edge2"), newSimEdge(w, "edge3")}
		on := dutyOf(t, w, time.Second, edges...)
		others := slices.DeleteFunc(slices.Clone(edges), func(e *simEdge) bool { return e == on })

		r, _, err := others[0].s.Create(t.Context(), sessions.CreateRequest{ClientID: "bramble", Wake: true})
		require.NoError(t, err)
		visit := func() {
			for _, e := range edges {
				if !e.isCrashed() {
					require.NoError(t, e.visit(t.Context(), r.SessionID, nil))
				}
			}
		}
		once, _, err := others[1].s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", Wake: true})
		require.NoError(t, err)
		for _, e := range edges {
			require.NoError(t, e.visit(t.Context(), once.SessionID, nil))
		}
		const minutes = 30
		for range minutes {
			visit()
			simSleep(t.Context(), time.Minute)
		}
		b, ok := w.cluster.of(r.SessionID)
		require.True(t, ok)
		// Used within the last minute, it is asked again in two to three.
		assert.LessOrEqual(t, b.askedIdle(), minutes/2+1)
		assert.GreaterOrEqual(t, b.askedIdle(), minutes/3-1)
		assert.InDelta(t, minutes*6, on.calls("due"), minutes, "looks every ten seconds, and sweeps")
		for _, e := range others {
			assert.Zero(t, e.calls("due"), e.name)
			assert.Zero(t, e.calls("list"), e.name)
			assert.Equal(t, 1, sessions.Routes(e.s), "the other session sleeps, and nothing of it is left")
		}

		// It cannot reach what it asks: another can.
		on.cutFrom(simToContainers, true)
		for range 5 {
			for _, e := range others {
				require.NoError(t, e.visit(t.Context(), r.SessionID, nil))
			}
			simSleep(t.Context(), time.Minute)
		}
		assert.Equal(t, int64(1), must(w.records.Get(t.Context(), r.SessionID)).Epoch)
		next := dutyOf(t, w, 0, edges...)
		assert.NotEqual(t, on.name, next.name)
		on.cutFrom(simToContainers, false)

		next.crash()
		left := slices.DeleteFunc(slices.Clone(edges), func(e *simEdge) bool { return e == next })
		last := dutyOf(t, w, 2*simLease, left...)

		require.NoError(t, last.s.Close(t.Context()))
		left = slices.DeleteFunc(left, func(e *simEdge) bool { return e == last })
		dutyOf(t, w, simLease/2, left...)

		simSleep(t.Context(), 2*simIdle+simForgets)
		assert.Empty(t, w.cluster.running())
		for _, e := range left {
			assert.Zero(t, sessions.Routes(e.s), e.name)
			require.NoError(t, e.s.Close(context.Background()))
		}
		<-next.closed
		assert.Empty(t, w.broken)
	})
}
