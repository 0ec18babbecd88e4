package worktree

import (
	"context"
	"slices"
	"strings"
)

// draftElsewhere fetches the remote's draft, and the edit branch with it, where it is
// another container's that went on with the session while this workspace lay aside. It
// returns "" where there is none. It needs no lock.
func (w *Worktree) draftElsewhere(ctx context.Context, remote tips) (string, error) {
	if remote.draft == "" {
		return "", nil
	}
	mine, err := w.findRef(refDraft)
	if err != nil {
		return "", err
	}
	if _, err := w.git(ctx, w.own().bare(), stdio{}, "cat-file", "-e", remote.draft); err == nil {
		if mine == "" {
			// One that was spent here and arrived late, unless a crash kept it from being
			// taken over.
			if in, err := w.findRef(refIncoming); err != nil || in != remote.draft {
				return "", err
			}
		} else if known, err := w.isAncestor(ctx, w.own().bare(), remote.draft, mine); err != nil || known {
			return "", err
		}
	}
	args := []string{"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--", w.remote.url, "+" + w.remoteDraft() + ":" + refIncoming}
	if remote.edit != "" {
		args = append(args, w.editRef())
	}
	if _, err := w.onRemote(ctx, w.own(), w.remote, args...); err != nil {
		return "", err
	}
	draft, err := w.findRef(refIncoming)
	if err != nil {
		return "", err
	}
	_, err = w.submodules(ctx, w.own(), draft, true)
	return draft, err
}

// goOnFrom moves the workspace on to another container's draft, and what was changed here
// since the last thing that both had goes with it. A file that both changed is as it is
// there, which is newer; the other version is in the history of the draft. It reports
// whether the workspace was moved.
func (w *Worktree) goOnFrom(ctx context.Context, at heads, remote tips, draft string) (bool, error) {
	if err := w.lock.take(ctx); err != nil {
		return false, err
	}
	defer w.lock.release()
	if now, err := w.heads(); err != nil || now != at {
		return false, err
	}
	if client := w.readClientHead(); client.commit != "" && client.commit != at.edit {
		w.cfg.Log("The workspace has commits of its own: it was not moved to another container's newer work.")
		return false, nil
	}
	common, err := w.commonDraft(ctx, at, draft)
	if err != nil {
		return false, err
	}
	f := forwarding{Draft: true}
	b := beginning{head: at.edit}
	if remote.edit != "" {
		// Fails for one that was pushed since the remote was asked.
		if ahead, err := w.isAncestor(ctx, w.own().bare(), at.edit, remote.edit); err == nil && ahead {
			b.head, f.Remote = remote.edit, remote.edit
		}
	}
	if err := w.applyDraft(ctx, w.own().bare(), &b, draft, func() error { return nil }); err != nil {
		return false, err
	}
	if b.tree == "" {
		if b.tree, err = w.gitLine(ctx, w.own().bare(), "rev-parse", b.head+"^{tree}"); err != nil {
			return false, err
		}
	}
	dirt, err := w.readDirt()
	if err != nil {
		return false, err
	}
	snap, err := w.snapshot(ctx, w.own(), at.edit, dirt)
	if err != nil {
		return false, err
	}
	snap.discard()
	if f.From, err = w.commitTree(ctx, w.own(), draftMessage+"\n", snap.tree, common); err != nil {
		return false, err
	}
	newer, err := w.commitTree(ctx, w.own(), draftMessage+"\n", b.tree, common)
	if err != nil {
		return false, err
	}
	m, err := w.merge(ctx, w.cfg.GitDir, newer, f.From)
	if err != nil {
		return false, err
	}
	if len(m.conflicts) > 0 {
		w.cfg.Log("Changed here and, later, in another container of the session, whose version is kept; the other is in the draft's history: " + enumerate(m.conflicts))
	}
	if f.To, err = w.commitTree(ctx, w.own(), draftMessage+"\n", m.tree, b.head, draft, f.From); err != nil {
		return false, err
	}
	moved, err := w.moveFiles(ctx, f)
	if err != nil || !moved {
		return false, err
	}
	return true, w.finishRefs(ctx, f)
}

// commonDraft is the last that this workspace and another's draft have in common: a draft,
// or else the edit branch.
func (w *Worktree) commonDraft(ctx context.Context, at heads, draft string) (string, error) {
	for _, ref := range []string{refDraft, refDraftPushed} {
		mine, err := w.findRef(ref)
		if err != nil || mine == "" {
			if err != nil {
				return "", err
			}
			continue
		}
		if within, err := w.isAncestor(ctx, w.own().bare(), mine, draft); err != nil || within {
			return mine, err
		}
	}
	return at.edit, nil
}

// draftRefs are the refs of a session that went on from another container's draft.
func (w *Worktree) draftRefs(ctx context.Context, f forwarding) ([]string, error) {
	out, err := w.gitLine(ctx, w.own().bare(), "rev-parse", f.To+"^1", f.To+"^2")
	if err != nil {
		return nil, err
	}
	head, theirs, _ := strings.Cut(out, "\n")
	refs := []string{w.editRef(), head, refDraft, f.To, refDraftPushed, theirs, refDraftFound, theirs}
	if f.Remote != "" {
		refs = slices.Concat(refs, []string{refPushed, f.Remote, w.remoteRef(), f.Remote})
	}
	return refs, nil
}
