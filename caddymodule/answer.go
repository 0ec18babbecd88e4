package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
)

// answer carries out every decision but that of proxying at once.
func (h *Router) answer(w http.ResponseWriter, req *request, next caddyhttp.Handler) error {
	if err := h.act(req); err != nil {
		return h.answerError(w, req, err)
	}
	d := req.decision
	w.Header().Set("Cache-Control", "no-store")
	if d.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((d.RetryAfter+time.Second-1)/time.Second)))
	}
	if d.Allow != "" {
		w.Header().Set("Allow", d.Allow)
	}
	if d.Location != "" {
		w.Header().Set("Location", d.Location)
	}
	switch d.Action {
	case edge.Redirect, edge.CreateSession, edge.WakeNow, edge.SleepNow:
		w.WriteHeader(d.Status)
		return nil
	case edge.Hold:
		return h.hold(w, req, next)
	case edge.Events:
		return h.serveEvents(w, req)
	case edge.OwnStatus:
		return writeStatus(w, req)
	default:
		id := newRequestID(req.r)
		h.logRefusal(req, id)
		return h.writePage(w, req, id)
	}
}

// act does what the decision asks for before it is answered. A client found at its
// limit, or a session gone meanwhile, changes the decision.
func (h *Router) act(req *request) error {
	if req.live == nil {
		return nil // before the app has started everything is unavailable
	}
	d, service, ctx := &req.decision, req.live.service, req.r.Context()
	var err error
	switch {
	case d.Action == edge.CreateSession:
		var rec sessions.Record
		rec, _, err = service.Create(ctx, sessions.CreateRequest{ClientID: req.client.ClientID, Wake: true})
		if err == nil {
			d.Location = edge.SessionPath(rec.SessionID) + "/"
		}
	case d.Action == edge.SleepNow:
		// Carried through, whether the visitor waits or not.
		err = service.Sleep(context.WithoutCancel(ctx), req.known.Session.ID, "asked for by a visitor")
	case d.Action == edge.WakeNow && d.Wake:
		_, err = service.WakeNow(ctx, req.known.Session.ID)
	case d.Wake:
		var view sessions.View
		if view, err = service.Wake(ctx, req.known.Session.ID); err == nil {
			req.view = view
		}
	}
	switch {
	case errors.Is(err, sessions.ErrLimit):
		req.known.AtLimit = true
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, configstore.ErrNotFound):
		req.known.Session = edge.Session{}
	case errors.Is(err, sessions.ErrDisabled):
		req.known.Host = edge.HostDisabled
	default:
		return err
	}
	*d = edge.Decide(req.traits, req.target, req.known)
	return nil
}

// answerError answers where a store or the runner failed us.
func (h *Router) answerError(w http.ResponseWriter, req *request, err error) error {
	id := newRequestID(req.r)
	if req.r.Context().Err() == nil { // else the visitor left, and there is nothing to look into
		h.logger.Error("answering failed",
			zap.Stringer("action", req.decision.Action),
			zap.String("client", req.client.ClientID),
			zap.String("session", req.known.Session.ID),
			zap.String("request_id", id),
			zap.Error(err))
	}
	req.decision = edge.Decision{Action: edge.Unavailable, Status: http.StatusServiceUnavailable, RetryAfter: retryAfterFault}
	w.Header().Set("Retry-After", strconv.Itoa(int(retryAfterFault/time.Second)))
	w.Header().Set("Cache-Control", "no-store")
	return h.writePage(w, req, id)
}

// retryAfterFault is how long visitors are told to stay away after a fault of ours.
const retryAfterFault = 5 * time.Second

// progress is a container's status among the fields of a session's.
type progress = bootapi.Status

// writeStatus tells programs how far a session is that cannot answer for itself.
func writeStatus(w http.ResponseWriter, req *request) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(req.decision.Status)
	if req.r.Method == http.MethodHead {
		return nil
	}
	return json.NewEncoder(w).Encode(struct {
		Status sessions.Status `json:"status"`
		progress
	}{req.view.Record.Status, progressOf(req.view)})
}
