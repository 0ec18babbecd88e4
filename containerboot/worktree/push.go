package worktree

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	err := w.pushOnce(ctx, head)
	if e := (*Error)(nil); !errors.As(err, &e) || !shallowRefused.MatchString(e.Detail) {
		return err
	}
	// Nobody needs the commit that the session began with on the remote any more.
	w.cfg.Log("The branch was rewritten on the remote: its whole history is fetched.")
	if deepening := w.deepen(ctx); deepening != nil {
		w.cfg.Log("Its history could not be fetched: " + deepening.Error())
		return err
	}
	return w.pushOnce(ctx, head)
}

func (w *Worktree) pushOnce(ctx context.Context, head string) error {
	_, err := w.onRemote(ctx, w.own(), w.remote, "push", "--progress", "--no-verify", "--no-follow-tags",
		"--", w.remote.url, head+":"+w.editRef())
	return err
}

// deepen fetches the whole history of Config.Branch, and with it the parents of commits
// that GitDir lacked.
func (w *Worktree) deepen(ctx context.Context) error {
	shallow, err := readShallow(w.cfg.GitDir)
	if err != nil {
		return failed("reading the shallow commits", err)
	}
	if len(shallow) == 0 {
		return nil
	}
	if err := w.fetch(ctx, w.own(), w.cfg.Branch, refDeepened, "--unshallow"); err != nil {
		return err
	}
	// Git takes the mark off a commit only if the remote still has it.
	if shallow, err = readShallow(w.cfg.GitDir); err != nil {
		return failed("reading the shallow commits", err)
	}
	left := slices.DeleteFunc(slices.Clone(shallow), func(commit string) bool { return w.parentsFetched(ctx, commit) })
	if len(left) == len(shallow) {
		return nil
	}
	path := filepath.Join(w.cfg.GitDir, "shallow")
	if len(left) == 0 {
		err = os.Remove(path)
	} else {
		err = writeFile(path, []byte(strings.Join(left, "\n")+"\n"), 0o644)
	}
	if err != nil {
		return failed("marking shallow commits", err)
	}
	return nil
}

// parentsFetched reports whether the parents of a shallow commit are in refDeepened, whose
// history git found to be whole.
func (w *Worktree) parentsFetched(ctx context.Context, commit string) bool {
	// Of its content, as git hides the parents of a shallow commit.
	content, err := w.git(ctx, w.own(), stdio{}, "cat-file", "commit", commit)
	if err != nil {
		return false
	}
	header, _, _ := strings.Cut(string(content), "\n\n")
	for line := range strings.Lines(header) {
		if parent, ok := strings.CutPrefix(strings.TrimSpace(line), "parent "); ok {
			// Fails for a commit that is not here.
			if within, err := w.isAncestor(ctx, w.own(), parent, refDeepened); err != nil || !within {
				return false
			}
		}
	}
	return true
}
