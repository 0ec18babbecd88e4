package sessions_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// cut is an edge that shares a bench's registry and machine with others, until it is cut
// off from both, as by kill -9: what it does from then on reaches nobody. Unlike a
// service that is closed it ends nothing and writes nothing first.
type cut struct {
	*sessions.Service
	runner   *runner
	registry *faulty
	starts   *startHook
	noRoute  atomic.Bool // it reaches no container
}

// startHook is a runner whose edge may die before or after a start.
type startHook struct {
	*runner
	before, after atomic.Pointer[func()]
	dead          atomic.Bool
}

func (h *startHook) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	if fn := h.before.Load(); fn != nil {
		(*fn)()
	}
	if h.dead.Load() {
		return sessions.Container{}, sessions.ErrRunnerUnavailable
	}
	c, err := h.runner.Start(ctx, req)
	if fn := h.after.Load(); fn != nil {
		(*fn)()
	}
	if h.dead.Load() {
		return sessions.Container{}, sessions.ErrRunnerUnavailable
	}
	return c, err
}

func (h *startHook) Stop(ctx context.Context, ref, reason string) error {
	if h.dead.Load() {
		return sessions.ErrRunnerUnavailable
	}
	return h.runner.Stop(ctx, ref, reason)
}

// sharing starts an edge that can be cut off.
func (b *bench) sharing(change ...func(*sessions.Options)) *cut {
	b.t.Helper()
	c := &cut{runner: newRunner(b.machine, true), registry: &faulty{Registry: b.registry.Registry}}
	c.starts = &startHook{runner: c.runner}
	b.partitioned = &c.noRoute
	defer func() { b.partitioned = nil }()
	c.Service = b.service(c.runner, append([]func(*sessions.Options){func(o *sessions.Options) {
		o.Registry, o.Runner = c.registry, c.starts
	}}, change...)...)
	return c
}

// die cuts the edge off.
func (c *cut) die() {
	c.registry.down.Store(true)
	c.starts.dead.Store(true)
}

func (b *bench) lease(d time.Duration) func(*sessions.Options) {
	return func(o *sessions.Options) { o.Lease = d }
}

// startsOnce checks that there was one container, whatever happened.
func (b *bench) startsOnce(id string) {
	b.t.Helper()
	assert.Len(b.t, b.machine.started(), 1)
	assert.Equal(b.t, 1, b.machine.mostAtOnce(id))
}

func TestWakingEdgeDies(t *testing.T) {
	for name, kill := range map[string]func(b *bench, c *cut, gate chan struct{}){
		"after the write": func(_ *bench, c *cut, _ chan struct{}) {
			die := c.die
			c.starts.before.Store(&die)
		},
		"after the start": func(_ *bench, c *cut, _ chan struct{}) {
			die := c.die
			c.starts.after.Store(&die)
		},
		"before ready": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, second, third := b.sharing(), b.sharing(), b.sharing()
			gate := make(chan struct{})
			for _, c := range []*cut{first, second, third} {
				c.runner.set(func(r *runner) { r.script.gate = gate })
			}
			if kill != nil {
				kill(b, first, gate)
			}
			id := b.sleeping(second.Service, "bramble")
			_, err := first.Wake(t.Context(), id)
			require.NoError(t, err)
			if kill == nil {
				b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
				first.die()
			}
			b.eventually(first.registry.down.Load, "it dies")
			waited := make(chan sessions.View, 1)
			go func() { waited <- b.wait(second.Service, id) }() // a visitor
			holder := b.record(id).Lease.Holder
			b.eventually(func() bool { l := b.record(id).Lease; return l != nil && l.Holder != holder }, "another edge succeeds it")
			close(gate)
			assert.Equal(t, sessions.StatusActive, (<-waited).Record.Status)
			b.becomes(id, sessions.StatusActive)
			assert.Equal(t, int64(1), b.record(id).Epoch, "the same wake")
			b.startsOnce(id)
			_, err = third.Lookup(t.Context(), id)
			require.NoError(t, err)
			b.active(third.Service, id)
		})
	}
}

// Nobody waits for it on any other edge: it is succeeded all the same.
func TestDeadEdgeIsSucceededWithoutAVisitor(t *testing.T) {
	b := newBench(t)
	first, _ := b.sharing(), b.sharing()
	id := b.sleeping(first.Service, "bramble")
	die := first.die
	first.starts.before.Store(&die)
	_, err := first.Wake(t.Context(), id)
	require.NoError(t, err)
	b.becomes(id, sessions.StatusActive)
	b.startsOnce(id)
}

