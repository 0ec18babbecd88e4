package containerboot

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/buildcache"
)

// tidyTimeout bounds what must be done after a build even when it was interrupted.
const tidyTimeout = 5 * time.Second

// buildKind says what a build is for.
type buildKind int

const (
	firstBuild    buildKind = iota // of a boot
	rebuiltIfNew                   // the content changed
	rebuiltAnyway                  // somebody asked, though the content is the same
)

// produce gets a build of what is checked out, from the cache or by building, and
// serves it.
func (x *session) produce(ctx context.Context, kind buildKind) error {
	if err := x.builder.Prepare(ctx); err != nil {
		return err
	}
	if x.builder.IsDev() {
		return x.produceDev(ctx, kind)
	}
	content, err := x.content(ctx)
	if err != nil {
		return err
	}
	if kind != rebuiltAnyway {
		entry, err := x.builder.Cached(content)
		if err == nil {
			return x.reuse(ctx, content, entry)
		}
		if !errors.Is(err, buildcache.ErrMiss) {
			x.log.Warn("looking into the cache failed", zap.Error(err))
		}
	}
	waited, done, err := x.builder.LeadBuild(ctx, content)
	if err != nil {
		return err
	}
	defer done()
	if waited && kind != rebuiltAnyway {
		if entry, err := x.builder.Cached(content); err == nil {
			return x.reuse(ctx, content, entry)
		}
	}
	x.board.Afresh("build")
	entry, err := x.make(ctx, content, kind)
	if err != nil {
		return err
	}
	return x.serve(ctx, entry)
}

// reuse serves a build from the cache. A server needs the site's packages as well.
func (x *session) reuse(ctx context.Context, content string, entry *buildcache.Entry) error {
	if x.builder.IsServer(entry.Dir()) {
		if err := x.install(ctx, content); err != nil {
			entry.Release()
			return err
		}
		x.board.Reuse("build")
	} else {
		x.board.Reuse("install", "build")
	}
	return x.serve(ctx, entry)
}

// install installs without building.
func (x *session) install(ctx context.Context, content string) error {
	if err := x.takeTurn(ctx); err != nil {
		return err
	}
	defer x.endTurn()
	return x.builder.Install(ctx, content)
}

// content names everything in the workspace that a build is made from.
func (x *session) content(ctx context.Context) (string, error) {
	tree, err := x.tree.ContentKey(ctx)
	if err != nil {
		return "", err
	}
	return x.builder.Inputs(tree)
}

// make installs, builds and keeps what was built, all in one turn: no save sees the
// output folder moved.
func (x *session) make(ctx context.Context, content string, kind buildKind) (*buildcache.Entry, error) {
	if err := x.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer x.endTurn()
	content, err := x.clearOutput(ctx, content)
	if err != nil {
		return nil, err
	}
	err = x.builder.Install(ctx, content)
	if err == nil {
		err = x.builder.Build(ctx)
	}
	if err == nil {
		err = x.tree.Exclude(ctx, x.builder.Exclude())
	}
	// A lock file that the first build rewrote is not to be saved as the editor's, also
	// where the build failed. Whatever else changed may be somebody's work, for an
	// editor or an agent may write meanwhile: it is saved.
	if kind == firstBuild {
		x.overlookDirt(ctx)
	}
	if err != nil {
		return nil, err
	}
	after, err := x.content(ctx)
	if err != nil {
		return nil, err
	}
	if after != content {
		content = "" // nobody knows which of the two was built
	}
	return x.builder.Keep(ctx, content, kind == rebuiltAnyway)
}

// overlookDirt has what the build changed in the repository's files not saved.
func (x *session) overlookDirt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	if err := x.tree.IgnoreBuildDirt(ctx); err != nil {
		x.log.Warn("overlooking what the build changed failed", zap.Error(err))
	}
}

// clearOutput takes the output of an earlier build away, so that it cannot pass for
// that of one which leaves none. Where the repository has files in that folder it
// stays: they are content. The content to build is returned.
func (x *session) clearOutput(ctx context.Context, content string) (string, error) {
	moved, err := x.builder.MoveOutput()
	if err != nil || !moved {
		return content, err
	}
	without, err := x.content(ctx)
	if err == nil && without == content {
		return content, x.builder.DropOutput()
	}
	if err := errors.Join(err, x.builder.ReturnOutput()); err != nil {
		return "", err
	}
	return x.content(ctx)
}

// keepModules puts node_modules, and what npm downloaded for them, into the cache for the
// next session. Nobody waits for it, and without it the next session installs.
func (x *session) keepModules(ctx context.Context) error {
	content, err := x.content(ctx)
	if err == nil {
		err = errors.Join(x.builder.KeepModules(ctx, content), x.builder.KeepDownloads(ctx))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		x.log.Warn("keeping node_modules failed", zap.Error(err))
	}
	return nil
}
