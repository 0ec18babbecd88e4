package sessions

import (
	"context"
	"sync"
)

// turn lets one at a time do what may take long. Unlike that of a mutex, its holder keeps
// nobody from anything but their turn, and whoever waits for it can leave. The zero value
// is nobody's.
type turn struct {
	mu    sync.Mutex
	taken chan struct{} // closed when the turn is given back; nil: it is nobody's
}

// take waits for the turn, or returns why ctx ended. give must follow.
func (t *turn) take(ctx context.Context) error {
	for {
		t.mu.Lock()
		taken := t.taken
		if taken == nil {
			t.taken = make(chan struct{})
			t.mu.Unlock()
			return nil
		}
		t.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.taken)
	t.taken = nil
}
