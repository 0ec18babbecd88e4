package sessions_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// save saves the work, and reports whether it could. b.mu is held.
func (b *simBox) save() (bootapi.SaveResult, bool) {
	if len(b.unsaved) == 0 {
		return bootapi.SaveResult{Where: "nothing"}, true
	}
	if b.failSave {
		return bootapi.SaveResult{}, false
	}
	where := "remote"
	if b.failPush {
		where = bootapi.SavedInBundle
	}
	b.w.cluster.saved(b.req.SessionID, where, b.unsaved)
	b.unsaved = nil
	return bootapi.SaveResult{Where: where}, true
}

// quiesce saves and agrees to the stop, as containerboot does.
func (b *simBox) quiesce(r *http.Request, req bootapi.QuiesceRequest) bootapi.QuiesceReply {
	may := func() (bootapi.QuiesceReply, bool) {
		idle := time.Since(b.used)
		reply := bootapi.QuiesceReply{IdleMillis: idle.Milliseconds()}
		switch {
		case b.stopping:
			reply.Ending, reply.Reason = true, "stopping already"
		case idle.Milliseconds() < req.IdleMillis:
			reply.Reason = "active"
		default:
			return reply, true
		}
		return reply, false
	}
	b.mu.Lock()
	b.asked++
	reply, ok := may()
	b.expire()
	forced := req.IdleMillis == 0
	if ok && b.drain != "" && b.forced && !forced {
		ok, reply.Reason = false, "being put to sleep already"
	}
	if !ok {
		b.mu.Unlock()
		return reply
	}
	b.drains++
	name := fmt.Sprint("drain-", b.drains)
	b.drain, b.agreed, b.forced = name, time.Time{}, forced
	b.mu.Unlock()

	saving := time.NewTimer(b.w.between("quiesce", 10*time.Millisecond, 5*time.Second))
	defer saving.Stop()
	gone := false
	select {
	case <-saving.C:
	case <-r.Context().Done():
		gone = true
	case <-b.ended:
		gone = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	reply, ok = may()
	switch {
	case gone:
		ok, reply.Reason = false, "whoever asked is gone"
	case b.hung || b.dead:
		ok, reply.Reason = false, "hangs"
	case ok && b.drain != name:
		ok, reply.Reason = false, "somebody came"
	case ok:
		result, saved := b.save()
		if !saved {
			ok, reply.SaveFailed, reply.Reason = false, true, "save failed"
		}
		reply.Save = &result
	}
	if !ok {
		if b.drain == name {
			b.drain = ""
		}
		return reply
	}
	reply.Agreed, reply.Drain, b.agreed = true, name, time.Now()
	b.w.note("%s agrees to its stop", b)
	go b.w.onAgree(b)
	return reply
}

// expire ends a drain whose commit did not come. b.mu is held.
func (b *simBox) expire() {
	if b.drain != "" && !b.agreed.IsZero() && time.Since(b.agreed) >= simDrainFor {
		b.drain = ""
	}
}

// takes reports whether a visitor is served, who calls a drain off where that can be.
// b.mu is held.
func (b *simBox) takes(write bool) bool {
	b.expire()
	if b.drain == "" || !b.forced {
		b.drain = ""
		return true
	}
	return !write
}

// commit ends the container, unless the drain was called off.
func (b *simBox) commit(name string) bootapi.CommitReply {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopping || b.dead {
		return bootapi.CommitReply{Committed: true}
	}
	if b.hung || b.drain == "" || b.drain != name || b.agreed.IsZero() || time.Since(b.agreed) >= simDrainFor {
		return bootapi.CommitReply{IdleMillis: time.Since(b.used).Milliseconds(), Reason: "somebody came"}
	}
	b.w.note("%s ends, as it agreed to", b)
	b.stopping = true
	b.set(bootapi.PhaseStopping, nil)
	time.AfterFunc(0, b.endSaved)
	return bootapi.CommitReply{Committed: true}
}

// recall is somebody's visit at an edge that has no way to the container.
func (b *simBox) recall() bootapi.RecallReply {
	b.mu.Lock()
	defer b.mu.Unlock()
	serves := !b.stopping && !b.dead && b.takes(true)
	if serves {
		b.used = time.Now()
	}
	return bootapi.RecallReply{Serves: serves}
}

// end ends the container as SIGTERM does, and returns when it has ended: after a save,
// or, if it hangs, when its grace is over.
func (b *simBox) end() {
	b.mu.Lock()
	first := !b.stopping && !b.dead
	if first {
		b.stopping = true
		if !b.hung {
			b.set(bootapi.PhaseStopping, nil)
		}
	}
	b.mu.Unlock()
	if !first {
		<-b.ended
		return
	}
	b.endSaved()
}

// endSaved ends a container that is stopping.
func (b *simBox) endSaved() {
	grace := time.NewTimer(bootapi.StopGrace)
	defer grace.Stop()
	saving := time.NewTimer(b.w.between("stop", 10*time.Millisecond, 4*time.Second))
	defer saving.Stop()
	select {
	case <-saving.C:
	case <-b.ended:
	}
	b.mu.Lock()
	hung := b.hung
	if !hung && !b.dead {
		if _, ok := b.save(); !ok {
			b.w.note("%s ends with unsaved work", b)
		}
	}
	b.mu.Unlock()
	if hung {
		select {
		case <-grace.C:
		case <-b.ended:
		}
	}
	b.kill(hung)
}

// kill ends the container at once. The work that it has not saved is gone, which is
// nobody's fault if it crashed: it had a minute to save it.
func (b *simBox) kill(crash bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return
	}
	b.dead, b.died = true, time.Now()
	if crash {
		b.w.cluster.saved(b.req.SessionID, "crash", b.unsaved)
		b.unsaved = nil
	}
	for _, t := range []*time.Timer{b.autosave, b.abandons} {
		if t != nil {
			t.Stop()
		}
	}
	close(b.ended)
	if b.server != nil {
		_ = b.server.Close()
	}
	b.w.cluster.gone(b)
	b.w.note("%s has ended", b)
}

// hang makes it answer nothing any more.
func (b *simBox) hang() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dead {
		b.hung, b.wasHung = true, true
	}
}

func (b *simBox) isDead() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dead
}

func (b *simBox) isHung() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hung
}

// inUse reports whether somebody uses the container, as far as its edges can know it:
// it has not agreed to its stop, and answers.
func (b *simBox) inUse() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.visited && b.status.Phase == bootapi.PhaseReady && !b.dead && !b.wasHung && !b.stopping &&
		(b.drain == "" || !b.forced) && time.Since(b.used) < simIdle
}
