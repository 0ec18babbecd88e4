package worktree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A bundle is whole: it needs nothing of the remote, whose history may be rewritten
// before the work is restored. GitDir being shallow, it begins with commits that lack
// their parents. Git's format has no place for that fact, so these commits are named by
// refs below refShallow.

// writeBundle keeps the edit branch in the client's cache.
func (w *Worktree) writeBundle(ctx context.Context, head string) error {
	path := w.bundlePath()
	draft, err := w.findRef(refDraft)
	if err != nil {
		return err
	}
	if heads, err := w.bundleHeads(ctx, w.own(), path); err == nil && heads[w.editRef()] == head && heads[refDraft] == draft {
		return nil
	}
	if err := w.spareBundle(ctx, w.own(), head); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failed("making the folder of bundles", err)
	}
	if err := removeMatching(filepath.Dir(path), func(name string) bool {
		return strings.HasPrefix(name, filepath.Base(path)+newSuffix)
	}); err != nil {
		return failed("removing an unfinished bundle", err)
	}
	refs := []string{w.editRef()}
	if draft != "" {
		refs = append(refs, refDraft)
	}
	shallow, err := readShallow(w.cfg.GitDir)
	if err != nil {
		return failed("reading the shallow commits", err)
	}
	for _, commit := range shallow {
		within, err := w.isAncestor(ctx, w.own(), commit, head)
		if err == nil && !within && draft != "" {
			within, err = w.isAncestor(ctx, w.own(), commit, draft)
		}
		if err != nil {
			return err
		}
		if within {
			if err := w.setRefs(ctx, w.own(), refShallow+commit, commit); err != nil {
				return err
			}
			refs = append(refs, refShallow+commit)
		}
	}
	tmp := aside(path)
	defer os.Remove(tmp)
	if _, err := w.git(ctx, w.own(), stdio{}, append([]string{"bundle", "create", "--quiet", tmp}, refs...)...); err != nil {
		return err
	}
	err = os.Chmod(tmp, 0o600)
	if err == nil {
		err = moveFile(tmp, path)
	}
	if err != nil {
		return failed("keeping the bundle", err)
	}
	return nil
}

// removeBundle removes the bundle once the remote has head.
func (w *Worktree) removeBundle(ctx context.Context, p place, head string) error {
	if err := w.spareBundle(ctx, p, head); err != nil {
		return err
	}
	if err := os.Remove(w.bundlePath()); err != nil && !os.IsNotExist(err) {
		return failed("removing the bundle", err)
	}
	return nil
}

// spareBundle moves a bundle aside which has work that is not in head, so that what
// comes next can neither replace nor remove it.
func (w *Worktree) spareBundle(ctx context.Context, p place, head string) error {
	path := w.bundlePath()
	heads, err := w.bundleHeads(ctx, p, path)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil {
		// Fails for a commit that is not here.
		if within, err := w.isAncestor(ctx, p, heads[w.editRef()], head); err == nil && within && w.knowsDraft(ctx, p, heads[refDraft]) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return failed("looking at the bundle", ctx.Err())
	}
	return w.moveBundleAside("It has work that this session lacks.")
}

func (w *Worktree) moveBundleAside(why string) error {
	kept := w.bundlePath() + ".kept-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(w.bundlePath(), kept); err != nil {
		return failed("moving a bundle aside", err)
	}
	w.cfg.Log(fmt.Sprintf("The bundle of an earlier save is kept as %s. %s", filepath.Base(kept), why))
	return nil
}

// takeBundle moves a whole workspace on to a bundle that the session left elsewhere
// meanwhile, where that is a fast-forward, and returns the commit if so.
func (w *Worktree) takeBundle(ctx context.Context, head string) (string, error) {
	heads, err := w.bundleHeads(ctx, w.own(), w.bundlePath())
	if err != nil {
		return "", nil //nolint:nilerr // none, or one that the next save moves aside
	}
	if _, err := w.git(ctx, w.own(), stdio{}, "cat-file", "-e", heads[w.editRef()]); err == nil {
		return "", nil
	}
	bundled, _, err := w.readBundle(ctx, w.own(), false)
	if err != nil || bundled == "" {
		return "", err
	}
	moved, err := w.forward(ctx, forwarding{From: head, To: bundled})
	if err != nil || !moved {
		return "", err
	}
	w.cfg.Log("Work of an earlier save was restored.")
	return bundled, nil
}

func (w *Worktree) bundleHeads(ctx context.Context, p place, path string) (map[string]string, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	out, err := w.git(ctx, p, stdio{}, "bundle", "list-heads", path)
	if err != nil {
		return nil, err
	}
	heads := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if commit, ref, ok := strings.Cut(strings.TrimSpace(line), " "); ok && isCommit(commit) {
			heads[ref] = commit
		}
	}
	return heads, nil
}

