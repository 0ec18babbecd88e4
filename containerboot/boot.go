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
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/steps"
	"github.com/webordinary/router/containerboot/worktree"
)

const (
	// bootDeadline is how long a boot may take, and a rebuild likewise: as long as
	// the edge waits for one.
	bootDeadline = 10 * time.Minute
	// probeTimeout is how long the site may take to answer the probe.
	probeTimeout = 30 * time.Second
	// tidyTimeout bounds what must be done after a build even when it was interrupted.
	tidyTimeout = 5 * time.Second
)

// errTooLong is the cause of a boot that ran into its deadline.
var errTooLong = fmt.Errorf("took longer than %v: %w", bootDeadline, context.DeadlineExceeded)

// run boots the session and rebuilds it when asked, until ctx ends.
func (x *session) run(ctx context.Context) {
	start := time.Now()
	if err := x.job.run(ctx, x.boot); err != nil {
		if ctx.Err() == nil {
			x.failed("boot failed", err)
		}
		return
	}
	x.log.Info("session ready", zap.Duration("took", time.Since(start)),
		zap.Strings("reused", x.board.Status().Reused))

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
	ctx, cancel := context.WithTimeoutCause(ctx, bootDeadline, errTooLong)
	defer cancel()

	x.board.Enter(bootapi.PhaseCloning, "")
	if err := x.builder.Supported(); err != nil {
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
	}
	if prepared.Restored != "" {
		x.log.Info("unpushed work restored", zap.String("commit", prepared.Restored))
	}
	if err := x.produce(ctx, firstBuild); err != nil {
		return err
	}
	if err := x.probe(ctx); err != nil {
		return err
	}
	x.account.Touch(activity.KindWake)
	x.board.Enter(bootapi.PhaseReady, "")
	return nil
}

// afterBoot does what the first visitor need not wait for: it fetches what others
// pushed, and keeps node_modules for the next session.
func (x *session) afterBoot(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootDeadline, errTooLong)
	defer cancel()
	err := x.rebuild(ctx, false)
	x.keepModules(ctx)
	return err
}

// rebuild fetches what others pushed and, if there was something or force is set,
// builds again and switches to the new build once it is whole.
func (x *session) rebuild(ctx context.Context, force bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, bootDeadline, errTooLong)
	defer cancel()
	if force {
		x.job.busyWith("building")
	}
	changed, err := x.tree.SyncRemote(ctx)
	if err != nil {
		// What is here can be served and built all the same.
		x.log.Warn("fetching from the remote failed", zap.Error(err))
	}
	if !changed && !force {
		return nil
	}
	x.job.busyWith("building")
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

// buildKind says what a build is for.
type buildKind int

const (
	firstBuild    buildKind = iota // nobody edits yet
	rebuiltIfNew                   // the content changed
	rebuiltAnyway                  // somebody asked, though the content is the same
)

// produce gets a build of what is checked out, from the cache or by building, and
// serves it.
func (x *session) produce(ctx context.Context, kind buildKind) error {
	content, err := x.tree.ContentKey(ctx)
	if err != nil {
		return err
	}
	if kind != rebuiltAnyway {
		entry, err := x.builder.Cached(ctx, content)
		if err == nil {
			x.board.Reuse("install", "build")
			return x.serve(entry)
		}
		if !errors.Is(err, buildcache.ErrMiss) {
			x.log.Warn("looking into the cache failed", zap.Error(err))
		}
	}
	if err := x.make(ctx, content, kind); err != nil {
		return err
	}
	after, err := x.tree.ContentKey(ctx)
	if err != nil {
		return err
	}
	if after != content {
		content = "" // somebody edited while it was built
	}
	entry, err := x.builder.Keep(ctx, content, kind == rebuiltAnyway)
	if err != nil {
		return err
	}
	return x.serve(entry)
}

