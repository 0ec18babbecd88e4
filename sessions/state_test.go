package sessions_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

var (
	states = []sessions.Status{
		sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusActive, sessions.StatusDraining, sessions.StatusFailed,
	}
	kinds = []sessions.EventKind{
		sessions.EventWake, sessions.EventStarted, sessions.EventLocated, sessions.EventReady, sessions.EventAsked,
		sessions.EventDrain, sessions.EventBusy, sessions.EventRenew, sessions.EventStopped, sessions.EventFail, sessions.EventLost,
		sessions.EventUnwake, sessions.EventDoubt, sessions.EventFound,
	}
	now = time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)
)

// state is a record as it may be found in a state; failed still has its container.
func state(s sessions.Status) sessions.Record {
	r := sessions.Record{SessionID: "s", ClientID: "c", ThreadID: "t", Status: s, Epoch: 3, Version: 7, Instruction: "do", LastActivity: now.Add(-time.Hour)}
	if s == sessions.StatusInactive {
		return r
	}
	r.Start = &sessions.Start{Token: "old", Size: "small", At: now.Add(-time.Hour)}
	r.Container, r.ContainerIP, r.ContainerPort = "ref", "10.0.0.1", 8080
	switch s {
	case sessions.StatusInitializing:
		r.Lease = &sessions.Lease{Holder: "edge-1", Beat: 4}
		r.SleepWanted = true
	case sessions.StatusDraining:
		r.Lease = &sessions.Lease{Holder: "edge-1", Beat: 4}
		r.Awake = &sessions.Awake{At: now, Activity: "document"}
	case sessions.StatusActive:
		r.Lease = &sessions.Lease{Holder: "edge-3", Beat: 1} // of one that doubts it
		r.AskAt = now.Add(time.Minute)
		r.Awake = &sessions.Awake{At: now, Activity: "document"}
	case sessions.StatusInactive: // returned above
	case sessions.StatusFailed:
		r.Lease = &sessions.Lease{Holder: "edge-1", Beat: 4}
		r.Failure = &sessions.Failure{Failure: bootapi.Failure{Cause: "why"}, At: now, Attempts: 2}
	}
	return r
}