// readBundle takes the bundle's objects into p, those of its draft only where asked for,
// and returns its commit and its draft; empty where there are none. One that cannot be read
// is moved aside: it must not keep the session from starting.
func (w *Worktree) readBundle(ctx context.Context, p place, withDraft bool) (head, draft string, err error) {
	path := w.bundlePath()
	heads, err := w.bundleHeads(ctx, p, path)
	if os.IsNotExist(err) {
		return "", "", nil
	}
	head = heads[w.editRef()]
	if withDraft {
		draft = heads[refDraft]
	}
	if err == nil && head == "" {
		err = fmt.Errorf("no %s in it", w.editRef())
	}
	if err == nil {
		err = w.importBundle(ctx, p, path, heads, draft != "")
	}
	if err == nil {
		return head, draft, nil
	}
	if ctx.Err() != nil || diskIsFull(err) {
		return "", "", err
	}
	return "", "", w.moveBundleAside("It could not be read: " + firstLine(err.Error()))
}

func (w *Worktree) importBundle(ctx context.Context, p place, path string, heads map[string]string, withDraft bool) error {
	shallow, err := readShallow(p.git)
	if err != nil {
		return failed("reading the shallow commits", err)
	}
	added := false
	for ref, commit := range heads {
		if !strings.HasPrefix(ref, refShallow) {
			continue
		}
		// What is here already keeps the parents that it has here.
		if _, err := w.git(ctx, p, stdio{}, "cat-file", "-e", commit); err != nil {
			shallow, added = append(shallow, commit), true
		}
	}
	if added {
		if err := writeFile(filepath.Join(p.git, "shallow"), []byte(strings.Join(shallow, "\n")+"\n")); err != nil {
			return failed("marking shallow commits", err)
		}
	}
	args := []string{
		"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", path, "+" + w.editRef() + ":refs/webordinary/bundle",
	}
	if withDraft {
		args = append(args, "+"+refDraft+":"+refDraft)
	}
	_, err = w.git(ctx, p, stdio{remote: remote{scheme: "file"}}, args...)
	return err
}

// choose says which of the bundle's work and the remote's state the session goes on with.
// Where both have commits of their own they are merged. Where that cannot be it is the
// work, and the remote's stay reachable from w.remoteRef.
func (w *Worktree) choose(ctx context.Context, p place, bundled, remote string, onRemote, hasDraft bool) (string, error) {
	if !onRemote {
		w.cfg.Log("Work of an earlier save was restored.")
		return bundled, nil
	}
	ahead, err := w.isAncestor(ctx, p, remote, bundled)
	if err != nil {
		return "", err
	}
	if ahead {
		w.cfg.Log("Work of an earlier save was restored.")
		return bundled, nil
	}
	// Only the whole history tells whether the remote has the work by now.
	shallow, err := readShallow(p.git)
	if err != nil {
		return "", failed("reading the shallow commits", err)
	}
	if len(shallow) > 0 {
		if err := w.fetch(ctx, p, w.cfg.EditBranch, w.remoteRef(), "--unshallow"); err != nil {
			return "", err
		}
	}
	behind, err := w.isAncestor(ctx, p, bundled, remote)
	if err != nil {
		return "", err
	}
	if behind {
		w.cfg.Log("Work of an earlier save is on the remote by now.")
		if hasDraft { // which is nowhere else: the next save removes the bundle
			return remote, nil
		}
		return remote, w.removeBundle(ctx, p, remote)
	}
	ahead, err = w.isAncestor(ctx, p, remote, bundled)
	if err != nil {
		return "", err
	}
	if ahead {
		return bundled, nil
	}
	merged, _, err := w.mergeCommit(ctx, p.git, bundled, remote)
	switch {
	case err == nil:
		w.cfg.Log("Work of an earlier save was restored and merged with the branch on the remote.")
		return merged, nil
	case ctx.Err() != nil || diskIsFull(err):
		return "", err
	default:
		w.cfg.Log(fmt.Sprintf("Work of an earlier save was restored; the branch on the remote has other commits (%.10s), which it lacks: %s", remote, err))
		return bundled, nil
	}
}

// readShallow returns the commits whose parents a git directory lacks.
func readShallow(gitDir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(gitDir, "shallow"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var commits []string
	for line := range strings.FieldsSeq(string(data)) {
		if isCommit(line) {
			commits = append(commits, line)
		}
	}
	return commits, nil
}
