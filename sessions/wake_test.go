package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

func TestWakeGivesTheClaimAndTheRoute(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge(func(o *sessions.Options) { o.Tunables.AllowFile = true; o.EdgeID = "edge-1" })
	r, _, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring", Instruction: "larger heading"})
	require.NoError(t, err)
	assert.Regexp(t, `^[a-z2-7]{26}$`, r.SessionID)
	assert.Equal(t, "http://edit.amelia.localhost:8080/session/"+r.SessionID, r.PreviewURL)

	_, ok := s.Route(r.SessionID)
	assert.False(t, ok)
	began := time.Now()
	route := b.awake(s, r.SessionID)
	c := b.only()
	assert.Equal(t, c.addr, route.Address)
	assert.Equal(t, "amelia", route.ClientID)
	assert.Equal(t, int64(1), route.Epoch)
	assert.Equal(t, bootapi.HashToken(route.Token), c.req.TokenHash)
	assert.Equal(t, "medium", c.req.Size)
	assert.Equal(t, bootapi.Claim{
		Token: route.Token, SessionID: r.SessionID, ClientID: "amelia", Epoch: 1,
		Site: bootapi.Site{
			RepositoryURL: "https://git.example.com/amelia", Branch: "main", DeployKey: "-----BEGIN KEY-----",
			AllowFile: true, Command: "make site", Mode: "static", Env: map[string]string{"A": "b"},
		},
		EditBranch: "spring", Prefix: "/session/" + r.SessionID,
		EditHosts:           []string{"edit.amelia.localhost", "also.amelia.localhost"},
		AbandonAfterSeconds: 3600, Instruction: "larger heading",
	}, *c.claimed())

	stored := b.record(r.SessionID)
	assert.Equal(t, sessions.StatusActive, stored.Status)
	assert.Nil(t, stored.Lease)
	assert.Empty(t, stored.Instruction, "given once")
	assert.WithinRange(t, stored.AskAt, began.Add(30*time.Minute), time.Now().Add(30*time.Minute))

	b.eventually(func() bool { return b.logs.FilterMessage("session woken").Len() == 1 }, "it is logged")
	fields := b.logs.FilterMessage("session woken").All()[0].ContextMap()
	for _, name := range []string{"client", "session", "edge", "epoch", "took", "starting", "reused"} {
		assert.Contains(t, fields, name)
	}
	b.noTokens()
	v, err := s.Lookup(t.Context(), r.SessionID)
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprintf("%+v", v), route.Token)
	assert.Empty(t, string(v.Record.Start.Token))
}

