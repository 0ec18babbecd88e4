package containerboot

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/steps"
)

const (
	// bootDeadline is how long a boot may take, and a rebuild likewise, unless BOOT_TIMEOUT
	// says less: as long as the edge waits for one.
	bootDeadline = 10 * time.Minute
	// syncTimeout is how much of it may go to asking the remote for newer commits.
	syncTimeout = 2 * time.Minute
)

// limited is a context for a boot or a rebuild, whose deadline has a cause that says so.
func (x *session) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, x.timeout, &steps.TooLongError{Limit: x.timeout})
}

// run boots the session and rebuilds it when asked, until ctx ends.
func (x *session) run(ctx context.Context) {
	start := time.Now()
	if err := x.job.run(ctx, x.boot); err != nil {
		if ctx.Err() == nil {
			x.failed("boot failed", err)
			x.markBroken(true)
		}
		return
	}
	x.log.Info("session ready", zap.Duration("took", time.Since(start)),
		zap.Strings("reused", x.board.Status().Reused))

	x.keepTimes()
	x.again(ctx, x.afterBoot)
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.rebuilds:
			x.again(ctx, func(ctx context.Context) error { return x.rebuild(ctx, true) })
		}
	}
}

// again does a job after the boot. The old build serves on if it fails.
func (x *session) again(ctx context.Context, f func(context.Context) error) {
	err := x.job.run(ctx, f)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, errAsleep):
		x.board.Step("")
	default:
		x.failed("rebuild failed", err)
	}
}

// boot goes from a claim to a site that answers.
func (x *session) boot(ctx context.Context) error {
	x.job.busyWith("starting")
	ctx, cancel := x.limited(ctx)
	defer cancel()

	x.expect()
	x.board.Enter(bootapi.PhaseCloning, "")
	if err := x.builder.Supported(); err != nil {
		return err
	}
	if err := errors.Join(x.builder.ReturnOutput(), x.builder.ForgetServers()); err != nil {
		return err
	}
	prepared, err := x.tree.Prepare(ctx)
	if err != nil {
		return err
	}
	x.prepared.Store(true)
	x.board.Content(prepared.Commit, prepared.Branch)
	if !prepared.Cloned {
		x.board.Reuse("clone")
		if err := x.mend(ctx); err != nil {
			return err
		}
	}
	for _, warning := range prepared.Warnings {
		x.board.Log(bootapi.PhaseCloning, warning)
		x.log.Warn("repository is not whole here", zap.String("missing", warning))
	}
	x.missing.Store(&prepared.Warnings)
	if prepared.Restored != "" {
		x.log.Info("unpushed work restored", zap.String("commit", prepared.Restored))
	}
	if err := x.produce(ctx, firstBuild); err != nil {
		return err
	}
	if s := x.present(); s.server == nil {
		if err := x.probe(ctx, x.site, filesAnswer); err != nil {
			return err
		}
	}
	x.markBroken(false)
	x.account.Touch(activity.KindWake)
	x.board.Enter(bootapi.PhaseReady, "")
	return nil
}

// afterBoot does what the first visitor need not wait for: it fetches what others
// pushed, and keeps node_modules for the next session.
func (x *session) afterBoot(ctx context.Context) error {
	ctx, cancel := x.limited(ctx)
	defer cancel()
	if err := x.rebuild(ctx, false); err != nil {
		return err
	}
	return x.keepModules(ctx)
}

// rebuild fetches what others pushed and, if there was something or force is set,
// builds again and switches to the new build once it is whole.
func (x *session) rebuild(ctx context.Context, force bool) error {
	ctx, cancel := x.limited(ctx)
	defer cancel()
	if force {
		x.job.busyWith("building")
	}
	syncing, done := context.WithTimeout(ctx, syncTimeout)
	changed, err := x.tree.SyncRemote(syncing)
	done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		// What is here can be served and built all the same.
		x.log.Warn("fetching from the remote failed", zap.Error(err))
	}
	if !changed && !force {
		return nil
	}
	x.job.busyWith("building")
	if changed {
		if err := x.showContent(ctx); err != nil {
			return err
		}
	}
	how := rebuiltIfNew
	if force && !changed {
		how = rebuiltAnyway
	}
	if err := x.produce(ctx, how); err != nil {
		return err
	}
	x.board.Recovered()
	x.board.Step("")
	return nil
}

// showContent says what is checked out after the remote's newer commits were taken: a
// workspace that is whole is prepared by saying so.
func (x *session) showContent(ctx context.Context) error {
	prepared, err := x.tree.Prepare(ctx)
	if err == nil {
		x.missing.Store(&prepared.Warnings)
		x.board.Content(prepared.Commit, prepared.Branch)
	}
	return err
}
