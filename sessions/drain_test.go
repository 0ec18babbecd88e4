package sessions_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// draining has an edge put an idle session to sleep, up to the question that ends its
// container, which is answered when committing is closed.
func draining(t *testing.T, b *bench, s *script) (edge *sessions.Service, id string, committing chan struct{}) {
	t.Helper()
	committing = make(chan struct{})
	s.committing = committing
	edge, r := b.edge(idleAfter(time.Second))
	r.set(func(r *runner) { r.script = *s })
	id = b.sleeping(edge, "bramble")
	b.awake(edge, id)
	r.set(func(r *runner) { r.script = script{} })
	b.only().setIdle(time.Hour)
	b.becomes(id, sessions.StatusDraining)
	return edge, id, committing
}

func TestWhoReturnsWhileItDrainsIsNotThrownOut(t *testing.T) {
	b := newBench(t)
	first, id, committing := draining(t, b, &script{})
	_, ok := first.Route(id)
	assert.True(t, ok, "until it is certain to end its visitors reach it, and so call the drain off")

	// An edge that never had to do with it.
	second, _ := b.edge()
	_, err := second.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return b.only().visits() > 0 }, "the container learns of it")
	close(committing)
	b.becomes(id, sessions.StatusActive)
	assert.Equal(t, int64(1), b.active(second, id).Epoch)
	assert.True(t, b.only().running())
	r := b.record(id)
	require.NotNil(t, r.Awake)
	assert.Equal(t, "somebody came", r.Awake.Reason)
	assert.Nil(t, r.Lease)
}

func TestWhoReturnsTooLateIsWokenNext(t *testing.T) {
	b := newBench(t)
	saving := make(chan struct{})
	first, id, committing := draining(t, b, &script{saving: saving})
	close(committing)
	b.eventually(func() bool { return b.only().stopReason() == "idle" }, "it is stopped")
	_, ok := first.Route(id)
	assert.False(t, ok)

	second, _ := b.edge()
	_, err := second.Wake(t.Context(), id)
	require.NoError(t, err)
	waited := make(chan sessions.View, 1)
	go func() { waited <- b.wait(second, id) }()
	b.eventually(func() bool { return b.only().visits() > 0 }, "it is asked for")
	assert.Len(t, b.machine.started(), 1, "never two")
	close(saving)
	assert.Equal(t, sessions.StatusActive, (<-waited).Record.Status)
	assert.Equal(t, int64(2), b.record(id).Epoch)
	assert.Equal(t, 1, b.machine.mostAtOnce(id))
}

// What an edge that died had begun is the container's decision all the same.
func TestDrainOfADeadEdge(t *testing.T) {
	for name, came := range map[string]bool{"somebody came": true, "nobody came": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, id, committing := draining(t, b, &script{})
			b.close(first)
			require.Equal(t, sessions.StatusDraining, b.record(id).Status)
			if came {
				b.only().come()
			}
			close(committing)
			next, _ := b.edge(idleAfter(time.Hour))
			b.only().setIdle(map[bool]time.Duration{true: 0, false: 2 * time.Hour}[came])
			b.eventually(func() bool {
				sessions.SweepRecords(next)
				return b.record(id).Status != sessions.StatusDraining
			}, "it is gone on with")
			if came {
				assert.Equal(t, sessions.StatusActive, b.record(id).Status)
				assert.True(t, b.only().running())
				_, ok := next.Route(id)
				assert.True(t, ok)
				return
			}
			b.becomes(id, sessions.StatusInactive)
			assert.False(t, b.only().running())
		})
	}
}

// An edge that reaches no container takes a drain over which a visitor of another edge
// has called off: it asks the others before it gives the container up.
func TestDrainOfADeadEdgeWhereNoContainerIsReached(t *testing.T) {
	b := newBench(t)
	b.lostPatience = 100 * time.Millisecond
	first, id, committing := draining(t, b, &script{})
	b.close(first)
	b.only().come() // before it can answer the dead edge's last question
	close(committing)
	healthy := b.sharing(patient) // looks when it is told to
	cutOff := b.sharing(b.lease(3 * time.Second))
	cutOff.noRoute.Store(true)
	b.eventually(func() bool {
		sessions.SweepRecords(healthy.Service)
		return b.logs.FilterMessage("session's container cannot be reached from this edge, but from another").Len() > 0
	}, "the other answers for it")
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
	assert.True(t, b.only().running())
}

