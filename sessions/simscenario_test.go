package sessions_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// simScenario is one repetition: what the world is like, and what happens in it.
type simScenario struct {
	Seed    uint64
	Edges   int
	Moods   simMoods
	Actions []simAction
}

// simAction is one thing that happens: something that a person does, or a fault.
type simAction struct {
	Kind    string
	Edge    int           // which edge
	Session int           // which session, of those that there are
	For     time.Duration // how long a fault lasts
	Pause   time.Duration // until the next action
}

func (a simAction) String() string {
	return fmt.Sprintf("%s(edge %d, session %d, for %s), then %s", a.Kind, a.Edge, a.Session, a.For, a.Pause)
}

// simPatience is how long a person waits for a session.
const simPatience = 2 * time.Minute

// simRun is a scenario under way.
type simRun struct {
	w       *simWorld
	edges   []*simEdge
	ended   []*simEdge // edges that crashed
	doing   sync.WaitGroup
	numbers int // of edges' names and threads

	mu     sync.Mutex // guards edges against those who come back, and healed
	healed bool       // nobody comes back any more
}

// simulate carries a scenario through and returns what never must happen, and the trace.
func simulate(sc simScenario, log func(*simWorld) *zap.Logger) (broken, trace []string) {
	w := newSimWorld(sc.Seed, sc.Moods)
	w.log = log(w)
	r := &simRun{w: w}
	w.onAgree = r.comeBack
	for range sc.Edges {
		r.edges = append(r.edges, r.newEdge())
	}
	for range 3 {
		r.create("amelia", false)
	}
	for range 2 {
		r.create("bramble", false)
	}
	for _, a := range sc.Actions {
		w.note("--- %s", a)
		r.act(a)
		simSleep(context.Background(), a.Pause)
	}
	r.heal()
	r.doing.Wait()
	w.note("--- all faults have ended")
	r.checkOrphans()
	for _, id := range w.records.ids() {
		r.checkAlive(id)
	}
	r.checkIdle()
	r.checkWork()
	for _, e := range r.edges {
		r.checkEmpty(e)
		e.crash()
	}
	for _, e := range slices.Concat(r.edges, r.ended) {
		<-e.closed
	}
	return w.broken, w.trace
}

func (r *simRun) newEdge() *simEdge {
	r.numbers++
	return newSimEdge(r.w, fmt.Sprintf("edge%d", r.numbers))
}

// edge is one that an action speaks of.
func (r *simRun) edge(n int) *simEdge { return r.edges[n%len(r.edges)] }

// session is one that an action speaks of.
func (r *simRun) session(n int) string {
	var there []string
	for _, id := range r.w.records.ids() {
		if _, ok := r.w.records.now(id); ok {
			there = append(there, id)
		}
	}
	if len(there) == 0 {
		return "none"
	}
	return there[n%len(there)]
}

// create creates a session by the first edge; in good times, that succeeds.
func (r *simRun) create(client string, wake bool) {
	r.numbers++
	_, _, err := r.edges[0].s.Create(context.Background(), sessions.CreateRequest{ClientID: client, ThreadID: fmt.Sprintf("t%d", r.numbers), Wake: wake})
	r.w.note("session created for %s: %v", client, err)
}

// later does something at a time, or when all faults end.
func (r *simRun) later(d time.Duration, fn func()) {
	r.doing.Go(func() {
		for until := time.Now().Add(d); time.Now().Before(until) && !r.w.isHealthy(); {
			simSleep(context.Background(), min(time.Second, time.Until(until)))
		}
		fn()
	})
}

// visit has somebody come, who gives up at some time.
func (r *simRun) visit(e *simEdge, id string, write bool) {
	r.doing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), simPatience)
		defer cancel()
		var number func() int
		if write {
			number = r.w.nextWrite
		}
		err := e.visit(ctx, id, number)
		r.w.note("%s: visit of %.5s (write: %t): %v", e.name, id, write, err)
	})
}

