package containerboot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// mendTimeout is how long a boot looks on the remote for what may have mended the last
// one, before it tries again with what it has.
const mendTimeout = 30 * time.Second

// brokenMark is the file, beside the workspace, that says that the last boot failed.
func (x *session) brokenMark() string { return filepath.Join(x.private, "broken") }

// markBroken remembers, for the next boot, whether this one failed.
func (x *session) markBroken(broken bool) {
	var err error
	if broken {
		err = os.WriteFile(x.brokenMark(), nil, 0o600)
	} else if err = os.Remove(x.brokenMark()); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		x.log.Warn("remembering how the boot ended failed", zap.Error(err))
	}
}

// mend fetches what others pushed before a kept workspace is built whose last boot failed:
// whoever mends a site does so on the remote. Any other boot asks the remote afterwards.
func (x *session) mend(ctx context.Context) error {
	if _, err := os.Stat(x.brokenMark()); err != nil {
		return nil
	}
	x.board.Step("looking for what was mended")
	syncing, done := context.WithTimeout(ctx, mendTimeout)
	defer done()
	changed, err := x.tree.SyncRemote(syncing)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		x.log.Warn("fetching from the remote failed", zap.Error(err))
		return nil
	case changed:
		return x.showContent(ctx)
	default:
		return nil
	}
}
