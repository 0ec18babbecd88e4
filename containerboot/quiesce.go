package containerboot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/worktree"
)

const (
	// quiesceFor is how long writes stay refused after a container agreed to its
	// stop. If it was not stopped by then the edge gave up; the stop saves once more,
	// so nothing written later is lost.
	quiesceFor = 2 * time.Minute
	// quiesceWrites is how long writes that are under way may take to end.
	quiesceWrites = 5 * time.Second
	// quiescePoll is how often they are looked at.
	quiescePoll = 20 * time.Millisecond
)

const saveBySleep = "Save work before sleep"

func (x *session) serveQuiesce(w http.ResponseWriter, r *http.Request) {
	var req bootapi.QuiesceRequest
	if !readPost(w, r, maxMessage, &req) {
		return
	}
	if req.IdleMillis < 0 {
		refuse(w, http.StatusBadRequest, "idleMillis: must not be negative")
		return
	}
	answer(w, http.StatusOK, x.quiesce(r.Context(), time.Duration(req.IdleMillis)*time.Millisecond))
}

// quiesce prepares for the stop, unless the session was in use within the last
// `atLeast`, or is building. Zero asks for the stop whatever goes on: what is being
// built is interrupted.
func (x *session) quiesce(ctx context.Context, atLeast time.Duration) bootapi.QuiesceReply {
	idle, kind := x.account.Idle()
	reply := bootapi.QuiesceReply{IdleMillis: idle.Milliseconds()}
	if x.board.Phase() == bootapi.PhaseStopping {
		reply.Reason = "stopping already"
		return reply
	}
	if atLeast > 0 {
		if what := x.job.busy(); what != "" {
			reply.Busy, reply.Reason = true, "busy: "+what
			return reply
		}
		if idle < atLeast {
			reply.Busy = idle == 0 && (kind == activity.KindTransfer || kind == activity.KindWrite)
			reply.Reason = fmt.Sprintf("active: %s %ds ago", kind, int(idle.Seconds()))
			return reply
		}
	}

	x.setQuiesced(true)
	if atLeast == 0 {
		if err := x.job.interrupt(ctx, errAsleep); err != nil {
			return x.unquiesce(reply, err.Error())
		}
	}
	x.waitForWrites(ctx)
	result, err := x.save(ctx, saveBySleep)
	if err != nil {
		x.log.Error("saving before sleep failed", zap.Error(err))
		return x.unquiesce(reply, "save failed: "+causeOf(err))
	}
	// Somebody may have come while the work was being saved.
	idle, kind = x.account.Idle()
	reply.IdleMillis = idle.Milliseconds()
	if idle < atLeast {
		return x.unquiesce(reply, fmt.Sprintf("active: %s %ds ago", kind, int(idle.Seconds())))
	}
	reply.Agreed, reply.Save = true, &result
	return reply
}

func (x *session) unquiesce(reply bootapi.QuiesceReply, why string) bootapi.QuiesceReply {
	x.setQuiesced(false)
	reply.Reason = why
	return reply
}

func (x *session) setQuiesced(on bool) {
	x.quiescedUntil.Store(time.Now().Add(quiesceFor).UnixNano())
	x.quiesced.Store(on)
}

func (x *session) isQuiesced() bool {
	return x.quiesced.Load() && time.Now().UnixNano() < x.quiescedUntil.Load()
}

// waitForWrites lets writes that are under way end, so that they are saved too.
func (x *session) waitForWrites(ctx context.Context) {
	deadline := time.NewTimer(quiesceWrites)
	defer deadline.Stop()
	tick := time.NewTicker(quiescePoll)
	defer tick.Stop()
	for x.account.Writes() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// causeOf is the sentence of an error that is meant for an editor, or all of it.
func causeOf(err error) string {
	if e := (*worktree.Error)(nil); errors.As(err, &e) {
		return e.Cause
	}
	return err.Error()
}
