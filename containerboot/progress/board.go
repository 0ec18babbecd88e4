// Package progress is where a boot writes how far it has come, and where whoever
// wants to know reads it, at once or as a stream. Writing never waits for a reader.
package progress

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// logLines is how many of the last lines of output a Status carries.
const logLines = 20

// Board holds the present status and hands every change to its subscribers. Make one
// with New; its methods are safe for concurrent use.
type Board struct {
	now  func() time.Time
	idle func() (time.Duration, string)

	mu      sync.Mutex
	status  bootapi.Status // without the fields that depend on the time of reading
	started time.Time
	since   time.Time // start of the present phase
	run     Run       // of the phases that are over
	afresh  []string  // steps that no cache makes needless
	past    []Run     // of the client's site, oldest first
	subs    map[*Subscription]struct{}
	closed  bool
}

// New returns a board in bootapi.PhaseStarting. idle says how long ago the last
// activity was, and what it was.
func New(now func() time.Time, idle func() (time.Duration, string)) *Board {
	t := now()
	return &Board{
		now:     now,
		idle:    idle,
		status:  bootapi.Status{Phase: bootapi.PhaseStarting},
		started: t,
		since:   t,
		run:     Run{Millis: map[bootapi.Phase]int64{}},
		subs:    make(map[*Subscription]struct{}),
	}
}

// Status returns the present status. The caller may keep it.
func (b *Board) Status() bootapi.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.statusLocked()
}

func (b *Board) statusLocked() bootapi.Status {
	s := b.status
	now := b.now()
	s.PhaseMillis = now.Sub(b.since).Milliseconds()
	s.TotalMillis = now.Sub(b.started).Milliseconds()
	b.expectLocked(&s)
	idle, kind := b.idle()
	s.IdleMillis, s.ActivityKind = idle.Milliseconds(), kind
	s.Log = append([]string(nil), b.status.Log...)
	s.Reused = append([]string(nil), b.status.Reused...)
	return s
}

// Phase returns the present phase.
func (b *Board) Phase() bootapi.Phase {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Phase
}

// Claimed names the session and enters bootapi.PhaseClaimed.
func (b *Board) Claimed(sessionID string, epoch int64) {
	b.change(func(s *bootapi.Status) {
		s.SessionID, s.Epoch = sessionID, epoch
		s.Phase = bootapi.PhaseClaimed
	})
}

// Enter goes to a phase and names what is being done in it. A phase that was left
// behind is not entered again, and none but bootapi.PhaseStopping follows a failure.
func (b *Board) Enter(phase bootapi.Phase, step string) {
	b.change(func(s *bootapi.Status) {
		if order(phase) > order(s.Phase) {
			s.Phase = phase
		}
		s.Step, s.Percent = step, nil
	})
}

// Step names what is being done, in a few words; "" for nothing.
func (b *Board) Step(step string) {
	b.change(func(s *bootapi.Status) { s.Step, s.Percent = step, nil })
}

// Reuse notes that a cache made steps of the boot needless.
func (b *Board) Reuse(steps ...string) {
	b.change(func(s *bootapi.Status) {
		if order(s.Phase) < order(bootapi.PhaseReady) {
			s.Reused = append(s.Reused, steps...)
		}
	})
}

// Content says what is checked out.
func (b *Board) Content(commit, branch string) {
	b.change(func(s *bootapi.Status) { s.Commit, s.Branch = commit, branch })
}

// Serving names the build that is served from now on.
func (b *Board) Serving(build string) {
	b.change(func(s *bootapi.Status) { s.Build = build })
}

// Saved notes the outcome of a save.
func (b *Board) Saved(r bootapi.SaveResult) {
	b.change(func(s *bootapi.Status) { s.LastSave = &r })
}

// Fail notes a failure. Before the site is ready it ends the boot: the phase becomes
// bootapi.PhaseFailed. After, the old build goes on serving and the phase stays.
func (b *Board) Fail(f bootapi.Failure) {
	b.change(func(s *bootapi.Status) {
		s.Failure, s.Step, s.Percent = &f, "", nil
		if order(s.Phase) < order(bootapi.PhaseReady) {
			s.Phase = bootapi.PhaseFailed
		}
	})
}

// Recovered forgets a failure: what had failed after the boot works again.
func (b *Board) Recovered() {
	b.change(func(s *bootapi.Status) { s.Failure = nil })
}

// change applies f and, if that made a difference, tells the subscribers.
func (b *Board) change(f func(*bootapi.Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.status.Phase
	f(&b.status)
	if b.status.Phase != was {
		now := b.now()
		b.run.Millis[was] = now.Sub(b.since).Milliseconds()
		b.since = now
	}
	b.publishLocked(bootapi.EventStatus, b.statusLocked())
}

// Log adds a line of a tool's output, written in a phase. Where it says how much of
// what is done, that becomes the step.
func (b *Board) Log(phase bootapi.Phase, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.status.Log) == logLines {
		copy(b.status.Log, b.status.Log[1:])
		b.status.Log = b.status.Log[:logLines-1]
	}
	b.status.Log = append(b.status.Log, line)
	b.publishLocked(bootapi.EventLog, bootapi.LogLine{Phase: phase, Line: line})
	step, percent, ok := percentOf(phase, line)
	if !ok || phase != b.status.Phase {
		return
	}
	if p := b.status.Percent; b.status.Step != step || p == nil || *p != percent {
		b.status.Step, b.status.Percent = step, &percent
		b.publishLocked(bootapi.EventStatus, b.statusLocked())
	}
}

// publishLocked marshals once, whatever the number of subscribers.
func (b *Board) publishLocked(name string, v any) {
	if len(b.subs) == 0 {
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		return // cannot happen: the types hold nothing that JSON has no form for
	}
	for s := range b.subs {
		if !s.push(Event{Name: name, Data: data}) {
			delete(b.subs, s)
		}
	}
}

// order makes phases comparable. A failure comes after everything but the end.
func order(p bootapi.Phase) int {
	switch p {
	case bootapi.PhaseStarting:
		return 0
	case bootapi.PhaseClaimed:
		return 1
	case bootapi.PhaseCloning:
		return 2
	case bootapi.PhaseInstalling:
		return 3
	case bootapi.PhaseBuilding:
		return 4
	case bootapi.PhaseReady:
		return 5
	case bootapi.PhaseFailed:
		return 6
	default:
		return 7 // stopping
	}
}
