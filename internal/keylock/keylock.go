// Package keylock locks by key: one caller at a time for each, waiting as long as its
// context lasts.
package keylock

import (
	"context"
	"sync"
)

// Locks are locks by key. The zero value has none taken; nothing is kept of a key that
// nobody holds. It must not be copied after first use.
type Locks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when its holder is done
}

// Lock waits until nobody else holds the key. unlock must be called, once. The error is
// ctx's. Who waited longest does not necessarily come first.
func (l *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		ahead, taken := l.held[key]
		if !taken {
			mine := make(chan struct{})
			if l.held == nil {
				l.held = make(map[string]chan struct{})
			}
			l.held[key] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, key)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-ahead:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
