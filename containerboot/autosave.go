package containerboot

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/worktree"
)

const (
	// defaultQuiet is for how long nothing must have changed before the work is saved by
	// itself; the others bound what the environment may say.
	defaultQuiet       = time.Minute
	minQuiet, maxQuiet = time.Second, time.Hour
	// atTheLatest is after how many times that it is saved while changes never stop.
	atTheLatest = 3
	// autoSaveGrace bounds the part of it that keeps a build or a save waiting.
	autoSaveGrace = 30 * time.Second
	// pushGrace bounds the rest, which keeps nobody waiting.
	pushGrace = 5 * time.Minute
	// autoSaveShare is how many times as long as it took it is not done again: where it
	// costs much, it is done seldom.
	autoSaveShare = 20
	// lookMost and lookLeast are how often the workspace is looked at for changes, as parts
	// of the quiet time: the more a look costs, the seldomer, so that it takes about one
	// lookShare of a processor.
	lookMost, lookLeast = 4, 1
	lookShare           = 500
)

// nothingSaved is bootapi.SaveResult.Where of a draft whose push something interrupted.
const nothingSaved = "nothing"

// autoSave saves the work by itself, so that a crash loses no more than what was done
// last. It is not activity, and keeps no session awake.
type autoSave struct {
	session *session
	quiet   time.Duration

	saved   worktree.Glance // what was looked at before the last auto-save
	seen    worktree.Glance // by the last look
	looked  time.Time       // when that was
	changed time.Time       // when the workspace changed last
	since   time.Time       // when the first change came that was not saved; zero without
	pause   time.Time       // not before
	again   bool            // the last one did not reach the remote
	said    string          // why it did not, to say so once
}

// keepSaving looks for changes and saves them, until ctx ends. It takes a file system walk
// now and then, and git only where something has changed.
func (x *session) keepSaving(ctx context.Context, quiet time.Duration) {
	a := &autoSave{session: x, quiet: quiet, looked: time.Now()}
	timer := time.NewTimer(quiet / lookMost)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(max(a.turn(ctx), time.Millisecond))
		}
	}
}

// turn does what is due and returns when to come again.
func (a *autoSave) turn(ctx context.Context) time.Duration {
	x := a.session
	if !x.prepared.Load() || x.drain.on.Load() || x.board.Phase() == bootapi.PhaseStopping {
		return a.quiet / lookMost
	}
	began := time.Now()
	idle := a.look(began)
	idle = max(idle, lookShare*time.Since(began))
	idle = min(max(idle, a.quiet/lookMost), a.quiet/lookLeast)
	if a.since.IsZero() {
		return idle
	}
	now := time.Now()
	due := a.changed.Add(a.quiet)
	if last := a.since.Add(atTheLatest * a.quiet); last.Before(due) {
		due = last
	}
	if a.pause.After(due) {
		due = a.pause
	}
	if wait := due.Sub(now); wait > 0 {
		return wait
	}
	if !a.save(ctx) {
		return a.quiet / lookMost // a build or a save goes on
	}
	return idle
}

// look notes whether the workspace has changed, and when.
func (a *autoSave) look(now time.Time) time.Duration {
	x := a.session
	glance, newest, err := x.tree.Glance()
	if err != nil {
		a.say("looking for changes failed", err.Error())
		return a.quiet
	}
	defer func() { a.looked = now }()
	switch {
	case glance != a.seen:
		// Between the last look and this one; clocks that are set do not matter.
		a.changed = newest
		if a.changed.After(now) || a.changed.Before(a.looked) {
			a.changed = now
		}
		a.seen = glance
	case x.writes.Load() > 0:
		a.changed = now
	}
	switch {
	case glance == a.saved && !a.again:
		a.since = time.Time{}
	case a.since.IsZero():
		a.since = a.changed
	}
	return a.quiet / lookMost
}

// save saves what was seen last, unless something works in the workspace: then it reports
// false. The output of a build that is moved at this moment would look deleted.
func (a *autoSave) save(ctx context.Context) bool {
	x := a.session
	select {
	case x.turn <- struct{}{}:
	default:
		return false
	}
	began := time.Now()
	keeping, cancel := context.WithTimeout(ctx, autoSaveGrace)
	draft, err := x.tree.KeepDraft(keeping)
	cancel()
	x.endTurn()
	result := bootapi.SaveResult{}
	if err == nil && draft != "" {
		pushing, cancel := context.WithTimeout(ctx, pushGrace)
		result, err = x.tree.PushDraft(pushing, draft)
		cancel()
	}
	took := time.Since(began)
	a.pause = time.Now().Add(autoSaveShare * took)
	if ctx.Err() != nil {
		return true
	}
	a.saved, a.since = a.seen, time.Time{}
	interrupted := draft != "" && result.Where == nothingSaved
	a.again = err != nil || interrupted || result.Where == bootapi.SavedInBundle
	if a.again {
		a.pause = time.Now().Add(max(autoSaveShare*took, atTheLatest*a.quiet))
	}
	switch {
	case err != nil:
		a.say("auto-save failed", err.Error())
	case interrupted:
	case a.again:
		a.say("work in progress is kept in the cache only", result.Error)
	case draft != "":
		a.said = ""
		x.log.Info("work in progress saved", zap.String("where", result.Where), zap.String("commit", draft), zap.Duration("took", took))
	}
	return true
}

// say logs why something failed, once.
func (a *autoSave) say(message, why string) {
	if a.said != message+why {
		a.said = message + why
		a.session.log.Warn(message, zap.String("reason", why))
	}
}
