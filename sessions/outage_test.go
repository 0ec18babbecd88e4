package sessions_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRunnerThatIsDownForAWhile(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	r.set(func(r *runner) { r.down = true })
	id := b.sleeping(s, "amelia")
	w := s.Watch(id)
	defer w.Close()
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return w.View().Progress.Step == "waiting for room" }, "it says what it waits for")
	r.set(func(r *runner) { r.down = false })
	b.active(s, id)
}

func TestRegistryThatIsDownAtReadiness(t *testing.T) {
	b := newBench(t)
	s, r := b.edge()
	gate := make(chan struct{})
	r.set(func(r *runner) { r.script.gate = gate })
	id := b.sleeping(s, "amelia")
	_, err := s.Wake(t.Context(), id)
	require.NoError(t, err)
	b.eventually(func() bool { return len(b.machine.all()) == 1 && b.only().claimed() != nil }, "claimed")
	b.registry.down.Store(true)
	before := b.registry.calls.Load()
	close(gate)
	b.eventually(func() bool { return b.registry.calls.Load() > before+3 }, "it tries again")
	b.registry.down.Store(false)
	b.active(s, id)
	assert.Len(t, b.machine.started(), 1)
}
