package sessions

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// live is what this edge holds of a session that has a route, is being worked on, or
// is watched. Nothing is held of any other.
type live struct {
	id   string
	refs int // under Service.mu: one for a route, an op, each watch and each call

	mu       sync.Mutex
	record   Record         // as last read or written; zero before
	deleted  bool           // what is read now and says otherwise was read before
	progress bootapi.Status // as last told by the container, or made up
	phaseAt  time.Time      // when the phase of progress began; zero before there is one
	op       *op            // what is being done to the session; nil: nothing
	wish     wish           // what is to be done after op
	route    *Route         // of the record's epoch, once there was one
	routed   bool           // the route is in the table
	looking  string         // what is being done to find an active session's container
	watches  map[*Watch]struct{}
	// unattend ends what keeps the session up to date for those who watch it while this
	// edge does nothing to it; nil: nothing does. See attend.
	unattend context.CancelFunc
	epochAt  time.Time // when the record's epoch was first seen
}

// maxWaited is more than any wake lasts that is still under way.
const maxWaited = time.Hour

// hold returns the entry of a session, made if need be, which stays until release.
func (s *Service) hold(id string) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.live[id]
	if !ok {
		e = &live{id: id, watches: make(map[*Watch]struct{})}
		s.live[id] = e
	}
	e.refs++
	return e
}

// holdKnown returns the entry of a session if there is one.
func (s *Service) holdKnown(id string) (*live, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.live[id]
	if ok {
		e.refs++
	}
	return e, ok
}

func (s *Service) release(e *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.refs--
	if e.refs == 0 {
		delete(s.live, e.id)
	}
}

// holdAll returns all entries; each must be released.
func (s *Service) holdAll() []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*live, 0, len(s.live))
	for _, e := range s.live {
		e.refs++
		all = append(all, e)
	}
	return all
}

// publish makes a record the latest that is known, unless a newer one is, with the
// progress that goes with its state. Only what is new is told to those who watch: they
// may be many, and the record is read again and again for them. e.mu is not held.
func (e *live) publish(r Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deleted || (e.record.SessionID != "" && r.Version < e.record.Version) {
		return
	}
	before := e.record
	e.record = r
	if before.Epoch != r.Epoch || e.epochAt.IsZero() {
		e.epochAt = time.Now()
	}
	if before.Status != r.Status || before.Epoch != r.Epoch {
		e.showPhase(r)
	}
	if before.SessionID == "" || before.Version != r.Version {
		e.notify()
	}
}

// showPhase sets the progress to what the record alone tells. e.mu is held.
func (e *live) showPhase(r Record) {
	p := bootapi.Status{Log: e.progress.Log}
	switch r.Status {
	case StatusInitializing:
		p.Phase, p.Log = bootapi.PhaseStarting, nil
	case StatusActive:
		p = e.progress
		p.Phase, p.Step = bootapi.PhaseReady, ""
	case StatusDraining:
		p.Phase = bootapi.PhaseStopping
	case StatusFailed:
		p.Phase = bootapi.PhaseFailed
		if r.Failure != nil {
			f := r.Failure.Failure
			p.Failure = &f
		}
	case StatusInactive:
	}
	e.setProgress(p, time.Now())
}

// setProgress replaces the progress, of which the phase began at a time. e.mu is held.
func (e *live) setProgress(p bootapi.Status, phaseAt time.Time) {
	e.progress, e.phaseAt = p, phaseAt
}

