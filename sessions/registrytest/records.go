package registrytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

func testCreateAndGet(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	for n, status := range []sessions.Status{
		sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusActive, sessions.StatusDraining, sessions.StatusFailed,
	} {
		want := in(t, record("amelia", n), status, epochStart.Add(time.Hour))
		created := create(t, reg, want)
		want.Version = 1
		equal(t, want, created)

		got, err := reg.Get(t.Context(), want.SessionID)
		require.NoError(t, err)
		equal(t, want, got)

		got, err = reg.ByThread(t.Context(), want.ClientID, want.ThreadID)
		require.NoError(t, err)
		equal(t, want, got)
	}
	_, err := reg.Get(t.Context(), "nobody")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	_, err = reg.ByThread(t.Context(), "bramble", "thread-0")
	require.ErrorIs(t, err, sessions.ErrNotFound, "another client's thread of the same name")
}

func testThreadTaken(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	first := create(t, reg, record("amelia", 1))
	second := record("amelia", 2)
	second.ThreadID = first.ThreadID
	_, err := reg.Create(t.Context(), second, 10)
	require.ErrorIs(t, err, sessions.ErrThreadTaken)
	var taken *sessions.ThreadTakenError
	require.ErrorAs(t, err, &taken)
	assert.Equal(t, first.SessionID, taken.SessionID)
	assert.Equal(t, first.ThreadID, taken.ThreadID)

	other := record("bramble", 1)
	other.ThreadID = first.ThreadID
	create(t, reg, other)
}

func testIDTaken(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	first := create(t, reg, record("amelia", 1))
	second := record("bramble", 2)
	second.SessionID = first.SessionID
	_, err := reg.Create(t.Context(), second, 10)
	require.ErrorIs(t, err, sessions.ErrConflict)
	_, err = reg.ByThread(t.Context(), "bramble", second.ThreadID)
	require.ErrorIs(t, err, sessions.ErrNotFound)
}

func testUpdate(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := create(t, reg, record("amelia", 1))
	want := in(t, r, sessions.StatusInitializing, time.Time{})
	want.LastActivity = epochStart.Add(time.Minute)
	got, err := reg.Update(t.Context(), want, 10)
	require.NoError(t, err)
	want.Version = 2
	equal(t, want, got)
	got, err = reg.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	equal(t, want, got)

	_, err = reg.Update(t.Context(), record("amelia", 9), 10)
	require.ErrorIs(t, err, sessions.ErrNotFound)
}

func testOptimisticLock(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := create(t, reg, record("amelia", 1))
	newer, err := reg.Update(t.Context(), r, 10)
	require.NoError(t, err)
	_, err = reg.Update(t.Context(), r, 10)
	require.ErrorIs(t, err, sessions.ErrConflict)
	require.ErrorIs(t, reg.Delete(t.Context(), r.SessionID, r.Version), sessions.ErrConflict)
	future := newer
	future.Version += 5
	_, err = reg.Update(t.Context(), future, 10)
	require.ErrorIs(t, err, sessions.ErrConflict)
}

func testIdentity(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := create(t, reg, record("amelia", 1))
	for name, change := range map[string]func(*sessions.Record){
		"client": func(r *sessions.Record) { r.ClientID = "bramble" },
		"thread": func(r *sessions.Record) { r.ThreadID = "another" },
	} {
		changed := r
		change(&changed)
		_, err := reg.Update(t.Context(), changed, 10)
		require.Error(t, err, name)
	}
	got, err := reg.ByThread(t.Context(), "amelia", r.ThreadID)
	require.NoError(t, err)
	equal(t, r, got)
}