// comeBack has somebody come who has not seen that the container agreed to its stop.
func (r *simRun) comeBack(b *simBox) {
	if !r.w.moods.Returning || !r.w.chance("comes back", 60) {
		return
	}
	simSleep(context.Background(), r.w.between("comes back in", 0, 60*time.Millisecond))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.healed {
		r.visit(r.edge(int(r.w.draw("comes back to")%64)), b.req.SessionID, r.w.chance("writes then", 50))
	}
}

// act does what an action says.
func (r *simRun) act(a simAction) {
	w, e, id := r.w, r.edge(a.Edge), r.session(a.Session)
	switch a.Kind {
	case "visit", "write":
		r.visit(e, id, a.Kind == "write")
	case "crowd":
		for _, e := range r.edges {
			for i := range 5 {
				r.visit(e, id, i == 0)
			}
		}
	case "create":
		client := []string{"amelia", "bramble"}[a.Session%2]
		thread := fmt.Sprintf("shared%d", a.Session%3)
		r.doing.Go(func() {
			_, before := e.s.LookupThread(context.Background(), client, thread)
			rec, created, err := e.s.Create(context.Background(), sessions.CreateRequest{ClientID: client, ThreadID: thread, Wake: a.Session%4 != 0})
			_, after := e.s.LookupThread(context.Background(), client, thread)
			w.note("%s: create for %s: %.5s (new: %t) %v; looked up: %v, then %v", e.name, client, rec.SessionID, created, err, before, after)
			if _, there := w.records.now(rec.SessionID); err == nil && there && errors.Is(after, sessions.ErrNotFound) {
				w.breaks("%s: session %.5s was created, and its thread is said not to be", e.name, rec.SessionID)
			}
		})
	case "sleep":
		r.doing.Go(func() { w.note("%s: sleep of %.5s: %v", e.name, id, e.s.Sleep(context.Background(), id, "asked for")) })
	case "delete":
		r.doing.Go(func() {
			err := e.s.Delete(context.Background(), id)
			w.note("%s: delete of %.5s: %v", e.name, id, err)
			if _, there := w.records.now(id); err == nil && there {
				w.breaks("%s: session %.5s was deleted, and is there", e.name, id)
			}
			if _, after := e.s.Lookup(context.Background(), id); err == nil && after == nil {
				w.breaks("%s: session %.5s was deleted, and is shown", e.name, id)
			}
		})
	case "crash edge":
		e.crash()
		r.ended = append(r.ended, e)
		r.mu.Lock()
		r.edges[a.Edge%len(r.edges)] = r.newEdge()
		r.mu.Unlock()
	case "suspend edge":
		w.blinded(a.For + simBlindness)
		e.suspend()
		r.later(a.For, e.resume)
	case "cut " + simToRegistry, "cut " + simToRunner, "cut " + simToContainers:
		to := a.Kind[len("cut "):]
		if to == simToContainers {
			w.blinded(a.For + simBlindness)
		}
		e.cutFrom(to, true)
		r.later(a.For, func() { e.cutFrom(to, false) })
	case "registry down":
		for _, e := range r.edges {
			e.cutFrom(simToRegistry, true)
			r.later(a.For, func() { e.cutFrom(simToRegistry, false) })
		}
	case "cluster full":
		w.cluster.setFull(true)
		r.later(a.For, func() { w.cluster.setFull(false) })
	default:
		if b, ok := w.cluster.of(id); ok {
			r.afflict(b, a)
		}
	}
}

// simBlindness is for how long after it was cut off an edge may still act on what it has
// seen, or rather not seen.
const simBlindness = 30 * time.Second

// afflict does something to a container.
func (r *simRun) afflict(b *simBox, a simAction) {
	switch a.Kind {
	case "crash container":
		b.kill(true)
	case "hang container":
		b.hang()
	case "fail save", "fail push":
		set := func(fails bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if a.Kind == "fail save" {
				b.failSave = fails
			} else {
				b.failPush = fails
			}
		}
		set(true)
		r.later(a.For, func() { set(false) })
	default:
		r.w.breaks("no such action: %s", a.Kind)
	}
}

