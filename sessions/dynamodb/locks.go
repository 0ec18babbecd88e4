package dynamodb

import (
	"context"
	"sync"
)

// clientLocks let the writes of this process that take or free a slot of the same client
// go one after the other: at the table they would only turn each other away.
type clientLocks struct {
	mu    sync.Mutex
	locks map[string]*clientLock
}

// clientLock is under clientLocks.mu, but for held.
type clientLock struct {
	refs  int
	held  chan struct{} // has room for one
	turns int           // that have begun
	// full is how many sessions held slots when a turn found no room, and fullTurn
	// which that was; 0 for none, or when one was freed since.
	full, fullTurn int
}

// turn is one write's time at a client's slots.
type turn struct {
	locks    *clientLocks
	clientID string
	lock     *clientLock
	number   int
	full     int
	end      func() // may be called twice
}

func newClientLocks() *clientLocks { return &clientLocks{locks: make(map[string]*clientLock)} }

// wait waits for a client's turn; or returns the error of ctx.
func (l *clientLocks) wait(ctx context.Context, clientID string) (*turn, error) {
	l.mu.Lock()
	c, ok := l.locks[clientID]
	if !ok {
		c = &clientLock{held: make(chan struct{}, 1)}
		l.locks[clientID] = c
	}
	c.refs++
	before := c.turns
	l.mu.Unlock()
	select {
	case c.held <- struct{}{}:
	case <-ctx.Done():
		l.leave(clientID, c)
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.turns++
	t := &turn{locks: l, clientID: clientID, lock: c, number: c.turns}
	t.end = sync.OnceFunc(func() {
		<-c.held
		l.leave(clientID, c)
	})
	if c.fullTurn > before { // a turn that had not begun when this write came
		t.full = c.full
	}
	return t, nil
}

func (l *clientLocks) leave(clientID string, c *clientLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.refs--; c.refs == 0 {
		delete(l.locks, clientID)
	}
}

// sawFull tells those who wait that there was no room beside so many sessions. What one
// write saw is true for them all: it was so while they waited.
func (t *turn) sawFull(running int) {
	t.locks.mu.Lock()
	defer t.locks.mu.Unlock()
	t.lock.full, t.lock.fullTurn = running, t.number
}

// sawRoom tells them that a slot was freed.
func (t *turn) sawRoom() {
	t.locks.mu.Lock()
	defer t.locks.mu.Unlock()
	t.lock.fullTurn = 0
}

// isFull reports whether there was no room within a limit, while the write waited.
func (t *turn) isFull(limit int) bool { return t.full > 0 && t.full >= limit }
