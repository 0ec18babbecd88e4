package containerboot

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// quiesceWrites is how long writes that are under way may take to end.
	quiesceWrites = 5 * time.Second
	// quiescePoll is how often they are looked at.
	quiescePoll = 20 * time.Millisecond
)

// calledOff is why a drain came to nothing.
const calledOff = "somebody came"

func (x *session) serveQuiesce(w http.ResponseWriter, r *http.Request) {
	var req bootapi.QuiesceRequest
	if !readPost(w, r, maxMessage, &req) {
		return
	}
	for field, n := range map[string]int64{
		"idleMillis": req.IdleMillis, "maxLifetimeMillis": req.MaxLifetimeMillis, "abandonAfterSeconds": req.AbandonAfterSeconds,
	} {
		if n < 0 {
			refuse(w, http.StatusBadRequest, field+": must not be negative")
			return
		}
	}
	if req.AbandonAfterSeconds > 0 {
		x.abandonAfter(time.Duration(req.AbandonAfterSeconds) * time.Second)
	}
	answer(w, http.StatusOK, x.quiesce(r.Context(), req))
}

// serveCommit ends the container, unless the drain that it agreed to was called off.
func (x *session) serveCommit(w http.ResponseWriter, r *http.Request) {
	var req bootapi.CommitRequest
	if !readPost(w, r, maxMessage, &req) {
		return
	}
	idle := func() time.Duration {
		d, _ := x.account.Idle()
		return d
	}
	if x.drain.commit(req.Drain, idle) {
		x.board.Enter(bootapi.PhaseStopping, "")
		defer x.end(errCommitted) // after the answer: what comes late is saved then
		answer(w, http.StatusOK, bootapi.CommitReply{Committed: true})
		return
	}
	since, kind := x.account.Idle()
	answer(w, http.StatusOK, bootapi.CommitReply{
		// The answer to an earlier one may have been lost, or it ends for another reason.
		Committed:  x.drain.committed() || x.board.Phase() == bootapi.PhaseStopping,
		IdleMillis: since.Milliseconds(), ActivityKind: kind, Reason: calledOff,
	})
}

// serveRecall calls a drain off for somebody who asks for the session at an edge which
// may not send requests to it yet.
func (x *session) serveRecall(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodPost) {
		return
	}
	serves := x.drain.admit(true, true, false) == drainServes && x.board.Phase() != bootapi.PhaseStopping
	if serves {
		x.account.Touch(activity.KindDocument)
	}
	answer(w, http.StatusOK, bootapi.RecallReply{Serves: serves})
}

// quiesce prepares for the stop, unless the session was in use within the time asked
// for, or is building. Zero asks for the stop whatever goes on, and so does the end of
// its lifetime: what is being built is interrupted. What nobody waits for, such as the
// fetch after a boot, always is. The drain is off when ctx, whoever asked, ends before
// the container agreed.
func (x *session) quiesce(ctx context.Context, req bootapi.QuiesceRequest) bootapi.QuiesceReply {
	atLeast := time.Duration(req.IdleMillis) * time.Millisecond
	lived := time.Since(x.born)
	expired := req.MaxLifetimeMillis > 0 && lived.Milliseconds() >= req.MaxLifetimeMillis
	if expired {
		atLeast = 0
	}
	reply, ok := x.mayQuiesce(atLeast)
	reply.LivedMillis, reply.Expired = lived.Milliseconds(), expired
	if !ok {
		return reply
	}
	name, ok := x.drain.begin(atLeast == 0)
	if !ok {
		reply.Ending, reply.Reason = x.drain.committed(), "being put to sleep already"
		return reply
	}
	leave := context.AfterFunc(ctx, func() { x.drain.cancel(name) })
	reply, ok = x.settle(ctx, atLeast, reply)
	if !leave() && ok {
		reply.Reason, ok = "whoever asked is gone", false
	}
	if ok && !x.drain.agree(name) {
		idle, kind := x.account.Idle()
		reply.IdleMillis, reply.ActivityKind = idle.Milliseconds(), kind
		reply.Reason, ok = calledOff, false
	}
	if !ok {
		x.drain.cancel(name)
		return reply
	}
	reply.Agreed, reply.Drain = true, name
	return reply
}

// mayQuiesce says whether the session is as idle as asked, or why not.
func (x *session) mayQuiesce(atLeast time.Duration) (bootapi.QuiesceReply, bool) {
	idle, kind := x.account.Idle()
	reply := bootapi.QuiesceReply{IdleMillis: idle.Milliseconds(), ActivityKind: kind}
	what := x.job.busy()
	switch {
	case x.board.Phase() == bootapi.PhaseStopping:
		reply.Ending, reply.Reason = true, "stopping already"
	case atLeast == 0:
		return reply, true
	case what != "":
		reply.Busy, reply.Reason = true, "busy: "+what
	case idle < atLeast:
		reply.Busy = idle == 0 && (kind == activity.KindTransfer || kind == activity.KindWrite)
		reply.Reason = fmt.Sprintf("active: %s %ds ago", kind, int(idle.Seconds()))
	default:
		return reply, true
	}
	return reply, false
}

// settle brings what goes on to its end, and saves.
func (x *session) settle(ctx context.Context, atLeast time.Duration, reply bootapi.QuiesceReply) (bootapi.QuiesceReply, bool) {
	stopping, cancel := context.WithTimeout(ctx, endGrace)
	busy, err := x.job.interrupt(stopping, errAsleep, atLeast == 0)
	cancel()
	switch {
	case err != nil:
		reply.Reason = err.Error()
		return reply, false
	case busy != "":
		reply.Busy, reply.Reason = true, "busy: "+busy
		return reply, false
	}
	x.waitForWrites(ctx)
	result, err := x.save(x.life, saveBySleep, saveGrace) //nolint:contextcheck // it does not end with who asked
	if err != nil {
		x.log.Error("saving before sleep failed", zap.Error(err))
		reply.SaveFailed, reply.Reason = true, "save failed: "+causeOf(err)
		return reply, false
	}
	// Somebody may have come while the work was being saved.
	now, ok := x.mayQuiesce(atLeast)
	now.LivedMillis, now.Expired, now.Save = reply.LivedMillis, reply.Expired, &result
	return now, ok
}

// waitForWrites lets writes that are under way end, so that they are saved too, and
// reports whether they did. No more must be taken by then.
func (x *session) waitForWrites(ctx context.Context) bool {
	deadline := time.NewTimer(quiesceWrites)
	defer deadline.Stop()
	tick := time.NewTicker(quiescePoll)
	defer tick.Stop()
	for x.writes.Load() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}
