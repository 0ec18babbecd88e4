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

// pushMerged brings head to the remote's edit branch, merged with what that has beyond it,
// and returns what was pushed, or was to be. It leaves a part of ctx's time for a bundle.
func (w *Worktree) pushMerged(ctx context.Context, head string) (_ string, conflicts []string, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		reserve := min(bundleTime, time.Until(deadline)/2)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	err = w.push(ctx, head)
	for try := 0; try < mergeTries && w.isBehind(err); try++ {
		merged, files, mergeErr := w.mergeRemote(ctx, head)
		if merged != "" {
			head, conflicts = merged, append(conflicts, files...)
		}
		switch {
		case mergeErr != nil:
			w.cfg.Log("The changes from elsewhere could not be merged: " + mergeErr.Error())
			return head, conflicts, err
		case merged == "":
			return head, conflicts, err
		}
		err = w.push(ctx, head)
	}
	return head, conflicts, err
}

// push brings head to the remote's edit branch, with the history that it may need for that.
func (w *Worktree) push(ctx context.Context, head string) error {
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

// pushOnce pushes head, and in the same push takes the draft away, so that none is left
// which is older than the branch. Where the remote does not take that, the spent draft goes
// first.
func (w *Worktree) pushOnce(ctx context.Context, head string) error {
	branch := head + ":" + w.editRef()
	drop, err := w.dropSpec()
	if err != nil {
		return err
	}
	if drop == "" {
		return w.pushSpecs(ctx, branch)
	}
	err = w.pushSpecs(ctx, branch, drop)
	if err == nil {
		return w.dropped(ctx, drop)
	}
	if w.isBehind(err) || !isRefusal(err) {
		return err
	}
	if spent, err := w.findRef(refDraft); err == nil && w.pushSpecs(ctx, spent+":"+w.remoteDraft()) == nil {
		if err := w.setRefs(ctx, w.own(), refDraftPushed, spent); err != nil {
			return err
		}
	}
	return w.pushSpecs(ctx, branch)
}

// pushSpecs pushes all or nothing. A draft is removed only if it is the one known here.
func (w *Worktree) pushSpecs(ctx context.Context, specs ...string) error {
	args := []string{"push", "--progress", "--no-verify", "--no-follow-tags"}
	if len(specs) > 1 {
		args = append(args, "--atomic")
	}
	if slices.Contains(specs, ":"+w.remoteDraft()) {
		known, err := w.findRef(refDraftPushed)
		if err != nil {
			return err
		}
		args = append(args, "--force-with-lease="+w.remoteDraft()+":"+known)
	}
	_, err := w.onRemote(ctx, w.own(), w.remote, append(append(args, "--", w.remote.url), specs...)...)
	return err
}

// isBehind reports whether a push failed because the remote's edit branch has commits that
// this session lacks.
func (w *Worktree) isBehind(err error) bool {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	for line := range strings.Lines(e.Detail) {
		if strings.Contains(line, "[rejected]") && strings.Contains(line, "-> "+w.cfg.EditBranch+" (") &&
			!strings.Contains(line, "(atomic push failed)") {
			return true
		}
	}
	return false
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
		err = writeFile(path, []byte(strings.Join(left, "\n")+"\n"))
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
