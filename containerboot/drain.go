package containerboot

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"
)

// drainFor is how long a container that agreed to its stop waits for the commit. If it
// has not come by then the edge gave up.
const drainFor = 2 * time.Minute

// drain is a container's way to its end; the zero value is that of one which serves. It
// decides between whoever comes and the edge that puts the session to sleep: the first
// of a call-off and a commit wins.
type drain struct {
	on atomic.Bool // there is one, as far as admit need care

	mu     sync.Mutex
	state  drainState
	name   string
	forced bool
	since  time.Time // when it was begun
	agreed time.Time
}

type drainState int

const (
	drainNone      drainState = iota
	drainPreparing            // the work is being saved
	drainAgreed               // waits for the commit
	drainCommitted            // for good
)

// verdict is what becomes of a request.
type verdict int

const (
	drainServes verdict = iota // it is served
	drainHolds                 // it is refused for now: it might write
	drainEnding                // nothing is served any more
)

// begin begins a drain and returns its name. A forced one is called off by nobody. The
// drain before it counts no more; it reports false where that must stay.
func (d *drain) begin(forced bool) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	if d.state == drainCommitted || d.state != drainNone && d.forced && !forced {
		return "", false
	}
	d.state, d.name, d.forced, d.since = drainPreparing, rand.Text(), forced, time.Now()
	d.on.Store(true)
	return d.name, true
}

// agree makes a drain one that can be committed, unless it was called off.
func (d *drain) agree(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state != drainPreparing || d.name != name {
		return false
	}
	d.state, d.agreed = drainAgreed, time.Now()
	return true
}

// cancel ends a drain, unless it was committed.
func (d *drain) cancel(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.name == name && d.state != drainCommitted {
		d.clear()
	}
}

// admit says what becomes of a request that arrives. What counts as somebody's doing
// calls a drain off; what may write, and does not count, could be lost after the save.
func (d *drain) admit(counts, write, socket bool) verdict {
	if !d.on.Load() {
		return drainServes
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	switch {
	case d.state == drainNone:
		return drainServes
	case d.state == drainCommitted:
		return drainEnding
	case !d.forced && counts:
		d.clear()
		return drainServes
	case write, d.forced && socket:
		return drainHolds
	default:
		return drainServes
	}
}

// commit makes a drain the end, unless it was called off, or something was done since
// it was begun: idle is for how long nothing was. Only the first call is told so.
func (d *drain) commit(name string, idle func() time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	if d.state != drainAgreed || d.name != name {
		return false
	}
	if !d.forced && idle() < time.Since(d.since) {
		d.clear()
		return false
	}
	d.state = drainCommitted
	return true
}

// committed reports whether the container ends by a drain.
func (d *drain) committed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state == drainCommitted
}

// expire ends a drain whose commit did not come. d.mu is held.
func (d *drain) expire() {
	if d.state == drainAgreed && time.Since(d.agreed) >= drainFor {
		d.clear()
	}
}

// clear is without a drain again. d.mu is held.
func (d *drain) clear() {
	d.state, d.name, d.forced = drainNone, "", false
	d.on.Store(false)
}