// An edge whose registry is away for less than the lease goes on with what it does; for
// longer, it has let go before another takes over, and there is still one container.
func TestRegistryAwayFromTheHolder(t *testing.T) {
	t.Run("shorter than the lease", func(t *testing.T) {
		b := newBench(t)
		const lease = 20 * time.Second
		first, second := b.sharing(b.lease(lease)), b.sharing(b.lease(lease))
		gate := make(chan struct{})
		first.runner.set(func(r *runner) { r.script.gate = gate })
		id := b.sleeping(first.Service, "bramble")
		_, err := first.Wake(t.Context(), id)
		require.NoError(t, err)
		b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
		holder := b.record(id).Lease.Holder
		first.registry.down.Store(true)
		close(gate)
		before := first.registry.calls.Load()
		b.eventually(func() bool { return first.registry.calls.Load() > before+3 }, "it cannot write that it is ready")
		assert.Equal(t, holder, b.record(id).Lease.Holder)
		first.registry.down.Store(false)
		b.active(first.Service, id)
		assert.Zero(t, b.logs.FilterMessage("session wake given up").Len())
		assert.Zero(t, b.logs.FilterMessage("session taken over").Len())
		b.startsOnce(id)
		_, err = second.Lookup(t.Context(), id)
		require.NoError(t, err)
	})
	t.Run("longer than the lease", func(t *testing.T) {
		b := newBench(t)
		const lease = 3 * time.Second
		first, second := b.sharing(b.lease(lease)), b.sharing(b.lease(lease))
		gate := make(chan struct{})
		first.runner.set(func(r *runner) { r.script.gate = gate })
		id := b.sleeping(first.Service, "bramble")
		_, err := first.Wake(t.Context(), id)
		require.NoError(t, err)
		b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
		first.registry.down.Store(true)
		b.eventually(func() bool { return b.logs.FilterMessage("session taken over").Len() == 1 }, "another goes on with it")
		// The log is written in the order of what happened.
		for _, entry := range b.logs.All() {
			if entry.Message == "session wake given up" {
				break
			}
			require.NotEqual(t, "session taken over", entry.Message, "the holder lets go before another may have it")
		}
		close(gate)
		b.becomes(id, sessions.StatusActive)
		b.active(second.Service, id)
		first.registry.down.Store(false)
		_, err = first.Lookup(t.Context(), id)
		require.NoError(t, err)
		b.active(first.Service, id)
		b.startsOnce(id)
		for _, entry := range b.logs.All() {
			assert.NotEqual(t, "error", entry.Level.String(), entry.Message)
		}
	})
	t.Run("longer than the lease, for all", func(t *testing.T) {
		b := newBench(t)
		s, r := b.edge(b.lease(300 * time.Millisecond))
		gate := make(chan struct{})
		r.set(func(r *runner) { r.script.gate = gate })
		id := b.sleeping(s, "bramble")
		_, err := s.Wake(t.Context(), id)
		require.NoError(t, err)
		b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
		b.registry.down.Store(true)
		close(gate)
		b.eventually(func() bool { return b.logs.FilterMessage("session wake given up").Len() == 1 }, "it lets go")
		b.registry.down.Store(false)
		b.active(s, id)
		b.startsOnce(id)
	})
}

func TestWaitingEdgesSeeTheSameProgressAndServeAtOnce(t *testing.T) {
	b := newBench(t)
	first, second := b.sharing(patient), b.sharing(patient)
	gate := make(chan struct{})
	first.runner.set(func(r *runner) {
		r.script = script{gate: gate, phases: []bootapi.Phase{bootapi.PhaseCloning, bootapi.PhaseBuilding}, log: []string{"compiling"}}
	})
	id := b.sleeping(first.Service, "bramble")
	var watches []*sessions.Watch
	for range 100 { // visitors, however many
		w := second.Watch(id)
		defer w.Close()
		watches = append(watches, w)
	}
	_, err := first.Wake(t.Context(), id)
	require.NoError(t, err)
	w := watches[0]
	b.eventually(func() bool {
		p := w.View().Progress
		return p.Phase == bootapi.PhaseBuilding && p.Step == "doing building" && len(p.Log) == 1 && p.Log[0] == "compiling"
	}, "it shows the phases, the steps and the log")
	assert.Equal(t, sessions.StatusInitializing, w.View().Record.Status)
	assert.Less(t, w.View().Progress.TotalMillis, soon.Milliseconds())
	assert.Less(t, second.registry.reads.Load(), int64(len(watches)), "one reads for all")
	b.eventually(func() bool { return b.only().requests()[bootapi.PathEvents] == 2 }, "each edge has one stream")

	// The waking edge is cut off at the very end: the site is there all the same.
	first.die()
	close(gate)
	b.eventually(func() bool { return w.View().Record.Status == sessions.StatusActive }, "the container itself says when it is ready")
	assert.Equal(t, bootapi.PhaseReady, w.View().Progress.Phase)
	assert.Equal(t, sessions.StatusInitializing, b.record(id).Status, "though nobody could write it down")
	route, ok := second.Route(id)
	require.True(t, ok)
	assert.Equal(t, b.only().addr, route.Address)
	v, err := second.Lookup(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, v.Record.Status)
	v, err = second.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, v.Record.Status)
	b.startsOnce(id)
}

