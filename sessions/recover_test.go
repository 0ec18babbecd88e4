package sessions_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// patient makes waiting for a lease longer than any test.
func patient(o *sessions.Options) { o.Lease = time.Hour }

func TestNextEdgeAdoptsWhatRuns(t *testing.T) {
	b := newBench(t)
	old := b.sharing()
	id := b.sleeping(old.Service, "amelia")
	route := b.awake(old.Service, id)
	old.die()
	next, r := b.edge()
	b.swept(r)
	_, ok := next.Route(id)
	assert.False(t, ok, "what nobody asks for is not looked for at the start")
	_, err := next.Lookup(t.Context(), id)
	require.NoError(t, err)
	now := b.active(next, id)
	assert.Equal(t, route.String(), now.String())
	assert.Equal(t, route.Proof, now.Proof)
	assert.Len(t, b.machine.started(), 1)
}

func TestNextEdgeCarriesAWakeThrough(t *testing.T) {
	b := newBench(t)
	old, r := b.edge()
	gate := make(chan struct{})
	r.set(func(r *runner) { r.script.gate = gate })
	id := b.sleeping(old, "amelia")
	_, err := old.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
	b.close(old)
	require.Equal(t, sessions.StatusInitializing, b.record(id).Status)

	// What the claim is made of has changed since: the container keeps the first.
	next, _ := b.edge(func(o *sessions.Options) { o.Exclusive = true; o.Tunables.AllowFile = true })
	b.eventually(func() bool { l := b.record(id).Lease; return l != nil && l.Beat > 1 }, "taken over")
	close(gate)
	b.active(next, id)
	assert.Len(t, b.machine.started(), 1)
	assert.Equal(t, int64(1), b.record(id).Epoch)
}

func TestLeaseOfALivingEdgeIsRespected(t *testing.T) {
	b := newBench(t)
	gate := make(chan struct{})
	first, r := b.edge()
	r.set(func(r *runner) { r.script.gate = gate })
	id := b.sleeping(first, "amelia")
	_, err := first.Wake(t.Context(), id)
	require.NoError(t, err)
	holder := b.record(id).Lease.Holder

	second, _ := b.edge(func(o *sessions.Options) { o.Lease = 1500 * time.Millisecond })
	v, err := second.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusInitializing, v.Record.Status)
	waited := make(chan sessions.View, 1)
	go func() { waited <- b.wait(second, id) }()
	// Every 100 ms at most, so that two leases would have passed, were it not renewed.
	beat := b.record(id).Lease.Beat
	b.eventually(func() bool { return b.record(id).Lease.Beat > beat+30 }, "renewed")
	assert.Equal(t, holder, b.record(id).Lease.Holder)
	close(gate)
	assert.Equal(t, sessions.StatusActive, (<-waited).Record.Status)
	_, ok := second.Route(id)
	assert.True(t, ok)
	assert.Len(t, b.machine.started(), 1)
}

func TestExpiredLeaseIsTakenOver(t *testing.T) {
	b := newBench(t)
	old, r := b.edge()
	r.set(func(r *runner) { r.hold = make(chan struct{}) }) // dies before its container is started
	id := b.sleeping(old, "amelia")
	_, err := old.Wake(t.Context(), id)
	require.NoError(t, err)
	b.close(old)
	next, _ := b.edge()
	w := next.Watch(id) // somebody waits
	defer w.Close()
	b.eventually(func() bool { _, ok := next.Route(id); return ok }, "woken by the next edge")
	assert.Equal(t, int64(1), b.record(id).Epoch, "the same wake")
	assert.Len(t, b.machine.started(), 1)
}

// With child processes a crash of the edge leaves containers that save and end by
// themselves, and that the next edge's runner knows nothing of.
func TestAfterACrashNothingIsWaitedForNeedlessly(t *testing.T) {
	for name, tc := range map[string]struct {
		at    sessions.Status
		knows bool // the next runner knows what the former one's containers are
	}{
		"active":              {sessions.StatusActive, false},
		"active, known":       {sessions.StatusActive, true},
		"initializing":        {sessions.StatusInitializing, false},
		"initializing, known": {sessions.StatusInitializing, true},
		"draining":            {sessions.StatusDraining, false},
		"draining, known":     {sessions.StatusDraining, true},
	} {
		t.Run(name, func(t *testing.T) {
			b, at := newBench(t), tc.at
			r := newRunner(b.machine, false)
			old := b.service(r, patient)
			saving := make(chan struct{})
			r.set(func(r *runner) { r.script.saving = saving })
			id := b.sleeping(old, "bramble")
			switch at {
			case sessions.StatusInitializing:
				r.set(func(r *runner) { r.script.gate = make(chan struct{}) })
				_, err := old.Wake(t.Context(), id)
				require.NoError(t, err)
				b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
			default:
				b.awake(old, id)
				if at == sessions.StatusDraining {
					go old.Sleep(context.Background(), id, "x")
					b.becomes(id, sessions.StatusDraining)
				}
			}
			b.close(old)
			require.Equal(t, at, b.record(id).Status)

			// What lost its edge saves: it answers, but serves no more.
			b.only().set(bootapi.Status{Phase: bootapi.PhaseStopping})
			// Any needless wait is longer than the test's.
			b.lostPatience = time.Hour
			next := b.service(newRunner(b.machine, tc.knows), patient, func(o *sessions.Options) { o.Exclusive = true })
			w := next.Watch(id)
			defer w.Close()
			_, err := next.Wake(t.Context(), id)
			require.NoError(t, err)
			b.eventually(func() bool {
				v := w.View()
				return v.Progress.Step == "saving the previous run" || v.Record.Status == sessions.StatusDraining
			}, "it says what it waits for")
			_, ok := next.Route(id)
			assert.False(t, ok)
			assert.Len(t, b.machine.started(), 1, "never two")
			close(saving)
			route := b.active(next, id)
			assert.Equal(t, int64(2), route.Epoch)
			assert.Equal(t, 1, b.machine.mostAtOnce(id))
		})
	}
}

