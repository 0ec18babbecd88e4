package registrytest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

func testCreateLimit(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	running := func(n int) sessions.Record {
		return in(t, record("amelia", n), sessions.StatusInitializing, time.Time{})
	}
	for n := range 2 {
		_, err := reg.Create(t.Context(), running(n), 2)
		require.NoError(t, err)
	}
	_, err := reg.Create(t.Context(), running(2), 2)
	require.ErrorIs(t, err, sessions.ErrLimit)
	_, err = reg.Get(t.Context(), running(2).SessionID)
	require.ErrorIs(t, err, sessions.ErrNotFound)

	_, err = reg.Create(t.Context(), record("amelia", 3), 2)
	require.NoError(t, err, "one without a container needs no slot")
	_, err = reg.Create(t.Context(), in(t, record("bramble", 0), sessions.StatusInitializing, time.Time{}), 1)
	require.NoError(t, err, "another client's slots are its own")

	held, err := reg.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"amelia-0000", "amelia-0001"}, held)
	held, err = reg.Running(t.Context(), "nobody")
	require.NoError(t, err)
	assert.Empty(t, held)
}

func testUpdateSlots(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	first := create(t, reg, record("amelia", 1))
	second := create(t, reg, record("amelia", 2))

	first, err := reg.Update(t.Context(), in(t, first, sessions.StatusInitializing, time.Time{}), 1)
	require.NoError(t, err)
	_, err = reg.Update(t.Context(), in(t, second, sessions.StatusInitializing, time.Time{}), 1)
	require.ErrorIs(t, err, sessions.ErrLimit)
	first, err = reg.Update(t.Context(), first, 0)
	require.NoError(t, err, "one that holds a slot keeps it, even over a limit that was lowered")
	stopped, err := sessions.Next(first, sessions.Event{Kind: sessions.EventStopped}, epochStart)
	require.NoError(t, err)
	_, err = reg.Update(t.Context(), stopped, 0)
	require.NoError(t, err)
	_, err = reg.Update(t.Context(), in(t, second, sessions.StatusInitializing, time.Time{}), 1)
	require.NoError(t, err, "the freed slot can be taken")
	held, err := reg.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, []string{second.SessionID}, held)
}

func testRefusedWrite(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	want := create(t, reg, record("amelia", 1))
	_, err := reg.Update(t.Context(), in(t, want, sessions.StatusInitializing, time.Time{}), 0)
	require.ErrorIs(t, err, sessions.ErrLimit)
	got, err := reg.Get(t.Context(), want.SessionID)
	require.NoError(t, err)
	equal(t, want, got)
	unsettled, err := reg.Unsettled(t.Context(), 10)
	require.NoError(t, err)
	assert.Empty(t, unsettled)
}

const concurrency = 50

// together runs fn for each n below concurrency, all at once, on two registries of
// the same records in turn, and returns the errors by n.
func together(t *testing.T, o Options, prepare func(sessions.Registry), fn func(reg sessions.Registry, n int) error) (sessions.Registry, []error) {
	t.Helper()
	first, reopen := o.Open(t)
	second := reopen()
	t.Cleanup(func() {
		assert.NoError(t, first.Close())
		assert.NoError(t, second.Close())
	})
	prepare(first)
	errs := make([]error, concurrency)
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for n := range concurrency {
		wg.Go(func() {
			<-begin
			errs[n] = fn([]sessions.Registry{first, second}[n%2], n)
		})
	}
	close(begin)
	wg.Wait()
	return first, errs
}

// tally counts the successes, and requires every other outcome to be want.
func tally(t *testing.T, errs []error, want error) int {
	t.Helper()
	ok := 0
	for _, err := range errs {
		if err == nil {
			ok++
			continue
		}
		require.ErrorIs(t, err, want)
	}
	return ok
}

func testConcurrentLimit(t *testing.T, o Options) {
	t.Helper()
	const limit = 7
	recs := make([]sessions.Record, concurrency)
	for n := range recs {
		recs[n] = in(t, record("amelia", n), sessions.StatusInitializing, time.Time{})
	}
	reg, errs := together(t, o, func(sessions.Registry) {}, func(reg sessions.Registry, n int) error {
		_, err := reg.Create(t.Context(), recs[n], limit)
		return err
	})
	assert.Equal(t, limit, tally(t, errs, sessions.ErrLimit))
	held, err := reg.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Len(t, held, limit)
}

func testConcurrentWakes(t *testing.T, o Options) {
	t.Helper()
	const limit = 3
	recs := make([]sessions.Record, concurrency)
	reg, errs := together(t, o, func(reg sessions.Registry) {
		for n := range recs {
			recs[n] = in(t, create(t, reg, record("amelia", n)), sessions.StatusInitializing, time.Time{})
		}
	}, func(reg sessions.Registry, n int) error {
		_, err := reg.Update(t.Context(), recs[n], limit)
		return err
	})
	assert.Equal(t, limit, tally(t, errs, sessions.ErrLimit))
	held, err := reg.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Len(t, held, limit)
}

func testConcurrentThread(t *testing.T, o Options) {
	t.Helper()
	var winner atomic.Value
	losers := make([]string, concurrency)
	_, errs := together(t, o, func(sessions.Registry) {}, func(reg sessions.Registry, n int) error {
		r := record("amelia", n)
		r.ThreadID = "the-thread"
		_, err := reg.Create(t.Context(), r, 10)
		if taken, ok := errors.AsType[*sessions.ThreadTakenError](err); ok {
			losers[n] = taken.SessionID
		} else if err == nil {
			winner.Store(r.SessionID)
		}
		return err
	})
	require.Equal(t, 1, tally(t, errs, sessions.ErrThreadTaken))
	for n, err := range errs {
		if err != nil {
			assert.Equal(t, winner.Load(), losers[n])
		}
	}
}

func testConcurrentUpdate(t *testing.T, o Options) {
	t.Helper()
	var r sessions.Record
	reg, errs := together(t, o, func(reg sessions.Registry) {
		r = create(t, reg, record("amelia", 1))
	}, func(reg sessions.Registry, n int) error {
		mine := r
		mine.UserID = string(rune('a' + n%26))
		_, err := reg.Update(t.Context(), mine, 10)
		return err
	})
	assert.Equal(t, 1, tally(t, errs, sessions.ErrConflict))
	got, err := reg.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	assert.Equal(t, int64(2), got.Version)
}
