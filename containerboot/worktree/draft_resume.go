package worktree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// beginning is what a workspace is made of.
type beginning struct {
	head string
	// tree is that of the files where they are not head's: work in progress.
	tree string
	// restored is the commit or draft with work that is not on the remote's branch; may be empty.
	restored string
}

// resume goes on from a draft, if there is one on the remote or in the bundle: its commits
// come before head, its files are the workspace's. deepen fetches the history of the branch
// that head is from. It returns the refs to set.
func (w *Worktree) resume(ctx context.Context, p place, b *beginning, onRemote bool, bundled string, deepen func() error) ([]string, error) {
	draft, found := bundled, ""
	if onRemote {
		var err error
		if draft, found, err = w.newerDraft(ctx, p, bundled); err != nil {
			return nil, err
		}
	}
	if draft == "" {
		return nil, nil
	}
	err := w.applyDraft(ctx, p, b, draft, func() error {
		if err := deepen(); err != nil || !onRemote {
			return err
		}
		return w.unshallowDraft(ctx, p)
	})
	if err != nil {
		if ctx.Err() != nil || diskIsFull(err) {
			return nil, err
		}
		w.cfg.Log(fmt.Sprintf("The work in progress of an earlier container (%.10s) could not be restored and stays where it is: %s", draft, err))
		if bundled != "" {
			return nil, w.moveBundleAside("It has work in progress that could not be restored.")
		}
		return nil, nil
	}
	refs := []string{refDraft, draft}
	if found == draft {
		refs = append(refs, refDraftPushed, found)
	}
	return refs, nil
}

// newerDraft fetches the remote's draft, and chooses between that and the bundle's.
func (w *Worktree) newerDraft(ctx context.Context, p place, bundled string) (draft, found string, err error) {
	shallow, err := readShallow(p.git)
	if err != nil {
		return "", "", failed("reading the shallow commits", err)
	}
	var options []string
	if len(shallow) > 0 { // else it would make the history shallow that is whole
		options = append(options, "--depth=2")
	}
	if err := w.fetchRef(ctx, p, w.remoteDraft(), refDraftFound, options...); err != nil {
		return "", "", err
	}
	if found, err = w.readRef(p.git, refDraftFound); err != nil {
		return "", "", failed("reading the draft", err)
	}
	if bundled == "" || bundled == found {
		return found, found, nil
	}
	older, err := w.isAncestor(ctx, p, found, bundled)
	if err != nil {
		return "", "", err
	}
	if older {
		return bundled, found, nil
	}
	if err := w.unshallowDraft(ctx, p); err != nil {
		return "", "", err
	}
	newer, err := w.isAncestor(ctx, p, bundled, found)
	if err != nil {
		return "", "", err
	}
	if newer {
		return found, found, nil
	}
	w.cfg.Log(fmt.Sprintf("The remote has other work in progress (%.10s) than the bundle, which is restored.", found))
	return bundled, "", nil
}

// unshallowDraft fetches the whole history of the remote's draft.
func (w *Worktree) unshallowDraft(ctx context.Context, p place) error {
	shallow, err := readShallow(p.git)
	if err != nil {
		return failed("reading the shallow commits", err)
	}
	if len(shallow) == 0 {
		return nil
	}
	return w.fetchRef(ctx, p, w.remoteDraft(), refDraftFound, "--unshallow")
}

// applyDraft joins a draft with what the session would begin with otherwise.
func (w *Worktree) applyDraft(ctx context.Context, p place, b *beginning, draft string, deepen func() error) error {
	d, err := w.readDraft(ctx, p, draft)
	if err != nil {
		return err
	}
	head := b.head
	if d.base != head {
		if err := deepen(); err != nil {
			return err
		}
		within, err := w.isAncestor(ctx, p, d.base, head)
		if err != nil {
			return err
		}
		ahead := false
		if !within {
			if ahead, err = w.isAncestor(ctx, p, head, d.base); err != nil {
				return err
			}
		}
		switch {
		case within:
		case ahead:
			head = d.base
		default:
			if head, _, err = w.mergeCommit(ctx, p.git, d.base, head); err != nil {
				return err
			}
		}
	}
	tree := ""
	switch {
	case d.isSpent():
	case d.base == head:
		tree = d.tree
	default:
		m, err := w.merge(ctx, p.git, draft, head)
		if err != nil {
			return err
		}
		if len(m.conflicts) > 0 {
			w.cfg.Log("Changed on the branch and in the work in progress, which is kept; the other version is in the branch's history: " + enumerate(m.conflicts))
		}
		tree = m.tree
	}
	if head != b.head || tree != "" {
		b.restored = draft
		w.cfg.Log("Work in progress of an earlier container was restored.")
	}
	b.head, b.tree = head, tree
	return nil
}

// writeTree makes the files of p.work, which nobody else uses yet and which are those of
// head, the ones of a tree. The index stays head's, here and in the workspace's own git: the
// difference is not saved yet.
func (w *Worktree) writeTree(ctx context.Context, p place, b beginning) error {
	if b.tree == "" {
		return nil
	}
	index := filepath.Join(p.git, "index")
	p.index = aside(index)
	defer os.Remove(p.index)
	if err := copyIndex(index, p.index); err != nil {
		return failed("copying the index", err)
	}
	if _, err := w.git(ctx, p, stdio{}, "read-tree", "-m", "-u", b.head, b.tree); err != nil {
		return err
	}
	if w.cfg.RunAs == nil {
		return nil
	}
	out, err := w.git(ctx, p, stdio{}, "diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev", b.head, b.tree)
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(p.work)
	if err != nil {
		return failed("opening the workspace", err)
	}
	defer work.Close()
	for c := range changes(out) {
		for name := c.path; name != "."; name = filepath.Dir(name) {
			if err := work.Lchown(name, int(w.cfg.RunAs.Uid), int(w.cfg.RunAs.Gid)); err != nil && !os.IsNotExist(err) {
				return failed("giving a file to the workspace's user", err)
			}
		}
	}
	return nil
}