func TestManyWakesAreOne(t *testing.T) {
	b := newBench(t)
	edges := []*sessions.Service{}
	for range 2 {
		s, r := b.edge(patient)
		r.set(func(r *runner) {
			r.script = script{phases: []bootapi.Phase{bootapi.PhaseCloning, bootapi.PhaseBuilding}}
		})
		edges = append(edges, s)
	}
	id := b.sleeping(edges[0], "amelia")
	begin := make(chan struct{})
	var wg sync.WaitGroup
	views := make([]sessions.View, 200)
	errs := make([]error, len(views))
	for n := range views {
		wg.Go(func() {
			<-begin
			s := edges[n%len(edges)]
			if _, err := s.Wake(t.Context(), id); err != nil {
				errs[n] = err
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			views[n], errs[n] = s.Wait(ctx, id)
		})
	}
	close(begin)
	wg.Wait()
	for n := range views {
		require.NoError(t, errs[n])
		require.Equal(t, sessions.StatusActive, views[n].Record.Status)
	}
	assert.Len(t, b.machine.started(), 1)
	first, ok := edges[0].Route(id)
	require.True(t, ok)
	second, ok := edges[1].Route(id)
	require.True(t, ok)
	assert.Equal(t, first.String(), second.String())
	assert.Equal(t, first.Proof, second.Proof)
}

func TestWatchShowsProgressAndTurnsAtOnce(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	b.swept(r) // or it would read records, too
	gate := make(chan struct{})
	lines := []string{}
	for n := range 30 {
		lines = append(lines, fmt.Sprintf("line %d", n))
	}
	lines = append(lines, strings.Repeat("x", 5000))
	r.set(func(r *runner) {
		r.script = script{gate: gate, phases: []bootapi.Phase{bootapi.PhaseCloning, bootapi.PhaseBuilding}, log: lines}
	})
	id := b.sleeping(s, "amelia")
	w := s.Watch(id)
	defer w.Close()
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	seen := func(want func(sessions.View) bool) sessions.View {
		t.Helper()
		deadline := time.After(soon)
		for {
			if v := w.View(); want(v) {
				return v
			}
			select {
			case <-w.C():
			case <-deadline:
				require.Fail(t, "never seen", "%+v", w.View())
			}
		}
	}
	v := seen(func(v sessions.View) bool {
		return v.Progress.Phase == bootapi.PhaseBuilding && len(v.Progress.Log) == 20
	})
	assert.Equal(t, sessions.StatusInitializing, v.Record.Status)
	assert.Equal(t, "doing building", v.Progress.Step)
	assert.Equal(t, id, v.Progress.SessionID)
	assert.GreaterOrEqual(t, v.Progress.TotalMillis, v.Progress.PhaseMillis)
	assert.Len(t, v.Progress.Log[19], 1000)

	// Nobody asks whether it is ready: neither the container, on whose one stream it
	// comes, nor the registry, to which it is written before it is shown.
	reads, writes := b.registry.reads.Load(), b.record(id).Version
	close(gate)
	v = seen(func(v sessions.View) bool { return v.Record.Status == sessions.StatusActive })
	assert.Equal(t, reads, b.registry.reads.Load())
	assert.Equal(t, map[string]int{bootapi.PathProof: 3, bootapi.PathClaim: 1, bootapi.PathEvents: 1}, b.only().requests(),
		"a proof before, and one at the beginning of each connection")
	assert.Greater(t, b.record(id).Version, writes)
	assert.Equal(t, bootapi.PhaseReady, v.Progress.Phase)
	_, ok := s.Route(id)
	assert.True(t, ok, "a route is there when the view says active")
}

func TestWaitIsFreedByItsContext(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
	id := b.sleeping(s, "amelia")
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = s.Wait(ctx, id)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Wait(t.Context(), "nobody")
	require.ErrorIs(t, err, sessions.ErrNotFound)
}

func TestFailureIsShownStoppedAndBackedOff(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) {
		r.script = script{failure: failure("The build failed."), phases: []bootapi.Phase{bootapi.PhaseBuilding}}
	})
	id := b.sleeping(s, "bramble")
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	v := b.wait(s, id)
	assert.Equal(t, sessions.StatusFailed, v.Record.Status)
	assert.Equal(t, bootapi.PhaseFailed, v.Progress.Phase)
	require.NotNil(t, v.Progress.Failure)
	assert.Equal(t, *failure("The build failed."), *v.Progress.Failure)
	assert.Equal(t, 1, v.Record.Failure.Attempts)
	b.eventually(func() bool { return !b.record(id).HoldsSlot() }, "the slot is freed")
	assert.False(t, b.only().running())
	assert.Equal(t, sessions.StatusFailed, b.record(id).Status)

	const attempts = 6 // until the back-off is longer than a test is patient
	for n := 2; n <= attempts; n++ {
		_, err = s.WakeNow(t.Context(), id)
		require.NoError(t, err)
		b.eventually(func() bool {
			r := b.record(id)
			return r.Failure != nil && r.Failure.Attempts == n && r.Status == sessions.StatusFailed
		}, "each attempt fails and is counted")
		assert.Len(t, b.machine.started(), n)
	}
	b.wait(s, id) // the service knows of a failure a little after the registry
	v, err = s.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusFailed, v.Record.Status, "within the back-off nothing happens")
	assert.Len(t, b.machine.started(), attempts)
	assert.Equal(t, v.Record.Failure.At.Add(sessions.BackOff(attempts)), v.Record.RetryAt())

	r.set(func(r *runner) { r.script = script{} })
	_, err = s.WakeNow(t.Context(), id)
	require.NoError(t, err)
	b.becomes(id, sessions.StatusActive)
	assert.Nil(t, b.record(id).Failure)
	assert.Equal(t, int64(attempts+1), b.record(id).Epoch)

	failed := b.logs.FilterMessage("session failed").All()
	require.Len(t, failed, attempts)
	assert.Equal(t, "building", failed[0].ContextMap()["phase"])
	assert.Equal(t, "exit status 1", failed[0].ContextMap()["detail"])
	b.noTokens()
}

func TestFailedIsWokenAgainAfterItsBackOff(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) { r.err = errors.New("exec format error") })
	id := b.sleeping(s, "amelia")
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	v := b.wait(s, id)
	require.Equal(t, sessions.StatusFailed, v.Record.Status)
	assert.Equal(t, bootapi.PhaseStarting, v.Record.Failure.Phase)
	assert.Contains(t, v.Record.Failure.Detail, "exec format error")
	r.set(func(r *runner) { r.err = nil })
	b.eventually(func() bool {
		v, err := s.Wake(t.Context(), id)
		return err == nil && v.Record.Status != sessions.StatusFailed
	}, "it is woken once the back-off is over")
	b.active(s, id)
	assert.False(t, time.Now().Before(v.Record.RetryAt()))
}

