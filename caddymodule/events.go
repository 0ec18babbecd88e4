package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
)

const (
	// eventsHeartbeat keeps connections that say nothing from being closed on the way.
	eventsHeartbeat = 15 * time.Second
	// eventsRetry is after how many milliseconds a browser asks again for a stream that ended.
	eventsRetry = 500
	// maxStreamsPerSession and maxStreams bound the open event streams.
	maxStreamsPerSession = 500
	maxStreams           = 10_000
)

// serveEvents is the event stream of a waiting page: the progress of a session's wake.
func (h *Router) serveEvents(w http.ResponseWriter, req *request) error {
	id := req.known.Session.ID
	if !h.app.state.streams.take(id, maxStreamsPerSession, maxStreams) {
		req.decision = edge.Decision{Action: edge.Unavailable, Status: http.StatusServiceUnavailable, RetryAfter: retryAfterFault}
		return h.answer(w, req, nil)
	}
	defer h.app.state.streams.give(id)
	watch := req.live.service.Watch(id)
	defer watch.Close()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy in front of this one
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	heartbeat := time.NewTicker(eventsHeartbeat)
	defer heartbeat.Stop()

	var buf bytes.Buffer
	fmt.Fprintf(&buf, "retry: %d\n\n", eventsRetry)
	var last []byte
	for {
		view := watch.View()
		if view.Record.SessionID == "" { // nothing has happened since it was looked up
			view = req.view
		}
		data, err := json.Marshal(progressOf(view))
		if err != nil {
			return fmt.Errorf("encoding progress: %w", err)
		}
		if !bytes.Equal(data, last) {
			fmt.Fprintf(&buf, "event: %s\ndata: %s\n\n", bootapi.EventStatus, data)
			last = data
		}
		if buf.Len() > 0 {
			if _, err := w.Write(buf.Bytes()); err != nil {
				return nil // the visitor is gone
			}
			if err := control.Flush(); err != nil {
				return nil
			}
			buf.Reset()
		}
		select {
		case <-watch.C():
		case <-heartbeat.C:
			buf.WriteString(": \n\n")
		case <-req.r.Context().Done():
			return nil
		case <-h.stopping:
			return nil
		}
	}
}

// progressOf is what a waiting page is told of a session.
func progressOf(v sessions.View) bootapi.Status {
	p := v.Progress
	switch v.Record.Status {
	case sessions.StatusActive:
		p.Phase = bootapi.PhaseReady
	case sessions.StatusFailed:
		p.Phase = bootapi.PhaseFailed
		if v.Record.Failure != nil {
			f := v.Record.Failure.Failure
			p.Failure = &f
		}
	default: // the progress says it
	}
	if p.Failure != nil {
		f := *p.Failure
		f.Detail = "" // for the operator only
		p.Failure = &f
	}
	return p
}
