package ecs

import (
	"context"
	"sync"
	"time"
)

// maxBatch is how many tasks a DescribeTasks may name.
const maxBatch = 100

// batcher answers questions by key, those of all who ask together: at most one call is
// under way, whoever asks meanwhile is in the next, and asking for the same key costs
// nothing. An answer is never older than its question.
type batcher[V any] struct {
	// call answers for some keys; a key that is missing in its answer has the zero value.
	call func(keys []string) (map[string]V, error)
	// most is how many keys a call may have.
	most int
	// every is how far apart calls begin, unless a full one is waiting.
	every func() time.Duration
	// spawn runs the loop. false: the runner is closed.
	spawn func(func()) bool
	// life ends with the runner.
	life context.Context

	mu      sync.Mutex
	waiting map[string]*question[V] // not sent yet
	order   []string                // their keys, the oldest first; some may have been given up
	looping bool
	full    chan struct{} // closed when enough are waiting for a full call; nil if nobody heeds
	last    time.Time     // when the last call began
}

// question is one key that is asked for.
type question[V any] struct {
	askers int // who still wait; under the batcher's lock
	done   chan struct{}
	value  V
	err    error
}

// ask returns the answer for a key. errClosed; errors as of call, or of ctx.
func (b *batcher[V]) ask(ctx context.Context, key string) (V, error) {
	var none V
	if ctx.Err() != nil {
		return none, cause(ctx)
	}
	q, ok := b.join(key)
	if !ok {
		return none, errClosed
	}
	select {
	case <-q.done:
		return q.value, q.err
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.askers--; q.askers == 0 && b.waiting[key] == q {
		delete(b.waiting, key)
	}
	return none, cause(ctx)
}

func (b *batcher[V]) join(key string) (*question[V], bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q, ok := b.waiting[key]; ok {
		q.askers++
		return q, true
	}
	if !b.looping && !b.spawn(b.loop) {
		return nil, false
	}
	b.looping = true
	q := &question[V]{askers: 1, done: make(chan struct{})}
	if b.waiting == nil {
		b.waiting = map[string]*question[V]{}
	}
	b.waiting[key] = q
	b.order = append(b.order, key)
	if len(b.waiting) >= b.most && b.full != nil {
		close(b.full)
		b.full = nil
	}
	return q, true
}

// loop makes calls until nobody waits.
func (b *batcher[V]) loop() {
	for {
		b.pace()
		keys, asked := b.take()
		if len(keys) == 0 {
			return
		}
		values, err := b.call(keys)
		for i, q := range asked {
			q.value, q.err = values[keys[i]], err
			close(q.done)
		}
	}
}

// pace waits for the next call's time.
func (b *batcher[V]) pace() {
	b.mu.Lock()
	wait := time.Until(b.last.Add(b.every()))
	// One key a call is one call for all who wait: nothing is gained by haste.
	if wait <= 0 || (b.most > 1 && len(b.waiting) >= b.most) {
		b.mu.Unlock()
		return
	}
	full := make(chan struct{})
	if b.most > 1 {
		b.full = full
	}
	b.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-full:
	case <-b.life.Done():
	}
	b.mu.Lock()
	b.full = nil
	b.mu.Unlock()
}

// take takes the next call's keys; none ends the loop.
func (b *batcher[V]) take() (keys []string, asked []*question[V]) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.order) > 0 && len(keys) < b.most {
		key := b.order[0]
		b.order = b.order[1:]
		if q, ok := b.waiting[key]; ok {
			delete(b.waiting, key)
			keys, asked = append(keys, key), append(asked, q)
		}
	}
	if len(keys) == 0 {
		b.order, b.looping = nil, false
		return nil, nil
	}
	b.last = time.Now()
	return keys, asked
}
