package containerboot

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/site"
)

const (
	heartbeat   = 15 * time.Second
	streamWrite = 10 * time.Second // how long one write to an event stream may take
	apiFolder   = "/api/"
)

// ServeHTTP answers what comes for the session, below its prefix or without it.
func (x *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := site.TrimPrefix(r.URL.Path, x.prefix)
	switch path {
	case bootapi.PathHealth:
		x.serveHealth(w, r)
		return
	case bootapi.PathStatus:
		if allow(w, r, http.MethodGet, http.MethodHead) {
			status := x.board.Status()
			status.Busy = x.job.busy()
			answer(w, http.StatusOK, status)
		}
		return
	case bootapi.PathEvents:
		x.serveEvents(w, r)
		return
	}
	write := activity.IsWrite(r)
	if write {
		// Counted before the looks below: whoever holds writes looks the other way round.
		x.writes.Add(1)
		defer x.writes.Add(-1)
	}
	socket := activity.IsUpgrade(r)
	switch verdict := x.drain.admit(activity.Counts(r), write, socket); {
	case verdict == drainEnding, x.board.Phase() == bootapi.PhaseStopping:
		ending(w)
		return
	case verdict == drainHolds:
		unavailable(w, "the session is being put to sleep")
		return
	}
	if socket {
		// What comes by it after the last save would be lost.
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(x.life, cancel)() //nolint:contextcheck // the container's end is a socket's too
		r = r.WithContext(ctx)
	}
	switch path {
	case bootapi.PathSave:
		x.serveSave(w, r)
	case bootapi.PathRebuild:
		x.serveRebuild(w, r)
	default:
		x.pages.ServeHTTP(w, r)
	}
}

// servePages hands a request to the agent's API or to the site.
func (x *session) servePages(w http.ResponseWriter, r *http.Request) {
	if x.upstream != nil {
		if u, _ := site.TrimURL(r.URL, x.prefix); strings.HasPrefix(u.Path, apiFolder) {
			agent := new(http.Request)
			*agent = *r
			agent.URL = u
			x.upstream.ServeHTTP(w, agent)
			return
		}
	}
	x.site.ServeHTTP(w, r)
}

func (x *session) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	status, code := x.board.Status(), http.StatusServiceUnavailable
	if status.Phase == bootapi.PhaseReady && !x.isDown() {
		code = http.StatusOK
	}
	answer(w, code, status)
}

// serveEvents streams the status and its changes until the reader goes, falls
// behind, or the container ends.
func (x *session) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet) {
		return
	}
	sub, err := x.board.Subscribe()
	if err != nil {
		unavailable(w, err.Error())
		return
	}
	defer x.board.Unsubscribe(sub)

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	for {
		events, err := sub.Wait(r.Context(), heartbeat)
		if err != nil {
			return
		}
		if out.SetWriteDeadline(time.Now().Add(streamWrite)) != nil {
			return
		}
		if len(events) == 0 {
			if _, err := fmt.Fprint(w, ": heartbeat\n\n"); err != nil {
				return
			}
		}
		for _, e := range events {
			if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.Name, e.Data); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
	}
}

func (x *session) serveSave(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	x.account.Touch(activity.KindWrite)
	result, err := x.save(x.life, saveByDemand, demandGrace) //nolint:contextcheck // it does not end with who asked
	if err != nil {
		x.log.Error("saving on demand failed", zap.Error(err))
		refuse(w, http.StatusInternalServerError, causeOf(err))
		return
	}
	answer(w, http.StatusOK, result)
}

// serveRebuild asks for a rebuild. However many ask while one waits, one is done.
func (x *session) serveRebuild(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	if x.board.Phase() == bootapi.PhaseFailed {
		answer(w, http.StatusServiceUnavailable, x.board.Status())
		return
	}
	x.account.Touch(activity.KindWrite)
	select {
	case x.rebuilds <- struct{}{}:
	default:
	}
	answer(w, http.StatusAccepted, x.board.Status())
}