// A site that was served before its wake was written down is served on when another edge
// has seen to that.
func TestServedWhileItsWakeIsTakenOver(t *testing.T) {
	b := newBench(t)
	first, second := b.sharing(), b.sharing()
	gate := make(chan struct{})
	first.runner.set(func(r *runner) { r.script.gate = gate })
	id := b.sleeping(first.Service, "bramble")
	w := second.Watch(id)
	defer w.Close()
	_, err := first.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
	first.die()
	close(gate)
	b.eventually(func() bool { _, ok := second.Route(id); return ok }, "served")
	route, _ := second.Route(id)
	b.becomes(id, sessions.StatusActive)
	now, ok := second.Route(id)
	require.True(t, ok)
	assert.Same(t, route, now)
	b.startsOnce(id)
}

// One who comes while another edge puts the session to sleep gets it, without asking again.
func TestVisitDuringAnotherEdgesDrainWakesNext(t *testing.T) {
	b := newBench(t)
	first, second := b.sharing(patient), b.sharing(patient)
	saving := make(chan struct{})
	first.runner.set(func(r *runner) { r.script.saving = saving })
	id := b.sleeping(first.Service, "bramble")
	b.awake(first.Service, id)
	slept := make(chan error, 1)
	go func() { slept <- first.Sleep(t.Context(), id, "by hand") }()
	b.becomes(id, sessions.StatusDraining)

	v, err := second.Wake(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusDraining, v.Record.Status)
	held := make(chan sessions.View, 1)
	go func() { held <- b.wait(second.Service, id) }() // a POST
	assert.Len(t, b.machine.started(), 1, "not before the old one has stopped")
	close(saving)
	require.NoError(t, <-slept)
	assert.Equal(t, sessions.StatusActive, (<-held).Record.Status)
	assert.Len(t, b.machine.started(), 2)
	assert.Equal(t, 1, b.machine.mostAtOnce(id))
	assert.Equal(t, int64(2), b.record(id).Epoch)
}

// The edge that was putting a session to sleep dies, and the wish for a wake is not lost.
func TestVisitDuringADeadEdgesDrainWakesNext(t *testing.T) {
	b := newBench(t)
	first, second := b.sharing(), b.sharing()
	saving := make(chan struct{})
	first.runner.set(func(r *runner) { r.script.saving = saving })
	id := b.sleeping(first.Service, "bramble")
	b.awake(first.Service, id)
	go first.Sleep(context.Background(), id, "by hand")
	b.becomes(id, sessions.StatusDraining)
	_, err := second.Wake(t.Context(), id)
	require.NoError(t, err)
	first.die()
	b.eventually(func() bool { return b.logs.FilterMessage("session taken over").Len() == 1 }, "another edge stops it")
	close(saving)
	b.active(second.Service, id)
	assert.Equal(t, 1, b.machine.mostAtOnce(id))
}

// Two edges find at once that a container is gone: its slot is freed once.
func TestLostOnTwoEdgesAtOnce(t *testing.T) {
	b := newBench(t)
	edges := []*cut{b.sharing(), b.sharing(), b.sharing()}
	id := b.sleeping(edges[0].Service, "bramble")
	b.awake(edges[0].Service, id)
	var routes []*sessions.Route
	for _, c := range edges {
		_, err := c.Lookup(t.Context(), id)
		require.NoError(t, err)
		routes = append(routes, b.active(c.Service, id))
	}
	b.only().kill()
	for n, c := range edges {
		w := c.Watch(id) // a waiting page on each
		defer w.Close()
		c.Lost(routes[n], fmt.Errorf("connection refused"))
	}
	for _, c := range edges {
		b.eventually(func() bool { r, ok := c.Route(id); return ok && r.Epoch == 2 }, "each has the next one")
	}
	assert.Equal(t, int64(2), b.record(id).Epoch)
	assert.Len(t, b.machine.started(), 2)
	assert.Equal(t, 1, b.logs.FilterMessage("session's container was lost").Len())
	for _, entry := range b.logs.All() {
		assert.NotEqual(t, "error", entry.Level.String(), entry.Message)
	}
}