// showStatus publishes what a container that comes up says of itself, and reports whether
// it did. The record decides what is active: until it does, a ready container is shown in
// its last phase. e.mu is not held.
func (e *live) showStatus(status bootapi.Status) bool {
	switch status.Phase {
	case bootapi.PhaseClaimed, bootapi.PhaseCloning, bootapi.PhaseInstalling, bootapi.PhaseBuilding:
	default:
		return false // the end is shown with the record's
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	status.Failure = nil
	if status.ExpectedTotalMillis > 0 && e.record.Start != nil {
		// What passed before the container ran belongs to the wake, of which the view tells.
		status.ExpectedTotalMillis += max(0, e.waited().Milliseconds()-status.TotalMillis)
	}
	e.setProgress(status, time.Now().Add(-time.Duration(max(0, status.PhaseMillis))*time.Millisecond))
	e.notify()
	return true
}

// addLog adds a line of the tools' output to the progress. e.mu is not held.
func (e *live) addLog(line string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.progress.Log
	// A new slice each time: views hold the older ones.
	e.progress.Log = append(slices.Clone(old[max(0, len(old)+1-maxLogLines):]), line)
	e.notify()
}

// step says in a few words what is being done. e.mu is not held.
func (e *live) step(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.progress.Step != text {
		e.progress.Step = text
		e.notify()
	}
}

// lookFor says what is being done to find an active session's container. e.mu is not held.
func (e *live) lookFor(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.looking != text {
		e.looking = text
		e.notify()
	}
}

// gone shows that the session was deleted. e.mu is not held.
func (e *live) gone() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deleted = true
	e.record.SessionID, e.record.Status = e.id, ""
	e.setProgress(bootapi.Status{}, time.Time{})
	e.notify()
}

// notify tells every watch that there is something new. e.mu is held.
func (e *live) notify() {
	for w := range e.watches {
		select {
		case w.c <- struct{}{}:
		default: // has not looked at the last one yet
		}
	}
}

// view is what is known now. e.mu is held.
func (e *live) view() View {
	r := e.record
	if e.served() {
		r.Status = StatusActive
	}
	v := viewOf(r, e.routed, e.looking)
	if v.Record.Status == e.record.Status {
		v.Progress = e.progress
		if !e.phaseAt.IsZero() {
			v.Progress.PhaseMillis = time.Since(e.phaseAt).Milliseconds()
		}
	}
	v.Progress.SessionID, v.Progress.Epoch = v.Record.SessionID, v.Record.Epoch
	if v.Record.Status == StatusInitializing && v.Record.Start != nil {
		v.Progress.TotalMillis = max(e.waited().Milliseconds(), v.Progress.PhaseMillis)
	}
	return v
}

// served reports whether a session whose wake another edge has yet to write down as done
// has its route here already: its container said that the site answers. e.mu is held.
func (e *live) served() bool {
	return e.routed && e.record.Status == StatusInitializing && e.route.Epoch == e.record.Epoch
}

// waited is how long the wake has lasted. Its beginning was written by the clock of the
// edge that began it; where that cannot be, it is how long this edge has known of it.
// e.mu is held.
func (e *live) waited() time.Duration {
	if d := time.Since(e.record.Start.At); d >= 0 && d <= maxWaited {
		return d
	}
	return time.Since(e.epochAt)
}

// viewOf is what a record alone shows.
func viewOf(r Record, routed bool, looking string) View {
	if r.Status == StatusActive && !routed || r.Status == StatusDraining && looking != "" {
		r.Status = StatusInitializing
		return View{Record: r.WithoutToken(), Progress: bootapi.Status{
			SessionID: r.SessionID, Epoch: r.Epoch, Phase: bootapi.PhaseStarting, Step: cmp.Or(looking, "looking for the session's container"),
		}}
	}
	var shown live
	shown.showPhase(r)
	shown.progress.SessionID, shown.progress.Epoch = r.SessionID, r.Epoch
	return View{Record: r.WithoutToken(), Progress: shown.progress}
}

// setRoute puts the route of an active session into the table: the same as before,
// if it had one in this epoch. Then it publishes the record.
func (s *Service) setRoute(e *live, r Record) {
	e.mu.Lock()
	s.putRoute(e, r)
	e.mu.Unlock()
	e.publish(r)
}

// putRoute is setRoute without the record. e.mu is held.
func (s *Service) putRoute(e *live, r Record) {
	if e.route == nil || e.route.Epoch != r.Epoch || e.route.Address != r.address() {
		e.route = newRoute(r)
	}
	s.routes.set(e.route)
	e.looking = ""
	e.notify()
	if !e.routed {
		e.routed = true
		s.mu.Lock()
		e.refs++
		s.mu.Unlock()
	}
}

// dropRoute takes the session's route out of the table; if only is not nil, only that
// one. It reports whether it did.
func (s *Service) dropRoute(e *live, only *Route) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.routed || !s.routes.drop(e.id, only) {
		return false
	}
	e.routed = false
	e.notify()
	s.mu.Lock()
	e.refs-- // the caller holds another
	s.mu.Unlock()
	return true
}
