package progress

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// fixture is a board with a clock that the test moves.
type fixture struct {
	*Board
	t time.Time
}

func newFixture() *fixture {
	f := &fixture{t: time.Unix(1000, 0)}
	f.Board = New(func() time.Time { return f.t }, func() (time.Duration, string) { return 7 * time.Millisecond, "document" })
	return f
}

func TestStatus(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.t = f.t.Add(time.Second)
	f.Claimed("s1", 4)
	f.t = f.t.Add(time.Second)
	f.Enter(bootapi.PhaseCloning, "git")
	f.Content("abc", "edit/x")
	f.Reuse("clone")
	f.t = f.t.Add(time.Second)
	assert.Equal(t, bootapi.Status{
		SessionID: "s1", Epoch: 4, Phase: bootapi.PhaseCloning, PhaseMillis: 1000, TotalMillis: 3000,
		Step: "git", Commit: "abc", Branch: "edit/x", Reused: []string{"clone"}, IdleMillis: 7, ActivityKind: "document",
	}, f.Status())
}

func TestPhases(t *testing.T) {
	t.Parallel()
	boom := bootapi.Failure{Phase: bootapi.PhaseBuilding, Cause: "boom"}
	cases := map[string]struct {
		do      func(f *fixture)
		phase   bootapi.Phase
		failure *bootapi.Failure
	}{
		"forward":              {func(f *fixture) { f.Enter(bootapi.PhaseBuilding, "") }, bootapi.PhaseBuilding, nil},
		"never back":           {func(f *fixture) { f.Enter(bootapi.PhaseReady, ""); f.Enter(bootapi.PhaseInstalling, "npm ci") }, bootapi.PhaseReady, nil},
		"a boot that fails":    {func(f *fixture) { f.Enter(bootapi.PhaseBuilding, ""); f.Fail(boom) }, bootapi.PhaseFailed, &boom},
		"no way out of it":     {func(f *fixture) { f.Fail(boom); f.Enter(bootapi.PhaseReady, "") }, bootapi.PhaseFailed, &boom},
		"but the end":          {func(f *fixture) { f.Fail(boom); f.Enter(bootapi.PhaseStopping, "") }, bootapi.PhaseStopping, &boom},
		"a rebuild that fails": {func(f *fixture) { f.Enter(bootapi.PhaseReady, ""); f.Fail(boom) }, bootapi.PhaseReady, &boom},
		"and the next one":     {func(f *fixture) { f.Enter(bootapi.PhaseReady, ""); f.Fail(boom); f.Recovered() }, bootapi.PhaseReady, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture()
			tc.do(f)
			assert.Equal(t, tc.phase, f.Phase())
			assert.Equal(t, tc.failure, f.Status().Failure)
		})
	}
}

func TestLogKeepsTheLastLines(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for i := range 50 {
		f.Log(bootapi.PhaseBuilding, fmt.Sprint(i))
	}
	log := f.Status().Log
	require.Len(t, log, 20)
	assert.Equal(t, "30", log[0])
	assert.Equal(t, "49", log[19])
	f.Log(bootapi.PhaseBuilding, "more")
	assert.Equal(t, "30", log[0], "a status once given does not change")
}

func next(t *testing.T, s *Subscription) []Event {
	t.Helper()
	events, err := s.Wait(t.Context(), time.Minute)
	require.NoError(t, err)
	return events
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.Enter(bootapi.PhaseCloning, "")
	s, err := f.Subscribe()
	require.NoError(t, err)
	f.Enter(bootapi.PhaseInstalling, "npm ci")
	f.Log(bootapi.PhaseInstalling, "line")

	var phases []bootapi.Phase
	events := next(t, s)
	require.Len(t, events, 3)
	for _, e := range events[:2] {
		var status bootapi.Status
		require.NoError(t, json.Unmarshal(e.Data, &status))
		assert.Equal(t, bootapi.EventStatus, e.Name)
		phases = append(phases, status.Phase)
	}
	assert.Equal(t, []bootapi.Phase{bootapi.PhaseCloning, bootapi.PhaseInstalling}, phases)
	assert.Equal(t, Event{Name: bootapi.EventLog, Data: []byte(`{"phase":"installing","line":"line"}`)}, events[2])

	f.Unsubscribe(s)
	f.Log(bootapi.PhaseInstalling, "unheard")
	events, err = s.Wait(t.Context(), time.Millisecond)
	require.NoError(t, err)
	assert.Empty(t, events)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Wait(ctx, time.Minute)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestFloodOfLinesLosesLinesNotPhases(t *testing.T) {
	t.Parallel()
	f := newFixture()
	s, err := f.Subscribe()
	require.NoError(t, err)
	f.Enter(bootapi.PhaseInstalling, "")
	for i := range 100_000 {
		f.Log(bootapi.PhaseInstalling, fmt.Sprint(i))
	}
	f.Enter(bootapi.PhaseReady, "")
	events := next(t, s)
	assert.LessOrEqual(t, len(events), maxQueued)
	statuses := 0
	for _, e := range events {
		if e.Name == bootapi.EventStatus {
			statuses++
		}
	}
	assert.Equal(t, 3, statuses)
	assert.Contains(t, string(events[len(events)-2].Data), `"99999"`, "the newest lines stay")
}

func TestSlowReaderIsDropped(t *testing.T) {
	t.Parallel()
	f := newFixture()
	s, err := f.Subscribe()
	require.NoError(t, err)
	for range maxQueued {
		f.Step("again")
	}
	_, err = s.Wait(t.Context(), time.Minute)
	require.ErrorIs(t, err, ErrSlow)
	assert.Empty(t, f.subs)
}

func TestClose(t *testing.T) {
	t.Parallel()
	f := newFixture()
	s, err := f.Subscribe()
	require.NoError(t, err)
	f.Enter(bootapi.PhaseStopping, "")
	f.Close()
	assert.Len(t, next(t, s), 2, "what came before is read to its end")
	_, err = s.Wait(t.Context(), time.Minute)
	require.ErrorIs(t, err, ErrClosed)

	late, err := f.Subscribe()
	require.NoError(t, err)
	assert.Len(t, next(t, late), 1)
	_, err = late.Wait(t.Context(), time.Minute)
	require.ErrorIs(t, err, ErrClosed)
}

func TestSubscribersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture()
	var first *Subscription
	for range maxSubscribers {
		s, err := f.Subscribe()
		require.NoError(t, err)
		first = s
	}
	_, err := f.Subscribe()
	require.ErrorIs(t, err, ErrTooMany)
	f.Unsubscribe(first)
	_, err = f.Subscribe()
	require.NoError(t, err)
}
