package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// simCluster runs containers, at few addresses which it gives again as soon as it can.
type simCluster struct {
	w *simWorld

	mu    sync.Mutex
	boxes []*simBox          // all that ever were
	at    map[string]*simBox // by address
	full  bool
	work  map[int]string          // where each write went: remote, bundle, crash
	kept  map[string]map[int]bool // by session: its writes which are only in its bundle
}

func newSimCluster(w *simWorld) *simCluster {
	return &simCluster{w: w, at: map[string]*simBox{}, work: map[int]string{}, kept: map[string]map[int]bool{}}
}

// saved notes where work went.
func (c *simCluster) saved(session, where string, writes []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range writes {
		c.work[n] = where
		if where == bootapi.SavedInBundle {
			if c.kept[session] == nil {
				c.kept[session] = map[int]bool{}
			}
			c.kept[session][n] = true
		}
	}
	if where == "remote" { // what was in the bundle goes with it
		delete(c.kept, session)
	}
}

// where returns what became of a write.
func (c *simCluster) where(n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.work[n]
}

// gone takes a container's address away. b.mu is held.
func (c *simCluster) gone(b *simBox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at[b.address] == b {
		delete(c.at, b.address)
	}
}

// all returns the containers that fit, in the order of their starts.
func (c *simCluster) all(fits func(*simBox) bool) []*simBox {
	c.mu.Lock()
	boxes := slices.Clone(c.boxes)
	c.mu.Unlock()
	return slices.DeleteFunc(boxes, func(b *simBox) bool { return !fits(b) })
}

func (c *simCluster) running() []*simBox {
	return c.all(func(b *simBox) bool { return !b.isDead() })
}

// of returns the running container of a session.
func (c *simCluster) of(id string) (*simBox, bool) {
	boxes := c.all(func(b *simBox) bool { return b.req.SessionID == id && !b.isDead() })
	if len(boxes) == 0 {
		return nil, false
	}
	return boxes[len(boxes)-1], true
}

// slotFreed checks that no container runs whose slot is freed. The registry's lock is held.
func (c *simCluster) slotFreed(r sessions.Record, deleted bool) {
	for _, b := range c.running() {
		if b.req.SessionID == r.SessionID && b.req.Epoch <= r.Epoch {
			c.w.breaks("the slot of %.5s/%d was freed while %s runs (deleted: %t)", r.SessionID, r.Epoch, b, deleted)
		}
	}
}

// stop ends a container, and checks that nobody uses it.
func (c *simCluster) stop(b *simBox, why string) {
	if b.inUse() && c.w.fits(b.req) && !c.w.isBlind() {
		c.w.breaks("%s was stopped (%s) while somebody used it", b, why)
	}
	if strings.HasSuffix(why, ": orphan") && c.w.fits(b.req) {
		c.w.breaks("%s was stopped as an orphan, and is none", b)
	}
	c.w.note("%s is stopped: %s", b, why)
	b.end()
}

// start is what a runner does when it is asked to.
func (c *simCluster) start(by string, req sessions.StartRequest, alive func() bool, late bool) (sessions.Container, error) {
	for {
		if !alive() {
			return sessions.Container{}, context.Canceled
		}
		var earlier *simBox
		for _, b := range c.all(func(b *simBox) bool { return b.req.SessionID == req.SessionID }) {
			switch {
			case b.req.Epoch == req.Epoch && b.req != req:
				c.w.breaks("%s was started again with other parameters", b)
				return sessions.Container{}, errors.New("another container of this epoch was started")
			case b.req.Epoch == req.Epoch:
				return c.describe(b), nil // for good, even if it has ended
			case b.isDead():
			case b.req.Epoch > req.Epoch:
				return sessions.Container{}, fmt.Errorf("epoch %d was started since: %w", b.req.Epoch, sessions.ErrNoContainer)
			default:
				earlier = b
			}
		}
		if earlier != nil {
			c.stop(earlier, "a newer epoch starts")
			continue
		}
		return c.launch(by, req, late)
	}
}