// An edge whose own network is broken must not take from others what they use; and it
// serves the session again when it reaches it.
func TestPartitionedEdgeKillsNothing(t *testing.T) {
	b := newBench(t)
	b.lostPatience = 100 * time.Millisecond
	// Long enough that a slow machine answers in time.
	healthy, cutOff := b.sharing(b.lease(3*time.Second)), b.sharing(b.lease(3*time.Second))
	id := b.sleeping(healthy.Service, "bramble")
	route := b.awake(healthy.Service, id)
	_, err := cutOff.Lookup(t.Context(), id)
	require.NoError(t, err)
	other := b.active(cutOff.Service, id)

	cutOff.noRoute.Store(true)
	w := cutOff.Watch(id) // a visitor
	defer w.Close()
	cutOff.Lost(other, fmt.Errorf("no route to host"))
	b.eventually(func() bool {
		return b.logs.FilterMessage("session's container cannot be reached from this edge, but from another").Len() > 0
	}, "the other answers for it")
	assert.Equal(t, sessions.StatusInitializing, w.View().Record.Status)
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
	assert.Nil(t, b.record(id).Lease)
	now, ok := healthy.Route(id)
	require.True(t, ok)
	assert.Same(t, route, now)
	assert.True(t, b.only().running())

	cutOff.noRoute.Store(false)
	b.eventually(func() bool { _, ok := cutOff.Route(id); return ok }, "it is served again")
	b.startsOnce(id)
}

// An edge that has run out of files can ask no container, and so has not heard that one
// is silent.
func TestEdgeWithoutFilesGivesNothingUp(t *testing.T) {
	b := newBench(t)
	b.lostPatience, b.cutFault = 50*time.Millisecond, syscall.EMFILE
	only := b.sharing(patient, func(o *sessions.Options) { o.Exclusive = true })
	id := b.sleeping(only.Service, "bramble")
	route := b.awake(only.Service, id)
	only.noRoute.Store(true)
	only.Lost(route, fmt.Errorf("no route to host"))
	b.eventually(func() bool { return b.refused.Load() > 7 }, "it tries for longer than its patience")
	assert.True(t, b.only().running())
	only.noRoute.Store(false)
	b.eventually(func() bool { r, ok := only.Route(id); return ok && r == route }, "it is served again")
	b.startsOnce(id)
}

// One that never had a route to the container answers for it as well.
func TestColdEdgeAnswersForAContainer(t *testing.T) {
	b := newBench(t)
	b.lostPatience = 100 * time.Millisecond
	first, second := b.sharing(b.lease(3*time.Second)), b.sharing(b.lease(3*time.Second))
	id := b.sleeping(first.Service, "bramble")
	route := b.awake(first.Service, id)
	first.noRoute.Store(true)
	first.Lost(route, fmt.Errorf("no route to host"))
	b.eventually(func() bool { _, ok := second.Route(id); return ok }, "it is asked, and reaches it")
	b.eventually(func() bool { return b.record(id).Lease == nil }, "and says so")
	assert.True(t, b.only().running())
	b.startsOnce(id)
}

// An edge that is cut off doubts whatever it served: all of it gets an answer.
func TestManyDoubtsAreAllAnswered(t *testing.T) {
	b := newBench(t)
	s, r := b.edge(patient)
	b.swept(r)
	const many = 150
	b.put("many", many, func(*configstore.Client) {})
	b.awake(s, b.sleeping(s, "bramble"))
	host, digits, err := net.SplitHostPort(b.only().addr)
	require.NoError(t, err)
	port, err := strconv.Atoi(digits)
	require.NoError(t, err)
	var ids []string
	for range many { // they stand for containers of their own
		id := b.sleeping(s, "many")
		ids = append(ids, id)
		for _, e := range []sessions.Event{
			{Kind: sessions.EventWake, Holder: "cut off", Start: sessions.Start{Token: sessions.Token(b.only().claimed().Token), Size: "small", At: time.Now()}},
			{Kind: sessions.EventStarted, Container: b.only().ref, IP: host, Port: port},
			{Kind: sessions.EventReady, AskAt: time.Now().Add(time.Hour)},
			{Kind: sessions.EventDoubt, Holder: "cut off"},
		} {
			next, err := sessions.Next(b.record(id), e, time.Now())
			require.NoError(t, err)
			_, err = b.registry.Registry.Update(t.Context(), next, many)
			require.NoError(t, err)
		}
	}
	sessions.SweepRecords(s)
	b.eventually(func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return b.record(id).Lease != nil })
	}, "each is answered for, by one look")
}

