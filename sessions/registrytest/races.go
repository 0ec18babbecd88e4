package registrytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// handles opens one registry several times, as several edges do.
func handles(t *testing.T, o Options, n int) []sessions.Registry {
	t.Helper()
	first, reopen := o.Open(t)
	all := []sessions.Registry{first}
	for len(all) < n {
		all = append(all, reopen())
	}
	t.Cleanup(func() {
		for _, reg := range all {
			assert.NoError(t, reg.Close())
		}
	})
	return all
}

// busy is an answer after which whoever asked would try again. Under the loads of these
// tests it may come from any registry.
func busy(err error) bool { return errors.Is(err, sessions.ErrUnavailable) }

// testManyCreates: 300 at once over three handles, for five slots.
func testManyCreates(t *testing.T, o Options) {
	t.Helper()
	const many, limit = 300, 5
	regs := handles(t, o, 3)
	recs := make([]sessions.Record, many)
	for n := range recs {
		recs[n] = in(t, record("amelia", n), sessions.StatusInitializing, time.Time{})
	}
	errs := make([]error, many)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for n := range recs {
		wg.Go(func() {
			<-begin
			for errs[n] = errBusy; busy(errs[n]); {
				_, errs[n] = regs[n%len(regs)].Create(t.Context(), recs[n], limit)
			}
		})
	}
	close(begin)
	wg.Wait()
	assert.Equal(t, limit, tally(t, errs, sessions.ErrLimit))
	running, err := regs[0].Running(t.Context(), "amelia")
	require.NoError(t, err)
	require.Len(t, running, limit)
	for n, err := range errs {
		if err == nil {
			assert.Contains(t, running, recs[n].SessionID)
		} else {
			_, err := regs[1].Get(t.Context(), recs[n].SessionID)
			require.ErrorIs(t, err, sessions.ErrNotFound)
		}
	}

	asleep, err := regs[2].Get(t.Context(), running[0])
	require.NoError(t, err)
	update(t, regs[2], asleep, sessions.Event{Kind: sessions.EventStopped})
	next := in(t, record("amelia", many), sessions.StatusInitializing, time.Time{})
	_, err = regs[0].Create(t.Context(), next, limit)
	require.NoError(t, err, "after one sleeps the next can be created")
}

var errBusy = fmt.Errorf("not tried yet: %w", sessions.ErrUnavailable)

