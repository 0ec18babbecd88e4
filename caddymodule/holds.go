package caddymodule

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/webordinary/router/edge"
)

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

// hold keeps a request, its body unread, until its session is active.
func (h *Router) hold(w http.ResponseWriter, req *request, next caddyhttp.Handler) error {
	id := req.known.Session.ID
	refuse := func() error {
		req.decision = edge.Decision{Action: edge.Unavailable, Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
		return h.answer(w, req, next)
	}
	if !h.app.state.held.take(id, h.MaxHeldPerSession, h.MaxHeld) {
		return refuse()
	}
	visitor, forget := untilHangup(req.r)
	ctx, cancel := context.WithTimeout(visitor, req.decision.Hold)
	wait := req.live.service.Wait
	if req.traits.Passive {
		wait = req.live.service.WaitPassively
	}
	view, err := wait(ctx, id)
	cancel()
	forget()
	h.app.state.held.give(id)
	if err != nil {
		return refuse()
	}
	h.setView(req, view)
	if req.route == nil {
		return refuse()
	}
	req.decision = edge.Decide(req.traits, req.target, req.known)
	w.Header().Del("Cache-Control")
	return h.serveProxied(w, req, next)
}