// make installs and builds.
func (x *session) make(ctx context.Context, content string, kind buildKind) error {
	if err := x.takeTurn(ctx); err != nil {
		return err
	}
	defer x.endTurn()
	err := x.builder.Install(ctx, content)
	if err == nil {
		err = x.builder.Build(ctx)
	}
	// What changed in the working tree during the first build is the build's doing, and
	// not to be saved as the editor's, also when it failed. Later on an editor or an
	// agent may have written at the same time: rather save too much than lose that.
	if kind == firstBuild {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		if dirt := x.tree.IgnoreBuildDirt(tidy); dirt != nil {
			x.log.Warn("overlooking what the build changed failed", zap.Error(dirt))
		}
	}
	return err
}

// serve switches the site to a build and lets the one before go.
func (x *session) serve(entry *buildcache.Entry) error {
	if err := x.site.Switch(entry.Dir()); err != nil {
		entry.Release()
		return fmt.Errorf("serving the build: %w", err)
	}
	x.servingMu.Lock()
	old := x.serving
	x.serving = entry
	x.servingMu.Unlock()
	if old != nil {
		old.Release()
	}
	return nil
}

// keepModules puts node_modules into the cache for the next session. Nobody waits
// for it, and without it the next session installs.
func (x *session) keepModules(ctx context.Context) {
	if err := x.takeTurn(ctx); err != nil {
		return
	}
	defer x.endTurn()
	content, err := x.tree.ContentKey(ctx)
	if err == nil {
		err = x.builder.KeepModules(ctx, content)
	}
	if err != nil && ctx.Err() == nil {
		x.log.Warn("keeping node_modules failed", zap.Error(err))
	}
}

// probe asks the site for a page, the way that visitors do.
func (x *session) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	path, ok := x.claim.Site.HealthPath, func(code int) bool { return code >= 200 && code < 300 }
	if path == "" {
		path, ok = "/", func(code int) bool { return code < 500 }
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return fmt.Errorf("probing the site: %w", err)
	}
	r.URL.Path = x.prefix + r.URL.Path
	if x.claim.Site.HealthPath == "" {
		r.Header.Set("Accept", "text/html") // as for a page; a health check asks for no page
	}
	r.Header.Set(bootapi.HeaderActivity, bootapi.ActivityNone)
	answer := &probeAnswer{header: http.Header{}}
	x.pages.ServeHTTP(answer, r)
	if !ok(answer.code) {
		return &unready{path: path, code: answer.code}
	}
	return nil
}

// unready is a site that was built but does not answer as it should.
type unready struct {
	path string
	code int
}

func (e *unready) Error() string {
	return fmt.Sprintf("The site was built but answers %d for %s.", e.code, e.path)
}

// probeAnswer keeps the status of an answer and nothing else.
type probeAnswer struct {
	header http.Header
	code   int
}

func (a *probeAnswer) Header() http.Header { return a.header }

func (a *probeAnswer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *probeAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(p), nil
}

// failed publishes why a boot or a rebuild failed, with the details in the log.
func (x *session) failed(message string, err error) {
	f := failureOf(err, x.board.Phase())
	x.log.Error(message, zap.String("phase", string(f.Phase)), zap.String("cause", f.Cause),
		zap.String("detail", f.Detail), zap.Bool("retryable", f.Retryable))
	x.board.Fail(f)
}

// failureOf says an error in words for an editor and an operator.
func failureOf(err error, phase bootapi.Phase) bootapi.Failure {
	if e := (*steps.Error)(nil); errors.As(err, &e) {
		return e.Failure
	}
	f := bootapi.Failure{Phase: phase, Cause: "Starting the session failed.", Detail: err.Error()}
	if e := (*worktree.Error)(nil); errors.As(err, &e) {
		f.Cause, f.Detail, f.Retryable = e.Cause, e.Detail, e.Retryable
		return f
	}
	if e := (*unready)(nil); errors.As(err, &e) {
		f.Phase, f.Cause = bootapi.PhaseReady, e.Error()
	}
	if errors.Is(err, errAsleep) {
		f.Cause, f.Retryable = "The session was put to sleep while it was starting.", true
	}
	return f
}
