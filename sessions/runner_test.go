package sessions_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/webordinary/router/sessions"
)

// machine is what containers run on; runners of several edge processes may share it.
type machine struct {
	mu         sync.Mutex
	containers map[string]*container
	starts     []sessions.StartRequest
	most       map[string]int   // the most containers of a session that ever ran at once
	kept       map[string]error // by session: what Forget says of what is kept
}

func newMachine() *machine {
	return &machine{containers: map[string]*container{}, most: map[string]int{}, kept: map[string]error{}}
}

// keep lays down something of a session, and what becomes of who wants to forget it.
func (m *machine) keep(id string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[id] = err
}

func (m *machine) forget(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.kept[id]; err != nil {
		return err
	}
	delete(m.kept, id)
	return nil
}

func (m *machine) keptIDs() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.kept))
}

func (m *machine) all() []*container {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.containers), func(a, b *container) int { return a.number - b.number })
}

func (m *machine) started() []sessions.StartRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.starts)
}

func (m *machine) mostAtOnce(session string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most[session]
}

func (m *machine) killAll() {
	for _, c := range m.all() {
		c.kill()
	}
}

// runner is one edge process's way to a machine. A shared one knows what others
// started, as a cluster's does; one that is not only knows its own, as that of
// child processes does.
type runner struct {
	m      *machine
	shared bool

	mu     sync.Mutex
	script script
	err    error // of every Start
	down   bool  // all fails
	own    map[string]bool
	later  bool            // what it did not start itself runs without an address, until it has saved
	hold   <-chan struct{} // Start waits for it

	blind     int  // so many questions are answered as if nothing were known of what was started
	noAddress bool // Describe tells no address

	sweeps atomic.Int64 // calls of Kept, the last of a sweep
}

func newRunner(m *machine, shared bool) *runner {
	return &runner{m: m, shared: shared, own: map[string]bool{}}
}

func (r *runner) set(fn func(*runner)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r)
}

func (r *runner) state() (script, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.err
	if r.down {
		err = sessions.ErrRunnerUnavailable
	}
	return r.script, r.hold, err
}

func (r *runner) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	script, hold, err := r.state()
	if err != nil {
		return sessions.Container{}, err
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return sessions.Container{}, ctx.Err()
		}
	}
	for _, c := range r.m.all() {
		if c.req.SessionID != req.SessionID || !c.running() {
			continue
		}
		if c.req == req && r.knows(c.ref) {
			return r.describe(c), nil
		}
		if err := c.stop(ctx, "superseded"); err != nil {
			return sessions.Container{}, err
		}
	}
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	number := len(r.m.starts) + 1
	ref := fmt.Sprintf("c%d", number)
	c, err := newContainer(ref, req, script)
	if err != nil {
		return sessions.Container{}, err
	}
	c.number = number
	r.m.starts = append(r.m.starts, req)
	if _, ok := r.m.kept[req.SessionID]; !ok {
		r.m.kept[req.SessionID] = nil
	}
	r.m.containers[ref] = c
	running := 0
	for _, other := range r.m.containers {
		if other.req.SessionID == req.SessionID && other.running() {
			running++
		}
	}
	r.m.most[req.SessionID] = max(running, r.m.most[req.SessionID])
	r.set(func(r *runner) { r.own[ref] = true })
	started := describe(c)
	started.Address = "" // known by Describe only, as on a cluster
	return started, nil
}

func (r *runner) knows(ref string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shared || r.own[ref]
}

func (r *runner) describe(c *container) sessions.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := describe(c)
	if r.noAddress {
		d.Address = ""
	}
	if r.later && !r.own[c.ref] {
		d.Address, d.Ending, d.Reason = "", true, "it saves and ends"
	}
	return d
}

func describe(c *container) sessions.Container {
	return sessions.Container{
		Ref: c.ref, SessionID: c.req.SessionID, Epoch: c.req.Epoch, Address: c.addr, Running: c.running(), Reason: "exit status 137",
	}
}

func (r *runner) find(ref string) (*container, error) {
	if _, _, err := r.state(); err != nil && r.isDown() {
		return nil, err
	}
	r.m.mu.Lock()
	c, ok := r.m.containers[ref]
	r.m.mu.Unlock()
	if !ok || !r.knows(ref) {
		return nil, sessions.ErrNoContainer
	}
	return c, nil
}

func (r *runner) isDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down
}

func (r *runner) Describe(_ context.Context, ref string) (sessions.Container, error) {
	unknown := false
	r.set(func(r *runner) {
		if unknown = r.blind > 0; unknown {
			r.blind--
		}
	})
	if unknown {
		return sessions.Container{}, sessions.ErrNoContainer
	}
	c, err := r.find(ref)
	if err != nil {
		return sessions.Container{}, err
	}
	return r.describe(c), nil
}

func (r *runner) Stop(ctx context.Context, ref, reason string) error {
	if r.isDown() {
		return sessions.ErrRunnerUnavailable
	}
	c, err := r.find(ref)
	if err != nil {
		return nil //nolint:nilerr // has ended
	}
	return c.stop(ctx, reason)
}

func (r *runner) List(context.Context) ([]sessions.Container, error) {
	if r.isDown() {
		return nil, sessions.ErrRunnerUnavailable
	}
	var all []sessions.Container
	for _, c := range r.m.all() {
		if c.running() && r.knows(c.ref) {
			all = append(all, r.describe(c))
		}
	}
	return all, nil
}

func (r *runner) Forget(_ context.Context, id string) error {
	if r.isDown() {
		return sessions.ErrRunnerUnavailable
	}
	return r.m.forget(id)
}

func (r *runner) Kept(context.Context) ([]string, error) {
	if r.isDown() {
		return nil, sessions.ErrRunnerUnavailable
	}
	defer r.sweeps.Add(1)
	return r.m.keptIDs(), nil
}

func (r *runner) Close(context.Context) error { return nil }
