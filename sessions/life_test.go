package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// idleAfter sets the operator's idle timeout.
func idleAfter(d time.Duration) func(*sessions.Options) {
	return func(o *sessions.Options) { o.Tunables.IdleTimeout = d }
}

func TestIdleSessionSleepsAndWakesAgain(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge(idleAfter(400 * time.Millisecond))
	id := b.sleeping(s, "amelia")
	first := b.awake(s, id)
	c := b.only()
	b.eventually(func() bool { return len(c.questions()) >= 2 }, "it is asked again and again")
	assert.Equal(t, sessions.StatusActive, b.record(id).Status, "in use it stays awake")
	assert.Equal(t, int64(400), c.questions()[0])

	c.setIdle(time.Second)
	b.becomes(id, sessions.StatusInactive)
	assert.False(t, c.running())
	assert.Equal(t, "idle", c.stopReason())
	_, ok := s.Route(id)
	assert.False(t, ok)
	assert.False(t, b.record(id).HoldsSlot())
	b.eventually(func() bool { return b.logs.FilterMessage("session slept").Len() == 1 }, "it is logged")
	assert.Equal(t, "idle", b.logs.FilterMessage("session slept").All()[0].ContextMap()["reason"])

	second := b.awake(s, id)
	assert.Equal(t, int64(2), second.Epoch)
	assert.NotEqual(t, first.Token, second.Token)
	assert.Equal(t, 1, b.machine.mostAtOnce(id))
}

func TestActivityIsKept(t *testing.T) {
	b := newBench(t)
	s, r := b.edge(idleAfter(time.Second))
	const idle = 700 * time.Millisecond
	r.set(func(r *runner) { r.script.idle = idle })
	id := b.sleeping(s, "amelia")
	b.awake(s, id)
	before := b.record(id)
	b.eventually(func() bool { return b.record(id).Version > before.Version }, "it is asked")
	after := b.record(id)
	assert.WithinRange(t, after.LastActivity, before.AskAt.Add(-idle), time.Now().Add(-idle), "idle for so long when it was asked")
	assert.Equal(t, after.LastActivity.Add(time.Second), after.AskAt, "asked when it may have been idle for long enough")
}

func TestSessionThatCannotSaveStaysActive(t *testing.T) {
	b := newBench(t)
	s, r := b.edge(idleAfter(time.Second))
	r.set(func(r *runner) { r.script.saveError = "remote refused" })
	id := b.sleeping(s, "amelia")
	route := b.awake(s, id)
	c := b.only()
	c.setIdle(time.Hour)
	b.eventually(func() bool { return len(c.questions()) >= 2 }, "it is asked again after a failed save")

	err := s.Sleep(t.Context(), id, "by hand")
	require.ErrorIs(t, err, sessions.ErrNotSaved)
	require.ErrorContains(t, err, "remote refused")
	require.ErrorIs(t, s.Delete(t.Context(), id), sessions.ErrNotSaved)
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
	now, ok := s.Route(id)
	require.True(t, ok)
	assert.Same(t, route, now)
	assert.True(t, c.running())
}

func TestSleepByHand(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	id := b.sleeping(s, "amelia")
	require.NoError(t, s.Sleep(t.Context(), id, "x"), "one that sleeps already")
	require.ErrorIs(t, s.Sleep(t.Context(), "nobody", "x"), sessions.ErrNotFound)

	b.awake(s, id)
	require.NoError(t, s.Sleep(t.Context(), id, "lunch"))
	assert.Equal(t, []int64{0}, b.only().questions(), "whatever the activity")
	assert.Equal(t, sessions.StatusInactive, b.record(id).Status)

	r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, s.Sleep(t.Context(), id, "changed my mind"), "while it is being woken")
	assert.Equal(t, sessions.StatusInactive, b.record(id).Status)
	for _, c := range b.machine.all() {
		assert.False(t, c.running())
	}
	v := b.wait(s, id)
	assert.Equal(t, sessions.StatusInactive, v.Record.Status, "nobody waits for what will not come")
}