// A container that hangs, whoever asks it, is replaced.
func TestHungContainerIsReplaced(t *testing.T) {
	for _, edges := range []int{1, 2} {
		t.Run(fmt.Sprint(edges), func(t *testing.T) {
			b := newBench(t)
			b.lostPatience = 100 * time.Millisecond
			var all []*cut
			for range edges {
				all = append(all, b.sharing())
			}
			id := b.sleeping(all[0].Service, "bramble")
			route := b.awake(all[0].Service, id)
			hung := b.only()
			hung.hung.Store(true)
			w := all[0].Watch(id) // a visitor
			defer w.Close()
			all[0].Lost(route, fmt.Errorf("it does not answer"))
			b.eventually(func() bool { r, ok := all[0].Route(id); return ok && r.Epoch == 2 }, "there is another")
			assert.False(t, hung.running())
			assert.Equal(t, "lost", hung.stopReason())
			assert.Equal(t, 1, b.machine.mostAtOnce(id))
		})
	}
}

// A clock that is ahead delays nothing, and shows no nonsense.
func TestClocksOfOtherMachinesAreNotTrusted(t *testing.T) {
	b := newBench(t)
	s, r := b.edge(patient)
	b.swept(r)
	id := b.sleeping(s, "bramble")
	failed := b.record(id)
	next := func(at time.Time, e sessions.Event) {
		t.Helper()
		n, err := sessions.Next(failed, e, at)
		require.NoError(t, err)
		failed, err = b.registry.Registry.Update(t.Context(), n, 1)
		require.NoError(t, err)
	}
	ahead := time.Now().Add(24 * time.Hour)
	next(ahead, sessions.Event{Kind: sessions.EventWake, Holder: "elsewhere", Start: sessions.Start{Token: "x", Size: "small", At: ahead}})
	for _, at := range []time.Time{ahead, time.Now().Add(-24 * time.Hour)} {
		failed.Start.At = at
		var err error
		failed, err = b.registry.Registry.Update(t.Context(), failed, 1)
		require.NoError(t, err)
		v, err := s.Lookup(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, sessions.StatusInitializing, v.Record.Status)
		assert.GreaterOrEqual(t, v.Progress.TotalMillis, int64(0))
		assert.Less(t, v.Progress.TotalMillis, soon.Milliseconds())
	}
	next(ahead, sessions.Event{Kind: sessions.EventFail, Failure: bootapi.Failure{Cause: "no"}})
	next(ahead, sessions.Event{Kind: sessions.EventStopped})

	v, err := s.Lookup(t.Context(), id)
	require.NoError(t, err)
	assert.False(t, v.Record.RetryAt().After(time.Now().Add(sessions.BackOff(1))), "no longer than the back-off from now")
	b.eventually(func() bool {
		v, err := s.Wake(t.Context(), id)
		return err == nil && v.Record.Status != sessions.StatusFailed
	}, "it is woken once the back-off is over")
	b.active(s, id)
}

// An answer of a runner that lags behind is no reason to stop what serves.
func TestRunnerThatLagsBehind(t *testing.T) {
	b := newBench(t)
	first, second := b.sharing(patient), b.sharing(patient)
	gate := make(chan struct{})
	first.runner.set(func(r *runner) { r.script.gate, r.blind = gate, 3 })
	id := b.sleeping(first.Service, "bramble")
	_, err := first.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "it is not given up, though it is not known at first")
	close(gate)
	route := b.active(first.Service, id)

	// Its address is not told any more, and then it is not known: it answers.
	for _, change := range []func(*runner){
		func(r *runner) { r.noAddress = true },
		func(r *runner) { r.blind = 1 << 20 },
	} {
		for _, c := range []*cut{first, second} {
			c.runner.set(change)
			if _, ok := c.Route(id); ok {
				c.Lost(route, fmt.Errorf("a moment's fault"))
			}
			_, err := c.Lookup(t.Context(), id)
			require.NoError(t, err)
			b.eventually(func() bool { _, ok := c.Route(id); return ok }, "it is found")
		}
	}
	assert.Equal(t, sessions.StatusActive, b.record(id).Status)
	b.startsOnce(id)
}
