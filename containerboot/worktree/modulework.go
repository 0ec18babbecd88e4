package worktree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What is changed within a submodule belongs to another repository, which nobody here may
// push to. It is kept as a bundle beside the session's own, and goes back into the folder
// where that is made again of the same commit.

// refKept is what was changed within a submodule: a commit without parents, whose message
// ends in the one that it was made of.
const refKept = "refs/webordinary/kept"

const keptSubject = "Changes within a submodule, made of "

// moduleBundle is where changes within a submodule are kept.
func (w *Worktree) moduleBundle(at place) string {
	return filepath.Join(filepath.Dir(w.bundlePath()), fileName(w.cfg.SessionID)+".module-"+filepath.Base(at.git)+".bundle")
}

// changedModules returns the trees of the submodules that were changed: path → tree.
func (w *Worktree) changedModules(ctx context.Context, placed map[string]string) (map[string]string, error) {
	changed := map[string]string{}
	if len(placed) == 0 {
		return changed, nil
	}
	work, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return nil, failed("opening the workspace", err)
	}
	defer work.Close()
	for name, commit := range placed {
		tree, err := w.moduleTree(ctx, work, name)
		if err != nil {
			return nil, err
		}
		was, err := w.gitLine(ctx, w.own().module(name).bare(), "rev-parse", commit+"^{tree}")
		if err != nil {
			return nil, err
		}
		if tree != "" && tree != was {
			changed[name] = tree
		}
	}
	return changed, nil
}

// keepModules bundles what was changed within submodules and says so in a sentence; empty
// where nothing was.
func (w *Worktree) keepModules(ctx context.Context) (note string, err error) {
	placed, err := readModules(w.cfg.GitDir)
	if err != nil {
		return "", err
	}
	changed, err := w.changedModules(ctx, placed)
	if err != nil {
		return "", err
	}
	var names []string
	anew := false
	for name, commit := range placed {
		at := w.own().module(name)
		tree, ok := changed[name]
		if !ok {
			if err := w.dropModuleBundle(ctx, at, commit); err != nil {
				return "", err
			}
			continue
		}
		names = append(names, name)
		written, err := w.writeModuleBundle(ctx, at, tree, commit)
		if err != nil {
			return "", err
		}
		anew = anew || written
	}
	if len(names) == 0 {
		return "", nil
	}
	slices.Sort(names)
	note = "What was changed in " + enumerate(names) + " cannot be pushed, as it belongs to another repository (a submodule): it is kept for this session only."
	if anew {
		w.cfg.Log(note)
	}
	return note, nil
}

// writeModuleBundle reports whether there was none of these changes yet.
func (w *Worktree) writeModuleBundle(ctx context.Context, at place, tree, commit string) (written bool, err error) {
	bundle := w.moduleBundle(at)
	if kept, of, err := w.readKept(ctx, at); err == nil && of == commit {
		if have, err := w.gitLine(ctx, at, "rev-parse", kept+"^{tree}"); err == nil && have == tree {
			if _, err := os.Stat(bundle); err == nil {
				return false, nil
			}
		}
	}
	out, err := w.git(ctx, at, stdio{in: strings.NewReader(keptSubject + commit + "\n")}, "commit-tree", "-F", "-", tree)
	if err != nil {
		return false, err
	}
	if err := w.setRefs(ctx, at, refKept, strings.TrimSpace(string(out))); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(bundle), 0o700); err != nil {
		return false, failed("making the folder of bundles", err)
	}
	tmp := aside(bundle)
	defer os.Remove(tmp)
	if _, err := w.git(ctx, at, stdio{}, "bundle", "create", "--quiet", tmp, refKept); err != nil {
		return false, err
	}
	err = os.Chmod(tmp, 0o600)
	if err == nil {
		err = moveFile(tmp, bundle)
	}
	if err != nil {
		return false, failed("keeping a submodule's changes", err)
	}
	return true, nil
}

// readKept returns the commit at refKept and the one that it was made of.
func (w *Worktree) readKept(ctx context.Context, at place) (kept, of string, err error) {
	if kept, err = w.readRef(at.git, refKept); err != nil {
		return "", "", err
	}
	subject, err := w.gitLine(ctx, at, "log", "-1", "--format=%s", kept)
	if err != nil {
		return "", "", err
	}
	of, ok := strings.CutPrefix(subject, keptSubject)
	if !ok || !isCommit(of) {
		return "", "", fmt.Errorf("%s is of nothing known", refKept)
	}
	return kept, of, nil
}

// keptModule takes what was changed within a submodule from its bundle, if that was made
// of the same commit. Other changes stay in their bundle.
func (w *Worktree) keptModule(ctx context.Context, at place, m *submodule) (string, error) {
	bundle := w.moduleBundle(at)
	if _, err := os.Stat(bundle); err != nil {
		return "", nil //nolint:nilerr // none, or one that cannot be read now
	}
	_, err := w.git(ctx, at, stdio{remote: remote{scheme: "file"}}, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", bundle, "+"+refKept+":"+refKept)
	kept, of := "", ""
	if err == nil {
		kept, of, err = w.readKept(ctx, at)
	}
	switch {
	case ctx.Err() != nil || diskIsFull(err):
		return "", failed("reading a submodule's changes", err)
	case err != nil:
		w.cfg.Log(fmt.Sprintf("The changes within %s could not be read from %s: %s", printable(m.path), filepath.Base(bundle), firstLine(err.Error())))
		return "", nil
	case of != m.commit:
		w.cfg.Log(fmt.Sprintf("The changes within %s were made to an older version of it: they stay in %s.", printable(m.path), filepath.Base(bundle)))
		return "", nil
	}
	w.cfg.Log(fmt.Sprintf("The changes within %s were restored.", printable(m.path)))
	return kept, nil
}

// dropModuleBundle removes a bundle whose changes were taken back. One that was made of
// another commit is moved aside only by what replaces it.
func (w *Worktree) dropModuleBundle(ctx context.Context, at place, commit string) error {
	bundle := w.moduleBundle(at)
	if _, err := os.Stat(bundle); err != nil {
		return nil //nolint:nilerr // none
	}
	if _, of, err := w.readKept(ctx, at); err != nil || of != commit {
		return nil //nolint:nilerr // it is of other changes
	}
	if err := os.Remove(bundle); err != nil && !os.IsNotExist(err) {
		return failed("removing a submodule's changes", err)
	}
	return nil
}