func (c *simCluster) launch(by string, req sessions.StartRequest, late bool) (sessions.Container, error) {
	w := c.w
	w.records.mu.Lock() // so that no record changes meanwhile
	r, ok := w.records.get(req.SessionID)
	w.records.mu.Unlock()
	wanted := ok && r.HoldsSlot() && r.Epoch == req.Epoch
	c.mu.Lock()
	if c.full {
		c.mu.Unlock()
		return sessions.Container{}, fmt.Errorf("the cluster is full: %w", sessions.ErrCapacity)
	}
	var address string
	for number := 1; ; number++ { // the first that is free: the one that was left last, as a rule
		address = fmt.Sprintf("10.0.0.%d:8080", number)
		if c.at[address] == nil {
			break
		}
	}
	now := time.Now()
	b := &simBox{
		w: w, by: by, req: req, late: late, ref: fmt.Sprintf("box%d", len(c.boxes)+1), address: address, born: now, used: now, heard: now,
		ended: make(chan struct{}), conns: make(chan net.Conn), changed: make(chan struct{}),
		status: bootapi.Status{Phase: bootapi.PhaseStarting},
	}
	c.boxes = append(c.boxes, b)
	c.at[address] = b
	c.mu.Unlock()
	b.located = now.Add(w.between("locate", 100*time.Millisecond, 5*time.Second))
	time.AfterFunc(w.between("listen", 200*time.Millisecond, 6*time.Second), b.listen)
	w.note("%s starts at %s (wanted: %t, late: %t)", b, address, wanted, late)
	if !wanted && !late {
		w.breaks("%s was started though no record wants it", b)
	}
	running := 0
	for _, other := range c.running() {
		// What a frozen or given-up call starts once its session has gone on without it
		// nobody can prevent: it has to end soon, and is not counted until then.
		if other.req.ClientID != req.ClientID || other.late && !w.fits(other.req) {
			continue
		}
		running++
		if other != b && other.req.SessionID == req.SessionID {
			w.breaks("%s and %s run at once", other, b)
		}
	}
	if limit := w.clients[req.ClientID].Settings.MaxConcurrentSessions; running > limit {
		w.breaks("client %s has %d containers, and may have %d", req.ClientID, running, limit)
	}
	return c.describe(b), nil
}

// describe is what a runner tells of a container.
func (c *simCluster) describe(b *simBox) sessions.Container { return c.describeAt(b, time.Now()) }

// describeAt is what a runner tells of a container as it was.
func (c *simCluster) describeAt(b *simBox, at time.Time) sessions.Container {
	b.mu.Lock()
	defer b.mu.Unlock()
	dead := b.dead && !b.died.After(at)
	d := sessions.Container{Ref: b.ref, SessionID: b.req.SessionID, Epoch: b.req.Epoch, Running: !dead}
	if at.After(b.located) {
		d.Address = b.address
	}
	if dead {
		d.Reason = "exited"
	}
	return d
}

// forget removes a session's bundle, unless there is work in it.
func (c *simCluster) forget(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept[id]) > 0 {
		return fmt.Errorf("%d writes are in the bundle: %w", len(c.kept[id]), sessions.ErrUnsaved)
	}
	delete(c.kept, id)
	return nil
}

func (c *simCluster) keptIDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.kept))
}

// byRef returns the container that a reference names.
func (c *simCluster) byRef(ref string) (*simBox, bool) {
	boxes := c.all(func(b *simBox) bool { return b.ref == ref })
	if len(boxes) == 0 {
		return nil, false
	}
	return boxes[0], true
}

// dial connects to whatever is at an address.
func (c *simCluster) dial(ctx context.Context, address string) (net.Conn, error) {
	c.mu.Lock()
	b := c.at[address]
	c.mu.Unlock()
	switch {
	case b == nil && c.w.chance("nothing there", 50):
		<-ctx.Done() // no host has the address any more
		return nil, ctx.Err()
	case b == nil:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case b.isHung():
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	select {
	case b.conns <- there:
		return here, nil
	case <-b.ended:
	case <-time.After(10 * time.Millisecond): // does not listen yet
	case <-ctx.Done():
	}
	_ = here.Close()
	_ = there.Close()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

func (c *simCluster) setFull(full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = full
}
