package worktree

import (
	"context"
	"os"
)

// SyncRemote asks the remote for newer commits and reports whether the workspace was
// moved along to them. It is only where that is a fast-forward, nothing was committed in
// the workspace meanwhile, and no file that would change has unsaved work in it. Where
// the remote has no edit branch and the session no commits of its own, the workspace
// follows Config.Branch, also to a rewritten history. Submodules that could not be fetched
// are tried again, which also counts as a change where it helps. Where another container
// went on with the session meanwhile and left a draft, see KeepDraft, the workspace goes on
// from that. While it waits for the remote it
// keeps nobody else waiting; what was saved meanwhile goes first. Errors are of type
// *Error.
func (w *Worktree) SyncRemote(ctx context.Context) (changed bool, err error) {
	if err := w.syncs.take(ctx); err != nil {
		return false, err
	}
	defer w.syncs.release()
	before, err := w.beginSync(ctx)
	if err != nil {
		return false, err
	}
	defer w.fetching.Store(false)
	remote, err := w.lsRemote(ctx, w.own())
	if err != nil {
		return false, err
	}
	draft, err := w.draftElsewhere(ctx, remote)
	if err == nil && draft != "" {
		changed, err = w.goOnFrom(ctx, before, remote, draft)
	}
	switch {
	case err == nil && draft != "":
		return changed, nil
	case ctx.Err() != nil || diskIsFull(err):
		return false, err
	case err != nil:
		w.cfg.Log("Another container's work in progress could not be restored and stays where it is: " + err.Error())
	}
	f, err := w.fetchNewer(ctx, before, remote)
	if err != nil {
		return false, err
	}
	if f.To == "" {
		return w.retryModules(ctx, before)
	}

	if err := w.lock.take(ctx); err != nil {
		return false, err
	}
	defer w.lock.release()
	now, err := w.heads()
	if err != nil {
		return false, err
	}
	if now != before {
		return false, nil // either the remote has it by now, or it stands against the remote's
	}
	if !f.Base {
		if err := w.setRefs(ctx, w.own(), w.remoteRef(), f.To); err != nil {
			return false, err
		}
	}
	return w.forward(ctx, f)
}

// heads are commits that the session stands at.
type heads struct {
	edit, pushed string
	base         string // empty: the session began with an edit branch
}

// pristine reports whether the session has no commits of its own.
func (h heads) pristine() bool { return h.edit == h.pushed && h.edit == h.base }

func (w *Worktree) heads() (h heads, err error) {
	if h.edit, err = w.readRef(w.cfg.GitDir, w.editRef()); err != nil {
		return heads{}, failed("reading the edit branch", err)
	}
	if h.pushed, err = w.readRef(w.cfg.GitDir, refPushed); err != nil {
		return heads{}, failed("reading what was pushed", err)
	}
	if h.base, err = w.readRef(w.cfg.GitDir, refBase); err != nil && !os.IsNotExist(err) {
		return heads{}, failed("reading the base branch", err)
	}
	return h, nil
}

// beginSync puts right what a crash left and says where the session stands. Unless it
// fails, fetching is set.
func (w *Worktree) beginSync(ctx context.Context) (heads, error) {
	if err := w.lock.take(ctx); err != nil {
		return heads{}, err
	}
	defer w.lock.release()
	if err := removeLocks(w.cfg.GitDir, false); err != nil {
		return heads{}, failed("removing leftovers", err)
	}
	if err := w.finishForward(ctx); err != nil {
		return heads{}, err
	}
	h, err := w.heads()
	w.fetching.Store(err == nil)
	return h, err
}

// fetchNewer fetches what the remote has beyond the given state and says how to move on
// to it; To is empty where there is nothing. It needs no lock.
func (w *Worktree) fetchNewer(ctx context.Context, at heads, remote tips) (_ forwarding, err error) {
	f := forwarding{From: at.edit, Pushed: true}
	branch, tip := w.cfg.EditBranch, remote.edit
	if tip == "" {
		if at.edit != at.pushed {
			return forwarding{}, nil
		}
		branch, tip, f.Base, f.Anyway = w.cfg.Branch, remote.base, true, at.pristine()
	}
	if tip == "" || tip == at.pushed {
		return forwarding{}, nil
	}
	if err := w.fetch(ctx, w.own(), branch, refIncoming); err != nil {
		return forwarding{}, err
	}
	if f.To, err = w.readRef(w.cfg.GitDir, refIncoming); err != nil { // it may have moved since
		return forwarding{}, failed("reading what was fetched", err)
	}
	_, err = w.submodules(ctx, w.own(), f.To, true)
	return f, err
}