func testDelete(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := create(t, reg, in(t, record("amelia", 1), sessions.StatusActive, epochStart))
	require.NoError(t, reg.Delete(t.Context(), r.SessionID, r.Version))
	_, err := reg.Get(t.Context(), r.SessionID)
	require.ErrorIs(t, err, sessions.ErrNotFound)
	require.ErrorIs(t, reg.Delete(t.Context(), r.SessionID, r.Version), sessions.ErrNotFound)
	running, err := reg.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Empty(t, running, "the slot is freed")
	eventually(t, []string{}, func() ([]sessions.Record, error) { return reg.Due(t.Context(), epochStart, 10) })

	again := record("amelia", 2)
	again.ThreadID = r.ThreadID
	create(t, reg, again)
}

func testList(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	for n := range 5 {
		create(t, reg, record("bramble", n))
		create(t, reg, record("amelia", n))
	}
	list := func(want []string, client, after string, limit int) {
		t.Helper()
		eventually(t, want, func() ([]sessions.Record, error) { return reg.List(t.Context(), client, after, limit) })
	}
	list([]string{"amelia-0000", "amelia-0001"}, "amelia", "", 2)
	list([]string{"amelia-0002", "amelia-0003"}, "amelia", "amelia-0001", 2)
	list([]string{"amelia-0004"}, "amelia", "amelia-0003", 2)
	list([]string{"amelia-0003", "amelia-0004"}, "amelia", "amelia-0002b", 10) // one that was deleted since
	list([]string{}, "amelia", "amelia-0004", 2)
	list([]string{}, "nobody", "", 100)
}

// testListPages lists more than fits one page, of whatever size a store's own pages are.
func testListPages(t *testing.T, o Options) {
	t.Helper()
	const many = 230
	reg := open(t, o)
	want := make([]string, many)
	for n := range want {
		want[n] = create(t, reg, record("amelia", n)).SessionID
	}
	other := create(t, reg, in(t, record("bramble", 0), sessions.StatusActive, epochStart)).SessionID
	pages := func(client string, limit int) ([]sessions.Record, error) {
		var all []sessions.Record
		for after := ""; ; {
			page, err := reg.List(t.Context(), client, after, limit)
			if err != nil || len(page) == 0 {
				return all, err
			}
			all = append(all, page...)
			if len(page) < limit {
				return all, nil
			}
			after = page[len(page)-1].SessionID
		}
	}
	eventually(t, want, func() ([]sessions.Record, error) { return pages("amelia", 100) })
	eventually(t, want, func() ([]sessions.Record, error) { return pages("amelia", many) })
	for _, limit := range []int{7, 100, 1000} {
		// All are listed once, in an order that is the registry's own.
		eventually(t, append(slices.Clone(want), other), func() ([]sessions.Record, error) {
			all, err := pages("", limit)
			slices.SortFunc(all, func(a, b sessions.Record) int { return strings.Compare(a.SessionID, b.SessionID) })
			return all, err
		})
	}
}

func testDue(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	at := func(n int) time.Time { return epochStart.Add(time.Duration(n) * time.Second) }
	// The order of AskAt is not that of the ids.
	for n, seconds := range []int{30, 10, 20, 40} {
		create(t, reg, in(t, record("amelia", n), sessions.StatusActive, at(seconds)))
	}
	for n, status := range []sessions.Status{
		sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusDraining, sessions.StatusFailed,
	} {
		create(t, reg, in(t, record("bramble", n), status, at(1)))
	}
	due := func(want []string, when time.Time, limit int) {
		t.Helper()
		eventually(t, want, func() ([]sessions.Record, error) { return reg.Due(t.Context(), when, limit) })
	}
	due([]string{}, at(10).Add(-time.Nanosecond), 10)
	due([]string{"amelia-0001"}, at(10), 10) // a moment that has come is due
	due([]string{"amelia-0001", "amelia-0002", "amelia-0000"}, at(30), 10)
	due([]string{"amelia-0001", "amelia-0002"}, at(30), 2)
	due([]string{"amelia-0001"}, at(10).In(time.FixedZone("elsewhere", 3600)), 10)

	r, err := reg.Get(t.Context(), "amelia-0001")
	require.NoError(t, err)
	r = update(t, reg, r, sessions.Event{Kind: sessions.EventAsked, AskAt: at(25)})
	due([]string{"amelia-0002", "amelia-0001", "amelia-0000"}, at(30), 10)
	update(t, reg, r, sessions.Event{Kind: sessions.EventDrain, Holder: "edge"})
	due([]string{"amelia-0002", "amelia-0000"}, at(30), 10)
}

