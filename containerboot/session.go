package containerboot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/progress"
	"github.com/webordinary/router/containerboot/site"
	"github.com/webordinary/router/containerboot/steps"
	"github.com/webordinary/router/containerboot/worktree"
)

// session is what a claim makes of the container.
type session struct {
	claim    bootapi.Claim
	prefix   string // decoded
	board    *progress.Board
	account  *activity.Account
	log      *zap.Logger
	tree     *worktree.Worktree
	builder  *steps.Builder
	site     *site.Site
	pages    http.Handler // what visitors get: the site and the agent's API
	upstream http.Handler // may be nil

	job      job
	rebuilds chan struct{} // capacity 1: requests for a rebuild are one

	prepared      atomic.Bool  // there is a working tree to save
	quiesced      atomic.Bool  // no writes are taken
	quiescedUntil atomic.Int64 // Unix nanoseconds
	// turn holds one token: whoever has it may change the workspace, or save it. A
	// save never sees a half-done installation.
	turn chan struct{}

	servingMu sync.Mutex
	serving   *buildcache.Entry // what site serves; held so that no eviction takes it
}

// newSession prepares a session; nothing runs yet.
func newSession(s *settings, claim bootapi.Claim, board *progress.Board, account *activity.Account, log *zap.Logger) (*session, error) {
	prefix, err := url.PathUnescape(claim.Prefix)
	if err != nil {
		return nil, fmt.Errorf("decoding prefix: %w", err)
	}
	x := &session{
		claim:    claim,
		prefix:   prefix,
		board:    board,
		account:  account,
		log:      log,
		site:     site.New(site.Config{Prefix: claim.Prefix}),
		upstream: s.upstream,
		rebuilds: make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
	}
	x.pages = account.Handler(http.HandlerFunc(x.servePages))
	x.builder = steps.New(steps.Config{
		ClientID:  claim.ClientID,
		Workspace: s.workspace,
		Private:   s.private(),
		CacheDir:  s.cache,
		Site:      claim.Site,
		Environ:   s.environ,
		Secrets:   []string{claim.Token, claim.Site.DeployKey},
		Board:     board,
		Log:       log,
	})
	x.tree, err = worktree.New(worktree.Config{
		SessionID:  claim.SessionID,
		ClientID:   claim.ClientID,
		Dir:        s.workspace,
		GitDir:     s.private() + "/git",
		CacheDir:   s.cache,
		URL:        claim.Site.RepositoryURL,
		Branch:     claim.Site.Branch,
		EditBranch: claim.EditBranch,
		DeployKey:  claim.Site.DeployKey,
		AllowFile:  claim.Site.AllowFile,
		Exclude:    x.builder.Exclude(),
		Log:        func(line string) { board.Log(bootapi.PhaseCloning, line) },
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// job is the one thing that works on the tree and the build at a time.
type job struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil when nothing runs
	done   chan struct{}
	what   string // why the container is busy with it; "" if nobody need wait for it
}

// run does something that can be interrupted. If it was, the error is the interrupt's
// cause, whatever it made of it.
func (j *job) run(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j.mu.Lock()
	j.cancel, j.done = cancel, make(chan struct{})
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		close(j.done)
		j.cancel, j.done, j.what = nil, nil, ""
		j.mu.Unlock()
	}()
	err := f(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// busy says with what, from now on.
func (j *job) busyWith(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.what = what
}

// busy returns what the container is busy with, or "".
func (j *job) busy() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.what
}

// interrupt stops what runs, if anything, and waits until it has ended.
func (j *job) interrupt(ctx context.Context, cause error) error {
	j.mu.Lock()
	cancel, done := j.cancel, j.done
	j.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel(cause)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a build to stop: %w", ctx.Err())
	}
}

// save saves the work and publishes the outcome. There is nothing to save before a
// working tree was prepared.
func (x *session) save(ctx context.Context, message string) (bootapi.SaveResult, error) {
	if !x.prepared.Load() {
		return bootapi.SaveResult{Where: "nothing"}, nil
	}
	if err := x.takeTurn(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer x.endTurn()
	start := time.Now()
	result, err := x.tree.Save(ctx, message)
	if err != nil {
		return result, fmt.Errorf("saving the work: %w", err)
	}
	x.board.Saved(result)
	if result.Commit != "" {
		x.board.Content(result.Commit, x.claim.EditBranch)
	}
	x.log.Info("work saved", zap.String("where", result.Where), zap.String("commit", result.Commit),
		zap.String("remote_error", result.Error), zap.Duration("took", time.Since(start)))
	return result, nil
}

// takeTurn waits until nobody else changes the workspace. endTurn must follow.
func (x *session) takeTurn(ctx context.Context) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a build to end: %w", context.Cause(ctx))
	}
}

func (x *session) endTurn() { <-x.turn }

// errAsleep is why a boot or a rebuild is interrupted by a sleep.
var errAsleep = errors.New("put to sleep")

// close lets the served build go.
func (x *session) close() {
	x.servingMu.Lock()
	defer x.servingMu.Unlock()
	if x.serving != nil {
		x.serving.Release()
		x.serving = nil
	}
}
