package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/pages"
	"github.com/webordinary/router/sessions"
)

// logRefusal tells the operator which request a visitor's page speaks of. What strangers
// can ask for at will is told at the debug level only.
func (h *Router) logRefusal(req *request, id string) {
	level := zap.DebugLevel
	switch req.decision.Action {
	case edge.WaitingPage, edge.NewPage:
		return // no refusal
	case edge.Failed, edge.Limit:
		level = zap.InfoLevel
	}
	if c := h.logger.Check(level, "request refused"); c != nil {
		c.Write(
			zap.Stringer("action", req.decision.Action),
			zap.Int("status", req.decision.Status),
			zap.String("client", req.client.ClientID),
			zap.String("session", req.known.Session.ID),
			zap.Int64("epoch", req.view.Record.Epoch),
			zap.String("request_id", id))
	}
}

// writePage answers with the decision's page, or, where a person does not look at it,
// with a few words of JSON.
func (h *Router) writePage(w http.ResponseWriter, req *request, id string) error {
	page := h.page(req, id)
	if !req.traits.Navigate {
		page = page.Machine()
	}
	return page.Write(w, req.r)
}

// page is the decision's page.
func (h *Router) page(req *request, id string) pages.Page {
	d := req.decision
	client, session := req.client.ClientID, req.known.Session.ID
	switch d.Action {
	case edge.WaitingPage:
		return pages.Waiting(pages.WaitingData{
			Client: client, EventsURL: edge.EventsPath(session), Status: progressOf(req.view), RequestID: id,
		})
	case edge.Failed:
		return pages.Failed(pages.FailedData{
			Client: client, Failure: failureOf(req.view), Log: req.view.Progress.Log,
			RetryAfter: d.RetryAfter, WakeURL: edge.WakePath(session), RequestID: id,
		})
	case edge.Limit:
		return pages.Limit(pages.LimitData{
			Client: client, Max: req.client.Settings.MaxConcurrentSessions,
			Running: h.runningSessions(req), RetryAfter: d.RetryAfter, RequestID: id,
		})
	case edge.NewPage:
		return pages.New(pages.NewData{Client: client, RequestID: id})
	case edge.Disabled:
		return pages.Disabled(id)
	case edge.Unavailable:
		if req.known.Host == edge.HostNoTable {
			failing := req.live != nil && req.live.table.Info().Failing()
			return pages.NoTable(id, d.RetryAfter, failing)
		}
		return pages.Unavailable(id, d.RetryAfter)
	case edge.MethodNotAllowed:
		return pages.MethodNotAllowed(id)
	case edge.CrossSite:
		return pages.CrossSite(id)
	case edge.Ambiguous:
		return pages.Ambiguous(id)
	default:
		return pages.NotFound(id)
	}
}

// failureOf is why a session failed.
func failureOf(v sessions.View) bootapi.Failure {
	if v.Record.Failure == nil {
		return bootapi.Failure{}
	}
	return v.Record.Failure.Failure
}

// runningSessions lists the client's running sessions for whoever may manage them.
func (h *Router) runningSessions(req *request) []pages.RunningSession {
	if !req.known.Manage {
		return nil
	}
	records, err := req.live.service.Running(req.r.Context(), req.client.ClientID)
	if err != nil {
		h.logger.Error("listing running sessions failed", zap.String("client", req.client.ClientID), zap.Error(err))
		return nil
	}
	running := make([]pages.RunningSession, 0, len(records))
	for _, rec := range records {
		r := pages.RunningSession{
			URL: edge.SessionPath(rec.SessionID) + "/", User: rec.UserID, SleepURL: edge.SleepPath(rec.SessionID),
		}
		if rec.Start != nil {
			r.Awake = time.Since(rec.Start.At)
		}
		running = append(running, r)
	}
	return running
}

// requestIDPlaceholder has the id on a request's page, for access logs:
// `log_append request_id {http.webordinary_router.request_id}`.
const requestIDPlaceholder = "http.webordinary_router.request_id"

// newRequestID makes the id that a page and the log share. It is not Caddy's
// {http.request.uuid}, which is kept among the request's variables: after a request was
// proxied in vain, a dial that goes on in the background may still read those.
func newRequestID(r *http.Request) string {
	id := uuid.NewString()
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Set(requestIDPlaceholder, id)
	}
	return id
}