// heal ends all faults.
func (r *simRun) heal() {
	r.w.mu.Lock()
	r.w.healthy = true
	r.w.mu.Unlock()
	r.mu.Lock()
	r.healed = true
	r.mu.Unlock()
}

// The most that things may take when nothing is in their way. Orphans are looked for
// every two minutes; a lease has to be seen unchanged for its length; a boot may have hung
// since before all faults ended; routes are looked at every five minutes or so.
const (
	simOrphansEnd = 2*time.Minute + simBootDeadline + simLease
	simWakes      = 4 * time.Minute
	simAllSleep   = 3*simIdle + 5*time.Minute
	simForgets    = 10 * time.Minute
)

// eventually waits until something is so, or notes that it never was.
func (r *simRun) eventually(most time.Duration, what string, is func() bool) bool {
	for until := time.Now().Add(most); !is(); {
		if time.Now().After(until) {
			r.w.breaks("not within %s: %s", most, what)
			return false
		}
		simSleep(context.Background(), time.Second)
	}
	return true
}

// checkOrphans waits until there are no containers but those of sessions.
func (r *simRun) checkOrphans() {
	r.eventually(simOrphansEnd, "all containers without a session end", func() bool {
		return !slices.ContainsFunc(r.w.cluster.running(), func(b *simBox) bool { return !r.w.fits(b.req) })
	})
}

// checkAlive has somebody ask for a session, on an edge of chance, once its client's
// others sleep: it becomes active, whatever happened before.
func (r *simRun) checkAlive(id string) {
	rec, ok := r.w.records.now(id)
	if !ok {
		return
	}
	e := r.edge(int(r.w.draw("alive") % 64))
	for _, other := range r.w.records.ids() {
		if o, ok := r.w.records.now(other); ok && other != id && o.ClientID == rec.ClientID && o.HoldsSlot() {
			r.eventually(simWakes, fmt.Sprintf("session %.5s sleeps", other), func() bool {
				err := e.s.Sleep(context.Background(), other, "another is to wake")
				r.w.note("%s: sleep of %.5s: %v", e.name, other, err)
				return err == nil || errors.Is(err, sessions.ErrNotFound)
			})
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), simWakes)
	defer cancel()
	r.w.note("--- is %.5s alive by %s?", id, e.name)
	if err := e.visit(ctx, id, r.w.nextWrite); err != nil {
		now, _ := r.w.records.now(id)
		r.w.breaks("session %.5s is asked for and does not become active within %s: %v (%s)", id, simWakes, err, now.Status)
		return
	}
	r.w.note("%.5s is alive", id)
}

// checkIdle leaves everything alone: it goes to sleep, and nobody has a slot.
func (r *simRun) checkIdle() {
	r.w.note("--- nobody is there")
	r.eventually(simAllSleep, "what nobody uses sleeps", func() bool {
		return len(r.w.cluster.running()) == 0
	})
	r.eventually(simOrphansEnd, "slots are freed, and sessions at rest", func() bool {
		for _, id := range r.w.records.ids() {
			rec, ok := r.w.records.now(id)
			if ok && (rec.HoldsSlot() || rec.Status != sessions.StatusInactive && rec.Status != sessions.StatusFailed) {
				return false
			}
		}
		return true
	})
}

// checkWork looks for what editors have written.
func (r *simRun) checkWork() {
	r.w.mu.Lock()
	acknowledged := r.w.written
	r.w.mu.Unlock()
	for n, id := range acknowledged {
		if r.w.cluster.where(n) == "" {
			r.w.breaks("write %d of session %.5s is nowhere", n, id)
		}
	}
}

// checkEmpty checks that an edge holds nothing of sessions that sleep.
func (r *simRun) checkEmpty(e *simEdge) {
	r.eventually(simForgets, e.name+" holds nothing of sessions that sleep", func() bool {
		return sessions.Live(e.s) == 0 && sessions.Flights(e.s) == 0 && sessions.Routes(e.s) == 0
	})
}
