package worktree

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// dropTime bounds what a save that has nothing else to say to the remote gives to taking
// the draft away there.
const dropTime = 5 * time.Second

// spendDraft makes the draft, if there is one, a spent one of what is saved.
func (w *Worktree) spendDraft(ctx context.Context, head string) error {
	last, err := w.findRef(refDraft)
	if err != nil || last == "" {
		return err
	}
	d, err := w.readDraft(ctx, w.own(), last)
	if err != nil || d.isSpent() && d.base == head {
		return err
	}
	tree, err := w.gitLine(ctx, w.own(), "rev-parse", "--verify", head+"^{tree}")
	if err != nil {
		return err
	}
	_, err = w.makeDraft(ctx, "Saved\n\nThere is no work in progress beyond the branch.\n", head, tree, last)
	return err
}

// dropSpec is what a push takes the draft away by; empty where there is none to take. The
// spent one is put in its place where it is not known whether the first one ever arrived:
// one that arrives later still is refused for that. And it is where the draft was another
// container's: whose workspace wakes once more must learn that somebody went on from it.
func (w *Worktree) dropSpec() (string, error) {
	var pushed, found, last string
	for ref, to := range map[string]*string{refDraftPushed: &pushed, refDraftFound: &found, refDraft: &last} {
		var err error
		if *to, err = w.findRef(ref); err != nil {
			return "", err
		}
	}
	switch {
	case pushed != "" && found == "":
		return ":" + w.remoteDraft(), nil
	case last == "" || last == pushed || w.drafting.isRefused():
		return "", nil
	default:
		return last + ":" + w.remoteDraft(), nil
	}
}

// dropped notes that a push by dropSpec succeeded.
func (w *Worktree) dropped(ctx context.Context, spec string) error {
	if spec != ":"+w.remoteDraft() {
		last, err := w.findRef(refDraft)
		if err != nil {
			return err
		}
		return w.setRefs(ctx, w.own(), refDraftPushed, last)
	}
	for _, ref := range []string{refDraftPushed, refDraft} {
		if err := os.Remove(filepath.Join(w.cfg.GitDir, filepath.FromSlash(ref))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed("forgetting the draft", err)
		}
	}
	return nil
}

// dropDraft takes a draft away that a save without anything to push has made needless. One
// that stays is spent, and taken away by a later save.
func (w *Worktree) dropDraft(ctx context.Context) {
	spec, err := w.dropSpec()
	if err != nil || spec == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dropTime)
	defer cancel()
	if err = w.pushSpecs(ctx, spec); err == nil {
		err = w.dropped(ctx, spec)
	} else if spent, findErr := w.findRef(refDraft); findErr == nil && isRefusal(err) {
		// It must not be there as it was, at least.
		err = errors.Join(err, w.pushSpecs(ctx, spent+":"+w.remoteDraft()))
	}
	if err != nil {
		w.cfg.Log("The draft on the remote could not be removed: " + err.Error())
	}
}

// bundled reports whether the bundle has the draft.
func (w *Worktree) bundled(ctx context.Context, draft string) bool {
	heads, err := w.bundleHeads(ctx, w.own(), w.bundlePath())
	return err == nil && heads[refDraft] == draft
}

// knowsDraft reports whether a draft, if any, was made or taken over here.
func (w *Worktree) knowsDraft(ctx context.Context, p place, draft string) bool {
	if draft == "" {
		return true
	}
	_, err := w.git(ctx, p, stdio{}, "cat-file", "-e", draft)
	return err == nil
}