func TestVisitDuringDrainWakesNext(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	saving := make(chan struct{})
	r.set(func(r *runner) { r.script.saving = saving })
	id := b.sleeping(s, "bramble")
	b.awake(s, id)
	r.set(func(r *runner) { r.script = script{} })
	slept := make(chan error, 1)
	go func() { slept <- s.Sleep(t.Context(), id, "by hand") }()
	b.becomes(id, sessions.StatusDraining)
	b.eventually(func() bool { _, ok := s.Route(id); return !ok }, "no requests reach a draining container")

	v, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusDraining, v.Record.Status)
	waited := make(chan sessions.View, 1)
	go func() { waited <- b.wait(s, id) }()
	assert.Len(t, b.machine.started(), 1, "not before the old one has stopped")
	close(saving)
	require.NoError(t, <-slept)
	assert.Equal(t, sessions.StatusActive, (<-waited).Record.Status)
	assert.Len(t, b.machine.started(), 2)
	assert.Equal(t, 1, b.machine.mostAtOnce(id))
}

func TestDeleteFromEveryState(t *testing.T) {
	for _, status := range states {
		t.Run(string(status), func(t *testing.T) {
			b := newBench(t)
			s, r := b.edge()
			id := b.sleeping(s, "amelia")
			w := s.Watch(id)
			defer w.Close()
			saving := make(chan struct{})
			switch status {
			case sessions.StatusInactive:
			case sessions.StatusInitializing:
				r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
				_, err := s.Wake(t.Context(), id)
				require.NoError(t, err)
			case sessions.StatusActive:
				b.awake(s, id)
			case sessions.StatusDraining:
				r.set(func(r *runner) { r.script.saving = saving })
				b.awake(s, id)
				go s.Sleep(t.Context(), id, "by hand")
				b.becomes(id, sessions.StatusDraining)
			case sessions.StatusFailed:
				r.set(func(r *runner) { r.err = errors.New("no") })
				_, err := s.Wake(t.Context(), id)
				require.NoError(t, err)
				b.wait(s, id)
			}
			close(saving)
			require.NoError(t, s.Delete(t.Context(), id))
			_, err := b.registry.Get(t.Context(), id)
			require.ErrorIs(t, err, sessions.ErrNotFound)
			for _, c := range b.machine.all() {
				assert.False(t, c.running())
			}
			running, err := s.Running(t.Context(), "amelia")
			require.NoError(t, err)
			assert.Empty(t, running)
			assert.Empty(t, w.View().Record.Status, "who watches sees it gone")
			_, err = s.Lookup(t.Context(), id)
			require.ErrorIs(t, err, sessions.ErrNotFound)
			require.ErrorIs(t, s.Delete(t.Context(), id), sessions.ErrNotFound)
		})
	}
}

func TestDeleteForgetsWhatIsKept(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id, other := b.sleeping(s, "amelia"), b.sleeping(s, "amelia")
	b.awake(s, id)
	b.awake(s, other)
	require.NoError(t, s.Delete(t.Context(), id))
	assert.Equal(t, []string{other}, b.machine.keptIDs())
	assert.False(t, b.machine.all()[0].running() && b.machine.all()[1].running())
}

func TestDeleteKeepsWhatMayBeNowhereElse(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	b.swept(r) // or it would have a say in this, too
	id := b.sleeping(s, "amelia")
	b.machine.keep(id, fmt.Errorf("%w: it is in the attic", sessions.ErrUnsaved))
	err := s.Delete(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrUnsaved)
	require.ErrorContains(t, err, "session is not deleted")
	require.ErrorContains(t, err, "in the attic")
	assert.Equal(t, sessions.StatusInactive, b.record(id).Status, "it can be woken, which saves the work")
	b.awake(s, id)
	require.ErrorIs(t, s.Delete(t.Context(), id), sessions.ErrUnsaved)
	assert.False(t, b.only().running())
	assert.Equal(t, sessions.StatusInactive, b.record(id).Status)

	err = s.DeleteUnsaved(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrUnsaved)
	require.ErrorContains(t, err, "session was deleted")
	require.ErrorContains(t, err, "in the attic")
	require.ErrorIs(t, s.Delete(t.Context(), id), sessions.ErrNotFound)
	assert.Equal(t, []string{id}, b.machine.keptIDs())

	b.close(s)
	b.edge() // the sweep of another edge does not think otherwise, but says so
	b.eventually(func() bool { return b.logs.FilterMessage("work of a deleted session is kept").Len() == 1 }, "it is logged")
	assert.Equal(t, []string{id}, b.machine.keptIDs())
}