// testThreadRace creates, looks up and deletes the session of one thread from all sides:
// it never has two.
func testThreadRace(t *testing.T, o Options) {
	t.Helper()
	const workers, rounds = 6, 12
	regs := handles(t, o, 2)
	var created, deleted atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			reg := regs[w%len(regs)]
			for round := range rounds {
				r := record("amelia", w*rounds+round)
				r.ThreadID = "the-thread"
				taken := &sessions.ThreadTakenError{}
				r, err := reg.Create(t.Context(), r, 10)
				switch {
				case err == nil:
					created.Add(1)
				case errors.As(err, &taken):
					if r, err = reg.Get(t.Context(), taken.SessionID); errors.Is(err, sessions.ErrNotFound) {
						continue
					}
					assert.NoError(t, err)
				case busy(err):
					continue
				default:
					assert.NoError(t, err)
					return
				}
				if found, err := reg.ByThread(t.Context(), "amelia", "the-thread"); err == nil {
					assert.Equal(t, "the-thread", found.ThreadID)
				} else if !errors.Is(err, sessions.ErrNotFound) && !busy(err) {
					assert.NoError(t, err)
				}
				switch err = reg.Delete(t.Context(), r.SessionID, r.Version); {
				case err == nil:
					deleted.Add(1)
				case errors.Is(err, sessions.ErrNotFound), busy(err):
				default:
					assert.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	left := created.Load() - deleted.Load()
	require.GreaterOrEqual(t, left, int64(0))
	require.LessOrEqual(t, left, int64(1), "one thread has one session")
	found, err := regs[0].ByThread(t.Context(), "amelia", "the-thread")
	if left == 0 {
		require.ErrorIs(t, err, sessions.ErrNotFound)
		eventually(t, []string{}, func() ([]sessions.Record, error) { return regs[0].List(t.Context(), "amelia", "", 10) })
		return
	}
	require.NoError(t, err)
	eventually(t, []string{found.SessionID}, func() ([]sessions.Record, error) { return regs[1].List(t.Context(), "amelia", "", 10) })
}

// testWakeOrDelete: a wake and a deletion of the same version; one of them happens.
func testWakeOrDelete(t *testing.T, o Options) {
	t.Helper()
	regs := handles(t, o, 2)
	for n := range 15 {
		r := create(t, regs[0], record("amelia", n))
		woken := in(t, r, sessions.StatusInitializing, time.Time{})
		var wakeErr, deleteErr error
		var wg sync.WaitGroup
		wg.Go(func() { _, wakeErr = regs[n%2].Update(t.Context(), woken, 100) })
		wg.Go(func() { deleteErr = regs[(n+1)%2].Delete(t.Context(), r.SessionID, r.Version) })
		wg.Wait()
		running, err := regs[0].Running(t.Context(), "amelia")
		require.NoError(t, err)
		if deleteErr == nil {
			require.ErrorIs(t, wakeErr, sessions.ErrNotFound)
			assert.NotContains(t, running, r.SessionID)
			_, err := regs[0].ByThread(t.Context(), "amelia", r.ThreadID)
			require.ErrorIs(t, err, sessions.ErrNotFound)
			continue
		}
		require.ErrorIs(t, deleteErr, sessions.ErrConflict)
		require.NoError(t, wakeErr)
		assert.Contains(t, running, r.SessionID)
	}
}

// testRacingTransitions has several edges drive sessions through their states, each
// from what it last read, within a limit. No write is lost, no slot is left, none is
// taken twice, and the limit holds at every moment.
func testRacingTransitions(t *testing.T, o Options) {
	t.Helper()
	const edges, many, steps, limit = 3, 4, 40, 2
	regs := handles(t, o, edges)
	ids := make([]string, many)
	for n := range ids {
		ids[n] = create(t, regs[0], record("amelia", n)).SessionID
	}
	writes, wakes := make([]atomic.Int64, many), make([]atomic.Int64, many)

	watching, done := context.WithCancel(t.Context())
	var watcher, workers sync.WaitGroup
	watcher.Go(func() {
		for watching.Err() == nil {
			running, err := regs[0].Running(watching, "amelia")
			if err == nil {
				assert.LessOrEqual(t, len(running), limit)
			}
		}
	})
	for edge, reg := range regs {
		for n, id := range ids {
			workers.Go(func() {
				for step := range steps {
					drive(t, reg, id, edge+step, limit, &writes[n], &wakes[n])
				}
			})
		}
	}
	workers.Wait()
	done()
	watcher.Wait()

	var holding []string
	for n, id := range ids {
		r, err := regs[1].Get(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, writes[n].Load()+1, r.Version, "each write that returned is a version")
		assert.Equal(t, wakes[n].Load(), r.Epoch)
		if r.HoldsSlot() {
			holding = append(holding, id)
		}
	}
	running, err := regs[2].Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.ElementsMatch(t, holding, running)
}

// drive takes one step of one session.
func drive(t *testing.T, reg sessions.Registry, id string, turn, limit int, writes, wakes *atomic.Int64) {
	t.Helper()
	r, err := reg.Get(t.Context(), id)
	if busy(err) {
		return
	}
	if !assert.NoError(t, err) {
		return
	}
	e := stepOf(r, turn)
	next, err := sessions.Next(r, e, epochStart)
	if !assert.NoError(t, err) {
		return
	}
	stored, err := reg.Update(t.Context(), next, limit)
	for tries := 0; busy(err) && tries < 100; tries++ {
		// It may have been written: only a read tells.
		var now sessions.Record
		if now, err = reg.Get(t.Context(), id); err != nil {
			continue
		}
		if now.Version == r.Version {
			stored, err = reg.Update(t.Context(), next, limit)
		} else {
			stored, err = now, sessions.ErrConflict
		}
	}
	switch {
	case err == nil:
		assert.Equal(t, r.Version+1, stored.Version)
		writes.Add(1)
		if e.Kind == sessions.EventWake {
			wakes.Add(1)
		}
	case errors.Is(err, sessions.ErrConflict):
	case errors.Is(err, sessions.ErrLimit):
		assert.Equal(t, sessions.EventWake, e.Kind)
	default:
		assert.NoError(t, err)
	}
}

// stepOf chooses what happens to a session.
func stepOf(r sessions.Record, turn int) sessions.Event {
	wake := sessions.Event{Kind: sessions.EventWake, Holder: "edge", Start: sessions.Start{Token: "secret", Size: "small", At: epochStart}}
	choices := map[sessions.Status][]sessions.Event{
		sessions.StatusInactive: {wake},
		sessions.StatusInitializing: {
			{Kind: sessions.EventStarted, Container: "ref", IP: "10.0.0.1", Port: 8080},
			{Kind: sessions.EventReady, AskAt: epochStart},
			{Kind: sessions.EventFail},
			{Kind: sessions.EventRenew, Holder: "edge"},
		},
		sessions.StatusActive: {
			{Kind: sessions.EventDrain, Holder: "edge"}, {Kind: sessions.EventAsked, AskAt: epochStart.Add(time.Minute)}, {Kind: sessions.EventLost},
		},
		sessions.StatusDraining: {{Kind: sessions.EventStopped}, {Kind: sessions.EventBusy, AskAt: epochStart}},
		sessions.StatusFailed:   {wake, {Kind: sessions.EventStopped}},
	}[r.Status]
	if r.Status == sessions.StatusFailed && !r.HoldsSlot() {
		return wake
	}
	return choices[turn%len(choices)]
}