// testDueOrder has more sessions than are asked for, however they are kept.
func testDueOrder(t *testing.T, o Options) {
	t.Helper()
	const many, limit = 60, 7
	reg := open(t, o)
	var want []string
	for n := range many {
		// 37 and 60 have no common factor: each second once, in another order.
		second := n * 37 % many
		create(t, reg, in(t, record("amelia", second), sessions.StatusActive, epochStart.Add(time.Duration(second)*time.Second)))
		want = append(want, fmt.Sprintf("amelia-%04d", n))
	}
	for _, most := range []int{1, limit, many, many + 1} {
		eventually(t, want[:min(most, many)], func() ([]sessions.Record, error) {
			return reg.Due(t.Context(), epochStart.Add(time.Hour), most)
		})
	}
	far := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	eventually(t, want, func() ([]sessions.Record, error) { return reg.Due(t.Context(), far, 10_000) })
}

func testUnsettled(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	for n, status := range []sessions.Status{
		sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusActive, sessions.StatusDraining, sessions.StatusFailed,
	} {
		create(t, reg, in(t, record("amelia", n), status, epochStart))
	}
	settled := in(t, record("amelia", 5), sessions.StatusFailed, epochStart)
	settled, err := sessions.Next(settled, sessions.Event{Kind: sessions.EventStopped}, epochStart)
	require.NoError(t, err)
	create(t, reg, settled)
	doubted := create(t, reg, in(t, record("amelia", 6), sessions.StatusActive, epochStart))
	doubted = update(t, reg, doubted, sessions.Event{Kind: sessions.EventDoubt, Holder: "edge"})
	trusted := create(t, reg, in(t, record("amelia", 7), sessions.StatusActive, epochStart))
	trusted = update(t, reg, trusted, sessions.Event{Kind: sessions.EventDoubt, Holder: "edge"})
	update(t, reg, trusted, sessions.Event{Kind: sessions.EventFound})
	got, err := reg.Get(t.Context(), doubted.SessionID)
	require.NoError(t, err)
	equal(t, doubted, got)

	eventually(t, []string{"amelia-0001", "amelia-0003", "amelia-0004", "amelia-0006"}, func() ([]sessions.Record, error) {
		recs, err := reg.Unsettled(t.Context(), 10)
		slices.SortFunc(recs, func(a, b sessions.Record) int { return strings.Compare(a.SessionID, b.SessionID) })
		return recs, err
	})
	recs, err := reg.Unsettled(t.Context(), 2)
	require.NoError(t, err)
	assert.Len(t, recs, 2)
}

func testReopen(t *testing.T, o Options) {
	t.Helper()
	reg, reopen := o.Open(t)
	want := create(t, reg, in(t, record("amelia", 1), sessions.StatusActive, epochStart))
	second := reopen()
	got, err := second.Get(t.Context(), want.SessionID)
	require.NoError(t, err, "while the first is open")
	equal(t, want, got)
	require.NoError(t, reg.Close())
	got, err = second.Update(t.Context(), got, 0)
	require.NoError(t, err)
	require.NoError(t, second.Close())
	third := reopen()
	again, err := third.Get(t.Context(), want.SessionID)
	require.NoError(t, err)
	equal(t, got, again)
	require.NoError(t, third.Close())
}

func testEndedContext(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := create(t, reg, record("amelia", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reg.Update(ctx, r, 10)
	require.ErrorIs(t, err, context.Canceled)
	_, err = reg.Get(ctx, r.SessionID)
	require.ErrorIs(t, err, context.Canceled)
	got, err := reg.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	equal(t, r, got)
}