func TestWhatCouldNotBeForgottenGoesAtTheNextStart(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	b.swept(r)
	failed, behind, kept := b.sleeping(s, "amelia"), b.sleeping(s, "amelia"), b.sleeping(s, "bramble")
	b.machine.keep(failed, errors.New("disk error"))
	b.machine.keep(behind, nil)
	b.machine.keep(kept, nil)
	require.NoError(t, s.Delete(t.Context(), failed), "it is deleted all the same")
	assert.Equal(t, 1, b.logs.FilterMessage("removing what is kept of a deleted session").Len())
	b.close(s)
	require.NoError(t, b.service(nil).Delete(t.Context(), behind), "without an edge")

	b.machine.keep(failed, nil)
	assert.Len(t, b.machine.keptIDs(), 3)
	b.edge()
	b.eventually(func() bool { return len(b.machine.keptIDs()) == 1 }, "the sweep removes both")
	assert.Equal(t, []string{kept}, b.machine.keptIDs(), "what has a record stays")
}

func TestSleepIsCarriedThrough(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
	id := b.sleeping(s, "bramble")
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Sleep(gone, id, "by hand"); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	b.becomes(id, sessions.StatusInactive)
	assert.False(t, b.only().running())
}

// The answer to the write of a drain may be lost, and the registry then be down for
// longer than a drain is patient.
func TestDrainThatWasWrittenUnheardIsCarriedThrough(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge(func(o *sessions.Options) { o.EdgeID = "edge-1" })
	id := b.sleeping(s, "bramble")
	b.awake(s, id)
	b.only().setIdle(time.Hour)
	drained, err := sessions.Next(b.record(id), sessions.Event{Kind: sessions.EventDrain, Holder: "edge-1"}, time.Now())
	require.NoError(t, err)
	_, err = b.registry.Update(t.Context(), drained, 0)
	require.NoError(t, err)
	// A sweep passes over a session to which something is being done, here the end of
	// its wake; the next one comes by.
	b.eventually(func() bool {
		sessions.SweepRecords(s)
		return b.record(id).Status == sessions.StatusInactive
	}, "it is carried through")
	_, ok := s.Route(id)
	assert.False(t, ok)
	assert.False(t, b.only().running())
}

func TestLostContainer(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "bramble")
	route := b.awake(s, id)
	b.only().kill()
	s.Lost(route, errors.New("connection refused"))
	s.Lost(route, errors.New("connection refused"))
	_, ok := s.Route(id)
	assert.False(t, ok, "at once")
	b.becomes(id, sessions.StatusInactive)
	assert.False(t, b.record(id).HoldsSlot())
	assert.Len(t, b.machine.started(), 1, "nobody waits, so nothing is woken")

	again := b.awake(s, id)
	assert.Equal(t, int64(2), again.Epoch)
	s.Lost(route, errors.New("late news of the old one"))
	now, ok := s.Route(id)
	require.True(t, ok)
	assert.Same(t, again, now)
}

func TestWakeOfADeadActiveSessionStartsAnother(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "bramble")
	b.awake(s, id)
	v, err := s.WakeNow(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, v.Record.Status)
	assert.Len(t, b.machine.started(), 1, "one that answers is left as it is")
	b.only().kill()
	_, err = s.WakeNow(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, int64(2), b.wait(s, id).Record.Epoch)
	assert.Len(t, b.machine.started(), 2)
}

func TestLostContainerIsWokenForWhoWaits(t *testing.T) {
	for name, visit := range map[string]func(b *bench, s *sessions.Service, id string){
		"a watch": func(*bench, *sessions.Service, string) {},
		"a document wakes": func(b *bench, s *sessions.Service, id string) {
			_, err := s.Wake(b.t.Context(), id)
			require.NoError(b.t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s, _ := b.edge()
			id := b.sleeping(s, "bramble")
			route := b.awake(s, id)
			if name == "a watch" {
				w := s.Watch(id)
				defer w.Close()
			}
			b.only().kill()
			s.Lost(route, errors.New("connection reset"))
			visit(b, s, id)
			b.eventually(func() bool { r, ok := s.Route(id); return ok && r.Epoch == 2 }, "it comes back in a new epoch")
			assert.Len(t, b.machine.started(), 2)
		})
	}
}

