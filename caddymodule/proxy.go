package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/webordinary/router/edge"
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
	if err == nil || req.r.Context().Err() != nil {
		return err
	}
	// reverse_proxy returns an error only where it has written nothing.
	w.Header().Del("Set-Cookie")
	req.live.service.Lost(req.route, err)
	return h.answerLost(w, req)
}

// rememberSession sets the session's cookie where the browser does not have it yet.
func rememberSession(w http.ResponseWriter, r *http.Request, id string) {
	if have, ok := edge.SessionFromCookie(r); ok && have == id {
		return
	}
	http.SetCookie(w, edge.SessionCookie(id, r.TLS != nil))
}