// A container whose edge was killed answers as ever until it has noticed that.
func TestNoRouteToWhatLostItsEdgeAndHasNotNoticed(t *testing.T) {
	for _, at := range []sessions.Status{sessions.StatusActive, sessions.StatusInitializing} {
		t.Run(string(at), func(t *testing.T) {
			b := newBench(t)
			r := newRunner(b.machine, false)
			old := b.service(r, patient)
			gate, saving := make(chan struct{}), make(chan struct{})
			r.set(func(r *runner) { r.script.saving, r.script.gate = saving, gate })
			id := b.sleeping(old, "bramble")
			_, err := old.Wake(t.Context(), id)
			require.NoError(t, err)
			b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
			if at == sessions.StatusActive {
				close(gate)
				b.active(old, id)
			}
			b.eventually(func() bool { return b.record(id).ContainerIP != "" }, "located")
			b.close(old)
			require.Equal(t, at, b.record(id).Status)
			if at == sessions.StatusInitializing {
				close(gate) // it becomes ready without its edge
			}

			later := newRunner(b.machine, true)
			later.later = true
			next := b.service(later, patient, func(o *sessions.Options) { o.Exclusive = true })
			w := next.Watch(id)
			defer w.Close()
			_, err = next.Wake(t.Context(), id)
			require.NoError(t, err)
			left := b.only()
			b.eventually(func() bool { return left.stopReason() != "" }, "its end is waited for")
			_, ok := next.Route(id)
			assert.False(t, ok)
			assert.Zero(t, b.logs.FilterMessage("session's container found").Len(), "it never had a route")
			assert.Len(t, b.machine.started(), 1, "never two")
			close(saving)
			route := b.active(next, id)
			assert.Equal(t, int64(2), route.Epoch)
			assert.Equal(t, 1, b.machine.mostAtOnce(id))
		})
	}
}

func TestSlotsOfADeadEdgeAreFreed(t *testing.T) {
	b := newBench(t)
	old := b.service(newRunner(b.machine, false))
	id := b.sleeping(old, "bramble")
	b.awake(old, id)
	b.close(old)
	b.machine.killAll()
	next := b.service(newRunner(b.machine, false))
	b.becomes(id, sessions.StatusInactive)
	other := b.sleeping(next, "bramble")
	b.awake(next, other)
}

func TestOrphansAreStopped(t *testing.T) {
	b := newBench(t)
	keeper := b.service(nil)
	id := b.sleeping(keeper, "amelia")
	r := newRunner(b.machine, true)
	for _, req := range []sessions.StartRequest{
		{SessionID: "nobody", Epoch: 1, TokenHash: "x"},
		{SessionID: id, Epoch: 0, TokenHash: "y"},
	} {
		_, err := r.Start(t.Context(), req)
		require.NoError(t, err)
	}
	next := b.service(r)
	for _, c := range b.machine.all() {
		b.eventually(func() bool { return !c.running() }, "stopped")
		assert.Equal(t, "orphan", c.stopReason())
	}
	b.awake(next, id)
}

func TestFailedLeftBehindIsStopped(t *testing.T) {
	b := newBench(t)
	old, r := b.edge()
	r.set(func(r *runner) { r.script = script{failure: failure("no"), saving: make(chan struct{})} })
	id := b.sleeping(old, "bramble")
	_, err := old.Wake(t.Context(), id)
	require.NoError(t, err)
	b.becomes(id, sessions.StatusFailed)
	b.close(old)
	require.True(t, b.record(id).HoldsSlot())
	b.only().kill()
	b.edge()
	b.eventually(func() bool { return !b.record(id).HoldsSlot() }, "its slot is freed")
	assert.Equal(t, sessions.StatusFailed, b.record(id).Status)
	assert.Equal(t, "no", b.record(id).Failure.Cause)
}
