package sessions_test

import (
	"context"
	"fmt"
	"time"

	"github.com/webordinary/router/sessions"
)

// What an edge may be cut off from.
const (
	simToRegistry   = "registry"
	simToRunner     = "runner"
	simToContainers = "containers"
)

// simSleep waits, or returns false when ctx ends before.
func simSleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// latency draws how long a message is on its way.
func (w *simWorld) latency(name string) time.Duration {
	if w.moods.Slow && !w.isHealthy() && w.chance(name+" slow", 4) {
		return w.between(name+" slowly", 500*time.Millisecond, 4*time.Second)
	}
	return w.between(name, time.Millisecond, 15*time.Millisecond)
}

func unavailable(to string) error {
	if to == simToRegistry {
		return fmt.Errorf("made up: %w", sessions.ErrUnavailable)
	}
	return fmt.Errorf("made up: %w", sessions.ErrRunnerUnavailable)
}

// call is one call from an edge: a request on its way, an act, and a reply on its way.
// Any of them may be lost; the act happens all the same once the request has arrived.
// alive tells the act whether its caller is still there; late, that the call was given
// up, or was about to be made when its process was suspended.
func call[T any](ctx context.Context, e *simEdge, to, kind string, act func(alive func() bool, late bool) (T, error)) (T, error) {
	var none T
	w, name := e.w, e.name+" "+kind
	began := time.Now()
	if err := e.gate(ctx); err != nil {
		return none, err
	}
	suspended := !time.Now().Equal(began)
	if e.isCut(to) {
		if !simSleep(ctx, w.between(name+" cut", 200*time.Millisecond, 3*time.Second)) {
			return none, ctx.Err()
		}
		return none, unavailable(to)
	}
	if !simSleep(ctx, w.latency(name)) {
		if w.moods.Late && !w.isHealthy() && w.chance(name+" late", 40) {
			later := 2 * time.Second
			if e.isCrashed() {
				later = 2 * simLease // it was frozen for long before it crashed
			}
			time.AfterFunc(w.between(name+" later", 0, later), func() {
				_, err := act(func() bool { return true }, true)
				w.note("%s: a call that was given up acts: %v", name, err)
			})
		}
		return none, ctx.Err()
	}
	type outcome struct {
		value T
		err   error
	}
	acted := make(chan outcome, 1)
	go func() {
		value, err := act(func() bool { return ctx.Err() == nil && !e.isCrashed() }, suspended)
		acted <- outcome{value, err}
	}()
	var o outcome
	select {
	case o = <-acted:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	if w.moods.Lossy && !w.isHealthy() && w.chance(name+" lost", 4) || e.isCut(to) {
		w.note("%s: the reply is lost (%v)", name, o.err)
		if !simSleep(ctx, w.between(name+" lost for", 200*time.Millisecond, 3*time.Second)) {
			return none, ctx.Err()
		}
		return none, unavailable(to)
	}
	if !simSleep(ctx, w.latency(name+" reply")) {
		return none, ctx.Err()
	}
	return o.value, firstError(e.gate(ctx), o.err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// simStore is the registry as an edge reaches it.
type simStore struct{ e *simEdge }

func toStore[T any](ctx context.Context, s simStore, kind string, act func(context.Context, *simRegistry) (T, error)) (T, error) {
	return call(ctx, s.e, simToRegistry, kind, func(func() bool, bool) (T, error) {
		return act(context.WithoutCancel(ctx), s.e.w.records)
	})
}

func (s simStore) Create(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	return toStore(ctx, s, "create", func(ctx context.Context, g *simRegistry) (sessions.Record, error) { return g.Create(ctx, r, limit) })
}

func (s simStore) Get(ctx context.Context, id string) (sessions.Record, error) {
	return toStore(ctx, s, "get "+id, func(ctx context.Context, g *simRegistry) (sessions.Record, error) { return g.Get(ctx, id) })
}

func (s simStore) ByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	return toStore(ctx, s, "thread "+threadID, func(ctx context.Context, g *simRegistry) (sessions.Record, error) {
		return g.ByThread(ctx, clientID, threadID)
	})
}

func (s simStore) Update(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	return toStore(ctx, s, "update "+r.SessionID, func(ctx context.Context, g *simRegistry) (sessions.Record, error) {
		stored, err := g.Update(ctx, r, limit)
		if err == nil {
			s.e.w.note("%s writes %.5s/%d as version %d: %s", s.e.name, r.SessionID, r.Epoch, stored.Version, r.Status)
			if s.e.w.moods.Lossy && !s.e.w.isHealthy() && s.e.w.chance(s.e.name+" retries", 2) {
				// What speaks to the store tried again by itself, and met its own write.
				return sessions.Record{}, fmt.Errorf("made up: %w", sessions.ErrConflict)
			}
		}
		return stored, err
	})
}

func (s simStore) Delete(ctx context.Context, id string, version int64) error {
	_, err := toStore(ctx, s, "delete "+id, func(ctx context.Context, g *simRegistry) (struct{}, error) {
		return struct{}{}, g.Delete(ctx, id, version)
	})
	return err
}

func (s simStore) List(ctx context.Context, clientID, after string, limit int) ([]sessions.Record, error) {
	return toStore(ctx, s, "list", func(ctx context.Context, g *simRegistry) ([]sessions.Record, error) {
		return g.List(ctx, clientID, after, limit)
	})
}

func (s simStore) Running(ctx context.Context, clientID string) ([]string, error) {
	return toStore(ctx, s, "running", func(ctx context.Context, g *simRegistry) ([]string, error) { return g.Running(ctx, clientID) })
}

func (s simStore) Due(ctx context.Context, t time.Time, limit int) ([]sessions.Record, error) {
	return toStore(ctx, s, "due", func(ctx context.Context, g *simRegistry) ([]sessions.Record, error) { return g.Due(ctx, t, limit) })
}

func (s simStore) Unsettled(ctx context.Context, limit int) ([]sessions.Record, error) {
	return toStore(ctx, s, "unsettled", func(ctx context.Context, g *simRegistry) ([]sessions.Record, error) { return g.Unsettled(ctx, limit) })
}

func (s simStore) Duty(ctx context.Context) (sessions.Lease, error) {
	return toStore(ctx, s, "duty", func(ctx context.Context, g *simRegistry) (sessions.Lease, error) { return g.Duty(ctx) })
}

func (s simStore) SetDuty(ctx context.Context, old, next sessions.Lease) error {
	_, err := toStore(ctx, s, "set duty", func(ctx context.Context, g *simRegistry) (struct{}, error) {
		return struct{}{}, g.SetDuty(ctx, old, next)
	})
	return err
}

func (s simStore) Close() error { return nil }

// simRunner is the cluster as an edge reaches it.
type simRunner struct{ e *simEdge }

// simUnsure is after how long a start that was given up cannot act any more.
const simUnsure = 3 * time.Second

func (r simRunner) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	defer func() {
		if ctx.Err() != nil {
			r.e.mu.Lock()
			defer r.e.mu.Unlock()
			r.e.unsure = time.Now().Add(simUnsure)
		}
	}()
	return call(ctx, r.e, simToRunner, "start", func(alive func() bool, late bool) (sessions.Container, error) {
		c, err := r.e.w.cluster.start(r.e.name, req, alive, late)
		c.Address = "" // is known later
		return c, err
	})
}

// Describe may not know yet of a container what another edge has just started.
func (r simRunner) Describe(ctx context.Context, ref string) (sessions.Container, error) {
	return call(ctx, r.e, simToRunner, "describe", func(func() bool, bool) (sessions.Container, error) {
		b, ok := r.e.w.cluster.byRef(ref)
		if !ok {
			return sessions.Container{}, sessions.ErrNoContainer
		}
		lag := r.e.w.lag(r.e.name + " describe lag")
		if b.by != r.e.name && time.Since(b.born) < lag {
			return sessions.Container{}, unavailable(simToRunner)
		}
		return r.e.w.cluster.describeAt(b, time.Now().Add(-lag)), nil
	})
}

func (r simRunner) Stop(ctx context.Context, ref, reason string) error {
	_, err := call(ctx, r.e, simToRunner, "stop", func(func() bool, bool) (struct{}, error) {
		if b, ok := r.e.w.cluster.byRef(ref); ok && !b.isDead() {
			r.e.w.cluster.stop(b, r.e.name+": "+reason)
		}
		return struct{}{}, nil
	})
	return err
}

// List may not know yet of a container that another edge has just started. One which this
// edge may have started itself it waits for, as the runner for ECS does.
func (r simRunner) List(ctx context.Context) ([]sessions.Container, error) {
	r.e.mu.Lock()
	unsure := time.Until(r.e.unsure)
	r.e.mu.Unlock()
	if !simSleep(ctx, unsure) {
		return nil, ctx.Err()
	}
	return call(ctx, r.e, simToRunner, "list", func(func() bool, bool) ([]sessions.Container, error) {
		at := time.Now().Add(-r.e.w.lag(r.e.name + " list lag"))
		var list []sessions.Container
		for _, b := range r.e.w.cluster.all(func(b *simBox) bool { return b.by == r.e.name || !b.born.After(at) }) {
			if c := r.e.w.cluster.describeAt(b, at); c.Running {
				list = append(list, c)
			}
		}
		return list, nil
	})
}

func (r simRunner) Forget(ctx context.Context, id string) error {
	_, err := call(ctx, r.e, simToRunner, "forget", func(func() bool, bool) (struct{}, error) {
		if b, ok := r.e.w.cluster.of(id); ok {
			return struct{}{}, fmt.Errorf("%s runs", b)
		}
		return struct{}{}, r.e.w.cluster.forget(id)
	})
	return err
}

func (r simRunner) Kept(ctx context.Context) ([]string, error) {
	return call(ctx, r.e, simToRunner, "kept", func(func() bool, bool) ([]string, error) {
		return r.e.w.cluster.keptIDs(), nil
	})
}

func (r simRunner) Close(context.Context) error { return nil }
