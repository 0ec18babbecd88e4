package sessions

import (
	"errors"
	"fmt"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// ErrTransition: the event does not fit the state of the session.
var ErrTransition = errors.New("session is in another state")

// EventKind is what can happen to a session.
type EventKind string

// The events of a session. See Next for what each does.
const (
	EventWake    EventKind = "wake"    // an edge begins a wake: Holder, Start
	EventStarted EventKind = "started" // the runner started the container: Container, and its address if known
	EventLocated EventKind = "located" // the container's address became known: IP, Port
	EventReady   EventKind = "ready"   // the site answers: AskAt
	EventAsked   EventKind = "asked"   // the container is not idle: AskAt, LastActivity, Awake
	EventDrain   EventKind = "drain"   // an edge begins to put the session to sleep: Holder
	EventBusy    EventKind = "busy"    // the drain is called off, the container serves on: AskAt, LastActivity, Awake
	EventRenew   EventKind = "renew"   // an edge renews its lease, or takes over another's: Holder
	EventStopped EventKind = "stopped" // the container's stop was confirmed
	EventFail    EventKind = "fail"    // the wake, or the container, failed: Failure
	EventLost    EventKind = "lost"    // the container is gone, though nobody stopped it
	EventUnwake  EventKind = "unwake"  // another edge than the one which wakes it wants it asleep
	EventDoubt   EventKind = "doubt"   // an edge cannot reach the container, and asks whether others do: Holder
	EventFound   EventKind = "found"   // the container, which an edge doubts, answers another
)

// Event is one thing that happened to a session. Which fields count depends on the
// kind; the others are ignored.
type Event struct {
	Kind         EventKind
	Holder       string          // the edge's id
	Start        Start           // what the container is to be started with
	Container    string          // the runner's reference
	IP           string          // where the container listens
	Port         int             // where the container listens
	AskAt        time.Time       // when the reaper is to ask next
	LastActivity time.Time       // as the container told it
	Awake        *Awake          // what the container said when it was asked
	Failure      bootapi.Failure // why
}

// The back-off after failed wakes.
const (
	firstBackOff = 2 * time.Second
	maxBackOff   = 5 * time.Minute
)

// BackOff is how long a session that failed so many times in a row waits before a
// visit may wake it again: 2 s, doubling to 5 min. Zero attempts: no wait.
func BackOff(attempts int) time.Duration {
	if attempts <= 0 {
		return 0
	}
	d := firstBackOff
	for ; attempts > 1 && d < maxBackOff; attempts-- {
		d *= 2
	}
	return min(d, maxBackOff)
}

// Next is the state machine of sessions: the record after an event, or
// ErrTransition if the event does not fit the record's state.
//
//	            wake   started,  ready   asked,  drain     busy    renew  stopped   unwake  fail    lost
//	                   located           doubt²,
//	                                     found²
//	inactive    init   –         –       –       –         –       –      –         –       –       –
//	initializing –     same      active  –       –         –       same   inactive  same    failed  inactive
//	active      –      –         –       same    draining  –       –      inactive  –       failed  inactive
//	draining    –      –         –       –       –         active  same   inactive  –       –       inactive
//	failed      init   –         –       –       –         –       same¹  freed¹    –       –       freed¹
//
// ¹ failed still, and only while it holds a slot, that is while its container may be
// running; freed: without the slot.
// ² doubt gives an active session the lease of an edge which cannot reach the container;
// found, and asked, take it away.
//
// A slot is taken by wake and freed by stopped and lost alone. A failed session that
// still holds one keeps it through the next wake; whoever wakes it lets the runner end
// the older container first.
func Next(r Record, e Event, now time.Time) (Record, error) {
	if !fits(r, e.Kind) {
		return r, fmt.Errorf("%w: %q does not fit a session that is %s", ErrTransition, e.Kind, r.Status)
	}
	switch e.Kind {
	case EventWake:
		start := e.Start
		r.Status = StatusInitializing
		r.Epoch++
		r.Start = &start
		r.Lease = &Lease{Holder: e.Holder, Beat: 1}
		r.LastActivity = now
		r.Awake, r.SleepWanted = nil, false
		r.Container, r.ContainerIP, r.ContainerPort = "", "", 0
	case EventStarted:
		r.Container, r.ContainerIP, r.ContainerPort = e.Container, e.IP, e.Port
	case EventLocated:
		r.ContainerIP, r.ContainerPort = e.IP, e.Port
	case EventReady:
		r.Status = StatusActive
		r.Lease, r.Failure, r.Instruction = nil, nil, ""
		r.AskAt = e.AskAt
		r.SleepWanted = false
	case EventAsked:
		r.AskAt, r.LastActivity, r.Awake, r.Lease = e.AskAt, e.LastActivity, e.Awake, nil
	case EventDoubt:
		r.Lease = &Lease{Holder: e.Holder, Beat: 1}
	case EventFound:
		r.Lease = nil
	case EventDrain:
		r.Status = StatusDraining
		r.Lease = &Lease{Holder: e.Holder, Beat: 1}
		r.AskAt = time.Time{}
	case EventBusy:
		r.Status = StatusActive
		r.Lease = nil
		r.AskAt, r.LastActivity, r.Awake = e.AskAt, e.LastActivity, e.Awake
	case EventUnwake:
		r.SleepWanted = true
	case EventRenew:
		beat := int64(1)
		if r.Lease != nil {
			beat = r.Lease.Beat + 1
		}
		r.Lease = &Lease{Holder: e.Holder, Beat: beat}
	case EventFail:
		attempts := 1
		if r.Failure != nil {
			attempts = r.Failure.Attempts + 1
		}
		r.Status = StatusFailed
		r.Failure = &Failure{Failure: e.Failure, At: now, Attempts: attempts}
		r.AskAt = time.Time{}
		r.SleepWanted = false
	case EventStopped, EventLost:
		if r.Status != StatusFailed {
			r.Status = StatusInactive
		}
		r.Start, r.Lease, r.Awake, r.SleepWanted = nil, nil, nil, false
		r.Container, r.ContainerIP, r.ContainerPort = "", "", 0
		r.AskAt = time.Time{}
	}
	return r, nil
}

// fits reports whether an event may happen in the record's state.
func fits(r Record, k EventKind) bool {
	switch k {
	case EventWake:
		return r.Status == StatusInactive || r.Status == StatusFailed
	case EventStarted, EventLocated, EventReady, EventUnwake:
		return r.Status == StatusInitializing
	case EventAsked, EventDrain, EventDoubt, EventFound:
		return r.Status == StatusActive
	case EventBusy:
		return r.Status == StatusDraining
	case EventFail:
		return r.Status == StatusInitializing || r.Status == StatusActive
	case EventRenew:
		return r.Status == StatusInitializing || r.Status == StatusDraining ||
			r.Status == StatusFailed && r.HoldsSlot()
	case EventStopped, EventLost:
		return r.Status == StatusInitializing || r.Status == StatusActive || r.Status == StatusDraining ||
			r.Status == StatusFailed && r.HoldsSlot()
	default:
		return false
	}
}
