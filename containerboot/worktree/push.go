package worktree

import (
	"context"
	"time"
)

// push brings head to the remote's edit branch. It leaves a part of ctx's time for a bundle.
func (w *Worktree) push(ctx context.Context, head string) error {
	if deadline, ok := ctx.Deadline(); ok {
		reserve := min(bundleTime, time.Until(deadline)/2)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	_, err := w.onRemote(ctx, w.own(), "push", "--progress", "--no-verify", "--no-follow-tags",
		"--", w.remote.url, head+":"+w.editRef())
	return err
}