func TestWakesThatCannotComeToAnything(t *testing.T) {
	for name, tc := range map[string]struct {
		script  script
		prepare func(*bench)
		options func(*sessions.Options)
		act     func(*bench)
		cause   string
		started int
	}{
		"container ends": {
			script: script{gate: make(chan struct{})}, cause: "ended before", started: 1,
			act: func(b *bench) {
				b.eventually(func() bool { return len(b.machine.all()) == 1 && b.machine.all()[0].claimed() != nil }, "claimed")
				b.only().kill()
			},
		},
		"never ready": {
			script: script{gate: make(chan struct{})}, cause: "not ready within", started: 1,
			options: func(o *sessions.Options) { o.BootDeadline = 300 * time.Millisecond },
		},
		"never listens": {
			script: script{silent: true}, cause: "not ready within", started: 1,
			options: func(o *sessions.Options) { o.BootDeadline = 300 * time.Millisecond },
		},
		"another's container": {
			script: script{stranger: true}, cause: "not ready within", started: 1,
			options: func(o *sessions.Options) { o.BootDeadline = 300 * time.Millisecond },
		},
		"key by reference": {
			cause: "deploy key", started: 0,
			prepare: func(b *bench) {
				b.put("amelia", 1, func(c *configstore.Client) { c.Repository.DeployKey = "env:KEY" })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if tc.prepare != nil {
				tc.prepare(b)
			}
			options := tc.options
			if options == nil {
				options = func(*sessions.Options) {}
			}
			s, r := b.edge(options)
			r.set(func(r *runner) { r.script = tc.script })
			id := b.sleeping(s, "amelia")
			_, err := s.Wake(t.Context(), id)
			require.NoError(t, err)
			if tc.act != nil {
				tc.act(b)
			}
			v := b.wait(s, id)
			require.Equal(t, sessions.StatusFailed, v.Record.Status)
			assert.Contains(t, v.Record.Failure.Cause, tc.cause)
			b.eventually(func() bool { return !b.record(id).HoldsSlot() }, "the slot is freed")
			assert.Len(t, b.machine.started(), tc.started)
			for _, c := range b.machine.all() {
				assert.False(t, c.running())
				if tc.script.stranger {
					assert.Nil(t, c.claimed(), "no secrets for who does not prove itself")
				}
			}
		})
	}
}

func TestLimit(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	first, second := b.sleeping(s, "bramble"), b.sleeping(s, "bramble")
	b.awake(s, first)
	v, err := s.Wake(t.Context(), second)
	require.ErrorIs(t, err, sessions.ErrLimit)
	assert.Equal(t, sessions.StatusInactive, v.Record.Status)
	_, _, err = s.Create(t.Context(), sessions.CreateRequest{ClientID: "bramble", ThreadID: "third", Wake: true})
	require.ErrorIs(t, err, sessions.ErrLimit)
	_, err = b.registry.ByThread(t.Context(), "bramble", "third")
	require.ErrorIs(t, err, sessions.ErrNotFound, "one that gets no slot is not created")

	running, err := s.Running(t.Context(), "bramble")
	require.NoError(t, err)
	require.Len(t, running, 1)
	assert.Equal(t, first, running[0].SessionID)
	assert.Empty(t, string(running[0].Start.Token))

	require.NoError(t, s.Sleep(t.Context(), first, "making room"))
	b.awake(s, second)
	assert.Equal(t, "making room", b.machine.all()[0].stopReason())
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	_, err := s.Wake(t.Context(), "nobody")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	_, err = s.Wake(t.Context(), strings.Repeat("x", 10_000))
	require.ErrorIs(t, err, sessions.ErrNotFound)

	id := b.sleeping(s, "amelia")
	b.put("amelia", 1, func(c *configstore.Client) { c.Disabled = true })
	_, err = s.Wake(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrDisabled)
	b.mu.Lock()
	delete(b.clients, "amelia")
	b.mu.Unlock()
	_, err = s.Wake(t.Context(), id)
	require.ErrorIs(t, err, configstore.ErrNotFound)
	b.registry.down.Store(true)
	_, err = s.Wake(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrUnavailable)
	b.registry.down.Store(false)
	assert.Empty(t, b.machine.started())
	assert.Equal(t, sessions.StatusInactive, b.record(id).Status)

	b.close(s)
	_, err = s.Wake(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrClosed)
}

func TestPhasesInOrderForEveryWatcher(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	gate := make(chan struct{})
	r.set(func(r *runner) { r.script = script{gate: gate, phases: []bootapi.Phase{bootapi.PhaseCloning}} })
	id := b.sleeping(s, "amelia")
	// A watcher that never looks must not hold up the others, nor the wake.
	idle := s.Watch(id)
	defer idle.Close()
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	w := s.Watch(id)
	defer w.Close()
	b.eventually(func() bool { return w.View().Progress.Phase == bootapi.PhaseCloning }, "a late watcher sees the present phase")
	close(gate)
	b.active(s, id)
	assert.Len(t, idle.C(), 1, "coalesced")
	assert.Equal(t, sessions.StatusActive, idle.View().Record.Status)
}
