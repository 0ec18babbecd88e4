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
	// quiesceFor is how long writes stay refused after a container agreed to its
	// stop. If it was not stopped by then the edge gave up; the stop saves once more,
	// so nothing written later is lost.
	quiesceFor = 2 * time.Minute
	// quiesceWrites is how long writes that are under way may take to end.
	quiesceWrites = 5 * time.Second
	// quiescePoll is how often they are looked at.
	quiescePoll = 20 * time.Millisecond
)

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
// built is interrupted. What nobody waits for, such as the fetch after a boot, always
// is. Writes are taken again when ctx, whoever asked, ends before it agreed.
func (x *session) quiesce(ctx context.Context, atLeast time.Duration) bootapi.QuiesceReply {
	reply, ok := x.mayQuiesce(atLeast)
	if !ok {
		return reply
	}
	until := x.holdWrites()
	leave := context.AfterFunc(ctx, func() { x.takeWrites(until) })
	reply, ok = x.settle(ctx, atLeast, reply)
	if !leave() && ok {
		reply.Agreed, reply.Reason, ok = false, "whoever asked is gone", false
	}
	if !ok {
		x.takeWrites(until)
	}
	return reply
}

// mayQuiesce says whether the session is as idle as asked, or why not.
func (x *session) mayQuiesce(atLeast time.Duration) (bootapi.QuiesceReply, bool) {
	idle, kind := x.account.Idle()
	reply := bootapi.QuiesceReply{IdleMillis: idle.Milliseconds()}
	what := x.job.busy()
	switch {
	case x.board.Phase() == bootapi.PhaseStopping:
		reply.Reason = "stopping already"
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
		reply.Reason = "save failed: " + causeOf(err)
		return reply, false
	}
	// Somebody may have come while the work was being saved.
	reply, ok := x.mayQuiesce(atLeast)
	if ok {
		reply.Agreed, reply.Save = true, &result
	}
	return reply, ok
}

// holdWrites refuses writes from now on, for a time, and returns its end for takeWrites.
func (x *session) holdWrites() int64 {
	until := int64(time.Since(x.born) + quiesceFor)
	x.quiesced.Store(until)
	return until
}

// takeWrites takes writes again, unless they were held once more since.
func (x *session) takeWrites(until int64) { x.quiesced.CompareAndSwap(until, 0) }

func (x *session) isQuiesced() bool { return int64(time.Since(x.born)) < x.quiesced.Load() }

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