// Whoever returns to a session that is due need not wait until it has been asked.
func TestSessionThatIsDueIsServedUntilItIsItsTurn(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge(idleAfter(time.Second))
	id := b.sleeping(s, "bramble")
	route := b.awake(s, id)
	sessions.FillAsking(s)
	b.eventually(func() bool { return time.Since(b.record(id).AskAt) > time.Second }, "the reaper has seen that it is due")
	b.only().kill()
	w := s.Watch(id)
	defer w.Close()
	s.Lost(route, errors.New("connection refused"))
	b.eventually(func() bool { r, ok := s.Route(id); return ok && r.Epoch == 2 }, "it is woken")
}

// A monitor that waits for a session keeps no container running.
func TestLostContainerIsNotWokenForWhoWaitsPassively(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "bramble")
	route := b.awake(s, id)
	b.only().kill()
	s.Lost(route, errors.New("connection reset"))
	v, err := s.WaitPassively(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusInactive, v.Record.Status)
	assert.Len(t, b.machine.started(), 1)
}

func TestContainerThatAnswersAfterAllKeepsItsRoute(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	id := b.sleeping(s, "bramble")
	route := b.awake(s, id)
	// Neither registry nor runner is needed to see that it is there.
	b.registry.down.Store(true)
	r.set(func(r *runner) { r.down = true })
	s.Lost(route, errors.New("timeout"))
	b.eventually(func() bool { _, ok := s.Route(id); return ok }, "it gets its route back")
	now, _ := s.Route(id)
	assert.Same(t, route, now)
	b.registry.down.Store(false)
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
}

func TestKnownRouteNeedsNoRegistry(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	b.swept(r)
	id, other := b.sleeping(s, "amelia"), b.sleeping(s, "amelia")
	route := b.awake(s, id)
	b.registry.down.Store(true)
	before := b.registry.calls.Load()
	now, ok := s.Route(id)
	require.True(t, ok)
	assert.Same(t, route, now)
	v, err := s.Lookup(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, v.Record.Status)
	v, err = s.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, v.Record.Status)
	assert.Equal(t, before, b.registry.calls.Load())
	_, err = s.Lookup(t.Context(), other)
	require.ErrorIs(t, err, sessions.ErrUnavailable)
}

func TestTunablesTakeEffectAtOnce(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge() // the client's own timeout: half an hour
	id := b.sleeping(s, "amelia")
	b.awake(s, id)
	b.only().setIdle(time.Minute)
	s.SetTunables(sessions.Tunables{IdleTimeout: time.Second, PublicOrigin: sessions.PublicOrigin{Scheme: "https", Port: 8443}})
	b.becomes(id, sessions.StatusInactive)
	assert.Equal(t, []int64{1000}, b.only().questions())

	pattern, err := configstore.ParseHostPattern("{client}-edit.example.com")
	require.NoError(t, err)
	s.SetTunables(sessions.Tunables{
		PublicOrigin: sessions.PublicOrigin{Scheme: "https", Port: 8443},
		HostPatterns: []configstore.HostPattern{pattern},
	})
	b.awake(s, id)
	assert.Equal(t, "https://edit.amelia.localhost:8443/session/"+id, b.record(id).PreviewURL)
	assert.Contains(t, b.machine.all()[1].claimed().EditHosts, "amelia-edit.example.com")
}

func TestClientsTimeoutAndSizeAreReadAnew(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	id := b.sleeping(s, "amelia")
	b.put("amelia", 2, func(c *configstore.Client) {
		c.Settings.IdleTimeoutMinutes, c.Settings.ContainerSize = 1, configstore.SizeLarge
	})
	began := time.Now()
	b.awake(s, id)
	assert.Equal(t, "large", b.only().req.Size)
	assert.Equal(t, int64(120), b.only().claimed().AbandonAfterSeconds)
	assert.WithinRange(t, b.record(id).AskAt, began.Add(time.Minute), time.Now().Add(time.Minute))
}