func TestSleepOfWhatAnotherEdgeIsAtWorkOn(t *testing.T) {
	for name, dead := range map[string]bool{"which lives": false, "which died": true} {
		t.Run("it wakes it, "+name, func(t *testing.T) {
			b := newBench(t)
			first, r := b.edge()
			r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
			id := b.sleeping(first, "bramble")
			_, err := first.Wake(t.Context(), id)
			require.NoError(t, err)
			b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
			if dead {
				b.close(first)
			}
			second, _ := b.edge()
			require.NoError(t, second.Sleep(t.Context(), id, "by hand"))
			r2 := b.record(id)
			assert.Equal(t, sessions.StatusInactive, r2.Status)
			assert.False(t, r2.SleepWanted)
			assert.False(t, b.only().running())
		})
	}
	t.Run("it puts it to sleep", func(t *testing.T) {
		b := newBench(t)
		_, id, committing := draining(t, b, &script{})
		second, _ := b.edge()
		deleted := make(chan error, 1)
		go func() { deleted <- second.Delete(t.Context(), id) }()
		close(committing)
		require.NoError(t, <-deleted)
		_, err := b.registry.Get(t.Context(), id)
		require.ErrorIs(t, err, sessions.ErrNotFound)
		assert.False(t, b.only().running())
	})
	t.Run("it uses it", func(t *testing.T) {
		b := newBench(t)
		first, _ := b.edge()
		id := b.sleeping(first, "bramble")
		b.awake(first, id)
		second, _ := b.edge()
		require.NoError(t, second.Sleep(t.Context(), id, "by hand"))
		assert.Equal(t, sessions.StatusInactive, b.record(id).Status)
		assert.False(t, b.only().running())
	})
}

// A wake that is not wanted any more, of a session which others serve already: work that
// cannot be saved keeps it awake, whichever edge finds that.
func TestSleepOfAWakeWhoseWorkCannotBeSaved(t *testing.T) {
	for name, dead := range map[string]bool{"its edge lives": false, "its edge died": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first := b.sharing()
			gate := make(chan struct{})
			first.runner.set(func(r *runner) { r.script.gate, r.script.saveError = gate, "disk full" })
			id := b.sleeping(first.Service, "bramble")
			_, err := first.Wake(t.Context(), id)
			require.NoError(t, err)
			b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
			b.eventually(func() bool { return b.record(id).ContainerIP != "" }, "located")
			second, _ := b.edge()
			if dead {
				first.die()
				b.eventually(func() bool {
					wanted, err := sessions.Next(b.record(id), sessions.Event{Kind: sessions.EventUnwake}, time.Now())
					require.NoError(t, err)
					_, err = b.registry.Registry.Update(t.Context(), wanted, 0)
					return err == nil // not if a last renewal was under way
				}, "an edge wants it asleep")
			}
			slept := make(chan error, 1)
			go func() { slept <- second.Sleep(context.Background(), id, "by hand") }()
			b.eventually(func() bool { return len(b.only().questions()) > 0 }, "it is asked to save")
			close(gate)
			require.ErrorIs(t, <-slept, sessions.ErrNotSaved)
			b.becomes(id, sessions.StatusActive)
			assert.False(t, b.record(id).SleepWanted)
			b.startsOnce(id)
			assert.True(t, b.only().running())
		})
	}
}

func TestLifetime(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) { r.script.lived = time.Hour; r.script.busy = true })
	b.put("amelia", 2, func(c *configstore.Client) { c.Settings.MaxLifetimeMinutes = 60 })
	id := b.sleeping(s, "amelia")
	b.awake(s, id)
	assert.LessOrEqual(t, time.Until(b.record(id).AskAt), 30*time.Minute)
	s.SetTunables(sessions.Tunables{IdleTimeout: time.Hour}) // asks at once
	b.becomes(id, sessions.StatusInactive)
	assert.Equal(t, "end of its lifetime", b.only().stopReason(), "though it is used, and busy")
}

func TestContainerThatRunsAndDoesNotAnswerIsNotGivenUpAtOnce(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge(idleAfter(2 * time.Second))
	id := b.sleeping(s, "amelia")
	b.awake(s, id)
	c := b.only()
	require.NoError(t, c.server.Close()) // it runs, and listens to nobody
	b.eventually(func() bool { a := b.record(id).Awake; return a != nil && a.Unanswered >= 2 }, "it says so")
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
	assert.True(t, c.running(), "others may reach it")
}
