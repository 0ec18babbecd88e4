package caddymodule

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
)

// Request variables that tell upstream source and transport what to do.
const (
	routeVar   = "webordinary.route"   // *sessions.Route
	passiveVar = "webordinary.passive" // true: the request is nobody's activity
)

// serveProxied proxies a request of an active session. Where its container does not
// answer, the session's route is dropped and the visitor told to wait.
func (h *Router) serveProxied(w http.ResponseWriter, req *request, next caddyhttp.Handler) error {
	caddyhttp.SetVar(req.r.Context(), routeVar, req.route)
	if req.traits.Passive {
		caddyhttp.SetVar(req.r.Context(), passiveVar, true)
	}
	if req.decision.SetCookie {
		rememberSession(w, req.r, req.route.SessionID)
	}
	err := h.proxy.ServeHTTP(w, req.r, next)
	if err == nil {
		return nil
	}
	// reverse_proxy returns an error only where it has written nothing.
	w.Header().Del("Set-Cookie")
	var lost *lostError
	var visitor *visitorError
	switch {
	case req.r.Context().Err() != nil:
		return err
	case errors.As(err, &lost):
		req.live.service.Lost(req.route, lost)
		return h.answerLost(w, req, next, lost.unsent)
	case errors.As(err, &visitor):
		return caddyhttp.Error(visitor.status(), visitor)
	default:
		return err
	}
}

// answerLost answers a request whose container turned out to be gone. A document, and
// once what was not sent at all, is answered as one of a session without a container.
// Anything else may have been carried out, and is never sent twice.
func (h *Router) answerLost(w http.ResponseWriter, req *request, next caddyhttp.Handler, unsent bool) error {
	req.route = nil
	req.known.Session.Status = sessions.StatusInactive
	req.decision = edge.Decision{Action: edge.Unavailable, Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
	if req.traits.Kind == edge.Document || unsent && !req.lost {
		req.decision = edge.Decide(req.traits, req.target, req.known)
	}
	req.lost = true
	return h.answer(w, req, next)
}

// rememberSession sets the session's cookie where the browser does not have it yet.
func rememberSession(w http.ResponseWriter, r *http.Request, id string) {
	if have, ok := edge.SessionFromCookie(r); ok && have == id {
		return
	}
	http.SetCookie(w, edge.SessionCookie(id, r.TLS != nil))
}
