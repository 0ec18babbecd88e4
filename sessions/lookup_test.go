package sessions_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

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
	assert.EqualValues(t, 1, b.registry.calls.Load()-before)
	_, err := s.Lookup(t.Context(), "nobody")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	_, err = s.Wake(t.Context(), "")
	require.ErrorIs(t, err, sessions.ErrNotFound)
}

func TestUnknownThreadsCostOneLookup(t *testing.T) {
	b := newBench(t)
	s := b.service(nil)
	before := b.registry.reads.Load()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := s.LookupThread(t.Context(), "amelia", "nothing")
			assert.ErrorIs(t, err, sessions.ErrNotFound)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, b.registry.reads.Load()-before)
	r, _, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "nothing"})
	require.NoError(t, err)
	v, err := s.LookupThread(t.Context(), "amelia", "nothing")
	require.NoError(t, err, "what was unknown is forgotten when it is made")
	assert.Equal(t, r.SessionID, v.Record.SessionID)
}

// A look-up that began before a session was made or deleted says nothing of what is now.
func TestLookupsThatAreOvertaken(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	b.swept(r)
	overtaken := func(look func() error, by func()) (outcome chan error, release func()) {
		t.Helper()
		late, outcome, before := make(chan struct{}), make(chan error, 1), b.registry.keptUp.Load()
		b.registry.late.Store(&late)
		go func() { outcome <- look() }()
		b.eventually(func() bool { return b.registry.keptUp.Load() > before }, "it has read")
		b.registry.late.Store(nil)
		by()
		return outcome, func() { close(late) }
	}
	thread := func() error {
		_, err := s.LookupThread(t.Context(), "amelia", "spring")
		return err
	}
	var id string
	outcome, release := overtaken(thread, func() {
		created, _, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring"})
		require.NoError(t, err)
		id = created.SessionID
	})
	require.NoError(t, thread(), "it is there")
	release()
	require.ErrorIs(t, <-outcome, sessions.ErrNotFound)
	require.NoError(t, thread(), "it is not remembered as unknown")

	for _, look := range []func() error{thread, func() error {
		_, err := s.Lookup(t.Context(), id)
		return err
	}} {
		for overtook := false; !overtook; {
			outcome, release := overtaken(look, func() { require.NoError(t, s.Delete(t.Context(), id)) })
			require.ErrorIs(t, look(), sessions.ErrNotFound, "it is gone")
			release()
			err := <-outcome
			require.ErrorIs(t, look(), sessions.ErrNotFound)
			created, _, createErr := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring"})
			require.NoError(t, createErr)
			id = created.SessionID
			// What was kept up may have been a read of the service's own; then the look
			// read only after the deletion, and nothing was shown.
			if overtook = err == nil; !overtook {
				require.ErrorIs(t, err, sessions.ErrNotFound)
			}
		}
	}
}

func TestAnIDCannotStandForAThread(t *testing.T) {
	b := newBench(t)
	s := b.service(nil)
	_, _, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring"})
	require.NoError(t, err)
	_, err = s.Lookup(t.Context(), "amelia\x00spring")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	_, err = s.LookupThread(t.Context(), "amelia", "spring")
	require.NoError(t, err)
}

func TestRegistryThatHangsIsNotQueuedFor(t *testing.T) {
	for name, look := range map[string]func(s *sessions.Service, ctx context.Context, id string) error{
		"by id": func(s *sessions.Service, ctx context.Context, id string) error {
			_, err := s.Lookup(ctx, id)
			return err
		},
		"by thread": func(s *sessions.Service, ctx context.Context, id string) error {
			_, err := s.LookupThread(ctx, "amelia", id)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := b.service(nil)
			sessions.SetFlightPatience(s, soon)
			b.registry.hangs.Store(true)
			leave, cancel := context.WithCancel(t.Context())
			defer cancel()
			var gone sync.WaitGroup
			for n := range 500 {
				gone.Go(func() { assert.ErrorIs(t, look(s, leave, fmt.Sprint(n)), context.Canceled) })
			}
			b.eventually(func() bool {
				return b.registry.reads.Load() == sessions.MaxFlights && sessions.Flights(s) == 500
			}, "as many as may are looked up, the others wait")
			cancel()
			gone.Wait()
			assert.Zero(t, sessions.Flights(s), "nothing is waited for by nobody")

			sessions.SetFlightPatience(s, 100*time.Millisecond)
			err := look(s, t.Context(), "another")
			require.ErrorIs(t, err, sessions.ErrUnavailable, "who stays is told")
			assert.EqualValues(t, sessions.MaxFlights, b.registry.reads.Load())
		})
	}
}

func TestNothingIsKnownOfWhatWasNeverSeen(t *testing.T) {
	b := newBench(t)
	s := b.service(nil)
	b.registry.hangs.Store(true)
	w := s.Watch("never-seen")
	defer w.Close()
	assert.Zero(t, w.View().Progress.PhaseMillis)
	assert.Empty(t, w.View().Record.Status)
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
	for _, known := range []string{id, "nobody"} {
		// What goes on in the background allocates, too, but not all the time.
		b.eventually(func() bool {
			return testing.AllocsPerRun(1000, func() { s.Route(known) }) == 0
		}, "it allocates nothing")
	}
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