func TestNextEveryStateEveryEvent(t *testing.T) {
	// "" is a refusal; the order of the columns is that of kinds.
	table := map[sessions.Status][14]sessions.Status{
		sessions.StatusInactive:     {"initializing", "", "", "", "", "", "", "", "", "", "", "", "", ""},
		sessions.StatusInitializing: {"", "initializing", "initializing", "active", "", "", "", "initializing", "inactive", "failed", "inactive", "initializing", "", ""},
		sessions.StatusActive:       {"", "", "", "", "active", "draining", "", "", "inactive", "failed", "inactive", "", "active", "active"},
		sessions.StatusDraining:     {"", "", "", "", "", "", "active", "draining", "inactive", "", "inactive", "", "", ""},
		sessions.StatusFailed:       {"initializing", "", "", "", "", "", "", "failed", "failed", "", "failed", "", "", ""},
	}
	require.Len(t, kinds, 14)
	for _, from := range states {
		for n, kind := range kinds {
			t.Run(string(from)+"/"+string(kind), func(t *testing.T) {
				before := state(from)
				kept := state(from)
				event := sessions.Event{
					Kind: kind, Holder: "edge-2", Start: sessions.Start{Token: "new", Size: "large", At: now},
					Container: "ref-2", IP: "10.0.0.2", Port: 9090, AskAt: now.Add(time.Hour), LastActivity: now.Add(-time.Second),
					Awake:   &sessions.Awake{At: now, Activity: "socket"},
					Failure: bootapi.Failure{Cause: "because"},
				}
				after, err := sessions.Next(before, event, now)
				assert.Equal(t, kept, before, "the record given is left as it is")
				want := table[from][n]
				if want == "" {
					require.ErrorIs(t, err, sessions.ErrTransition)
					assert.Equal(t, kept, after)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, want, after.Status)
				assert.Equal(t, before.Version, after.Version, "versions are the registry's")
				assert.Equal(t, want == "failed" || (kind == sessions.EventWake && from == "failed"), after.Failure != nil)
				if want == "inactive" || (want == "failed" && kind != sessions.EventRenew && kind != sessions.EventFail) {
					assert.False(t, after.HoldsSlot())
					assert.Empty(t, after.Container)
					assert.Empty(t, after.ContainerIP)
					assert.Zero(t, after.ContainerPort)
					assert.Nil(t, after.Lease)
					assert.Nil(t, after.Awake)
				} else {
					assert.True(t, after.HoldsSlot())
				}
				wanted := kind == sessions.EventUnwake || (before.SleepWanted && want == "initializing")
				assert.Equal(t, wanted, after.SleepWanted)
				assert.Equal(t, want == "active", !after.AskAt.IsZero(), "asked while active only")
				switch kind {
				case sessions.EventWake:
					assert.Equal(t, before.Epoch+1, after.Epoch)
					assert.Equal(t, event.Start, *after.Start)
					assert.Equal(t, sessions.Lease{Holder: "edge-2", Beat: 1}, *after.Lease)
					assert.Empty(t, after.Container)
					assert.Equal(t, now, after.LastActivity)
				case sessions.EventStarted:
					assert.Equal(t, "ref-2", after.Container)
					assert.Equal(t, "10.0.0.2", after.ContainerIP)
				case sessions.EventLocated:
					assert.Equal(t, "ref", after.Container)
					assert.Equal(t, 9090, after.ContainerPort)
				case sessions.EventReady:
					assert.Equal(t, event.AskAt, after.AskAt)
					assert.Nil(t, after.Lease)
					assert.Empty(t, after.Instruction)
				case sessions.EventDoubt:
					assert.Equal(t, sessions.Lease{Holder: "edge-2", Beat: 1}, *after.Lease)
				case sessions.EventFound:
					assert.Nil(t, after.Lease)
				case sessions.EventAsked:
					assert.Nil(t, after.Lease, "it answered whoever asked")
					assert.Equal(t, event.AskAt, after.AskAt)
					assert.Equal(t, event.LastActivity, after.LastActivity)
					assert.Equal(t, event.Awake, after.Awake)
				case sessions.EventUnwake:
					assert.True(t, after.SleepWanted)
				case sessions.EventBusy:
					assert.Equal(t, event.AskAt, after.AskAt)
					assert.Equal(t, event.LastActivity, after.LastActivity)
					assert.Equal(t, event.Awake, after.Awake)
					assert.Nil(t, after.Lease)
				case sessions.EventDrain:
					assert.Equal(t, sessions.Lease{Holder: "edge-2", Beat: 1}, *after.Lease)
				case sessions.EventRenew:
					assert.Equal(t, sessions.Lease{Holder: "edge-2", Beat: 5}, *after.Lease)
				case sessions.EventStopped, sessions.EventLost: // all of it is above
				case sessions.EventFail:
					assert.Equal(t, "because", after.Failure.Cause)
					assert.Equal(t, now, after.Failure.At)
					assert.Equal(t, 1, after.Failure.Attempts)
				}
				if kind != sessions.EventWake {
					assert.Equal(t, before.Epoch, after.Epoch)
				}
			})
		}
	}
	_, err := sessions.Next(state(sessions.StatusInactive), sessions.Event{Kind: "sneeze"}, now)
	require.ErrorIs(t, err, sessions.ErrTransition)
}

func TestNextFailedWithoutContainer(t *testing.T) {
	r, err := sessions.Next(state(sessions.StatusFailed), sessions.Event{Kind: sessions.EventStopped}, now)
	require.NoError(t, err)
	assert.Equal(t, 2, r.Failure.Attempts, "the cause and the count stay")
	for _, kind := range kinds {
		_, err := sessions.Next(r, sessions.Event{Kind: kind}, now)
		if kind == sessions.EventWake {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, sessions.ErrTransition, kind)
		}
	}
}

func TestAttemptsAreCountedUntilReady(t *testing.T) {
	r := state(sessions.StatusInactive)
	next := func(kind sessions.EventKind) {
		var err error
		r, err = sessions.Next(r, sessions.Event{Kind: kind}, now)
		require.NoError(t, err)
	}
	for want := 1; want <= 3; want++ {
		next(sessions.EventWake)
		next(sessions.EventFail)
		next(sessions.EventStopped)
		assert.Equal(t, want, r.Failure.Attempts)
		assert.Equal(t, now.Add(sessions.BackOff(want)), r.RetryAt())
	}
	next(sessions.EventWake)
	assert.Zero(t, r.RetryAt())
	next(sessions.EventReady)
	assert.Nil(t, r.Failure)
	next(sessions.EventFail)
	assert.Equal(t, 1, r.Failure.Attempts)
}

func TestBackOff(t *testing.T) {
	for attempts, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 2 * time.Second, 2: 4 * time.Second, 3: 8 * time.Second, 7: 128 * time.Second,
		8: 256 * time.Second, 9: 5 * time.Minute, 10: 5 * time.Minute, 1 << 40: 5 * time.Minute,
	} {
		assert.Equal(t, want, sessions.BackOff(attempts), attempts)
	}
}
