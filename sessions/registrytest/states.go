package registrytest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

var statuses = []sessions.Status{
	sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusActive, sessions.StatusDraining, sessions.StatusFailed,
}

// testAnyChange replaces a record in each state by one in each other: a registry knows
// nothing of the transitions, only that the slot goes with the record.
func testAnyChange(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	n := 0
	for _, from := range statuses {
		for _, to := range statuses {
			for _, instruction := range []string{"", "make the heading larger"} {
				n++
				name := string(from) + " to " + string(to)
				r := record("amelia", n)
				old := create(t, reg, in(t, r, from, epochStart))
				want := in(t, r, to, epochStart)
				want.Version, want.Instruction = old.Version, instruction
				got, err := reg.Update(t.Context(), want, 1000)
				require.NoError(t, err, name)
				want.Version++
				equal(t, want, got)
				got, err = reg.Get(t.Context(), want.SessionID)
				require.NoError(t, err, name)
				equal(t, want, got)
				running, err := reg.Running(t.Context(), "amelia")
				require.NoError(t, err)
				if want.HoldsSlot() {
					assert.Contains(t, running, want.SessionID, name)
				} else {
					assert.NotContains(t, running, want.SessionID, name)
				}
			}
		}
	}
}

// testFailedSlot: a session that failed holds its slot until its container's stop is
// confirmed, through its next wake too.
func testFailedSlot(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	first := create(t, reg, in(t, record("amelia", 1), sessions.StatusFailed, time.Time{}))
	second := create(t, reg, record("amelia", 2))
	wakeSecond := in(t, second, sessions.StatusInitializing, time.Time{})
	_, err := reg.Update(t.Context(), wakeSecond, 1)
	require.ErrorIs(t, err, sessions.ErrLimit)

	wake := sessions.Event{Kind: sessions.EventWake, Holder: "edge", Start: sessions.Start{Token: "another", Size: "small", At: epochStart}}
	next, err := sessions.Next(first, wake, epochStart)
	require.NoError(t, err)
	first, err = reg.Update(t.Context(), next, 1)
	require.NoError(t, err, "it has its slot")
	first = update(t, reg, first, sessions.Event{Kind: sessions.EventFail})
	update(t, reg, first, sessions.Event{Kind: sessions.EventStopped})
	_, err = reg.Update(t.Context(), wakeSecond, 1)
	require.NoError(t, err)
}

// testIDs has ids as the older tools made them, and some that look like what a registry
// may keep beside the sessions.
func testIDs(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	for n, id := range []string{"amelia#a person@example.com#thread/1", "amelia#<b>#ünïcode ☃", "5f0c7c1e-6f5e-4b8e-9a53-0c8f3a3d9d10", strings.Repeat("x", 256)} {
		r := record("amelia", n)
		r.SessionID = id
		want := create(t, reg, r)
		got, err := reg.Get(t.Context(), id)
		require.NoError(t, err)
		equal(t, want, got)
		got, err = reg.ByThread(t.Context(), "amelia", r.ThreadID)
		require.NoError(t, err)
		equal(t, want, got)
	}
	create(t, reg, in(t, record("amelia", 9), sessions.StatusActive, epochStart))
	for _, id := range []string{"", "amelia", "thread-9", "thread#amelia#thread-9", "slots#amelia", "amelia#thread-9", "\xff\xfe", strings.Repeat("y", 256)} {
		_, err := reg.Get(t.Context(), id)
		require.ErrorIs(t, err, sessions.ErrNotFound, "%q", id)
		_, err = reg.ByThread(t.Context(), "amelia", id+"?")
		require.ErrorIs(t, err, sessions.ErrNotFound, "%q", id)
		require.ErrorIs(t, reg.Delete(t.Context(), id, 1), sessions.ErrNotFound, "%q", id)
	}
}

// testLongTexts has a record as long as the service lets one become.
func testLongTexts(t *testing.T, o Options) {
	t.Helper()
	reg := open(t, o)
	r := in(t, record("amelia", 1), sessions.StatusFailed, time.Time{})
	r.Instruction = strings.Repeat("größer\n", 2000)
	r.Failure.Detail = strings.Repeat("\x1b[31mfatal:\t\"no\"\r\n", 500)
	r.UserID = strings.Repeat("ü", 100)
	want := create(t, reg, r)
	got, err := reg.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	equal(t, want, got)
	got = update(t, reg, got, sessions.Event{Kind: sessions.EventStopped})
	again, err := reg.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	equal(t, got, again)
}
