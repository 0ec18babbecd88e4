package caddymodule

import "sync"

// holds counts what waits, per session and in all, so that neither grows without bound.
type holds struct {
	mu    sync.Mutex
	bySes map[string]int
	total int
}

func newHolds() *holds { return &holds{bySes: make(map[string]int)} }

// take takes a place for a session. It reports false, and takes none, where the session
// has perSession places taken or all sessions together have inAll.
func (h *holds) take(session string, perSession, inAll int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total >= inAll || h.bySes[session] >= perSession {
		return false
	}
	h.total++
	h.bySes[session]++
	return true
}

// give gives a place back.
func (h *holds) give(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.total--
	if h.bySes[session]--; h.bySes[session] == 0 {
		delete(h.bySes, session)
	}
}
