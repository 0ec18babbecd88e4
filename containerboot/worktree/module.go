package worktree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/webordinary/router/containerboot/move"
)

// modulesFile of GitDir holds which submodules lie in the workspace: path → commit.
const modulesFile = "webordinary-modules.json"

func readModules(gitDir string) (map[string]string, error) {
	placed := map[string]string{}
	data, err := os.ReadFile(filepath.Join(gitDir, modulesFile))
	if os.IsNotExist(err) {
		return placed, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &placed)
	}
	if err != nil {
		return nil, failed("reading which submodules are here", err)
	}
	return placed, nil
}

func writeModules(gitDir string, placed map[string]string) error {
	data, err := json.Marshal(placed)
	if err == nil {
		err = updateFile(filepath.Join(gitDir, modulesFile), data)
	}
	if err != nil {
		return failed("noting which submodules are here", err)
	}
	return nil
}

// checkoutModules writes the files of submodules into a workspace that is being made,
// and those of editors which could not be pushed.
func (w *Worktree) checkoutModules(ctx context.Context, p place, list []submodule) error {
	work, err := os.OpenRoot(p.work)
	if err != nil {
		return failed("opening the workspace", err)
	}
	defer work.Close()
	placed := map[string]string{}
	for i := range list {
		m := &list[i]
		if m.fault != "" {
			continue
		}
		// What an editor made of the submodule around it may have a link here, to anywhere.
		if !makeFolder(work, m.path) || !isVacant(work, m.path) {
			m.fault = "there is something else in its folder; it stays as it is"
			continue
		}
		if err := w.checkoutModule(ctx, p.module(m.path), m); err != nil {
			return err
		}
		placed[m.path] = m.commit
	}
	if len(placed) == 0 {
		return nil
	}
	return writeModules(p.git, placed)
}

// checkoutModule writes one submodule's files, with its index, to at.work, an empty folder.
func (w *Worktree) checkoutModule(ctx context.Context, at place, m *submodule) error {
	if err := os.Remove(filepath.Join(at.git, "index")); err != nil && !os.IsNotExist(err) {
		return failed("making a submodule's index", err)
	}
	kept, err := w.keptModule(ctx, at, m)
	if err != nil {
		return err
	}
	if kept != "" {
		if _, err := w.git(ctx, at, stdio{}, "read-tree", "--reset", "-u", kept); err != nil {
			return err
		}
	}
	args := []string{"read-tree", "--reset", "-u", m.commit}
	if kept != "" {
		args = []string{"read-tree", "--reset", m.commit}
	}
	_, err = w.git(ctx, at, stdio{}, args...)
	return err
}

// refreshModules brings the indexes of submodules up to date with files that changed
// their owner.
func (w *Worktree) refreshModules(ctx context.Context, p place) error {
	placed, err := readModules(p.git)
	if err != nil {
		return err
	}
	for name := range placed {
		// Its exit code says that files differ.
		if _, err := w.git(ctx, p.module(name), stdio{}, "update-index", "-q", "--refresh"); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// moveModules brings the submodules in the workspace to those of a commit that was just
// checked out there, and returns them. What somebody changed stays as it is. It asks no
// remote.
func (w *Worktree) moveModules(ctx context.Context, commit string) ([]submodule, error) {
	p := w.own()
	placed, err := readModules(p.git)
	if err != nil {
		return nil, err
	}
	list, err := w.submodules(ctx, p, commit, false)
	if err != nil || len(list)+len(placed) == 0 {
		return list, err
	}
	work, err := os.OpenRoot(p.work)
	if err != nil {
		return nil, failed("opening the workspace", err)
	}
	defer work.Close()
	changed, err := w.changedModules(ctx, placed)
	if err != nil {
		return nil, err
	}
	// free reports whether a folder may be replaced: it is empty, missing, or as it was
	// made, with all submodules below.
	free := func(name string) bool {
		if isVacant(work, name) {
			return true
		}
		for other := range changed {
			if other == name || strings.HasPrefix(other, name+"/") {
				return false
			}
		}
		return placed[name] != "" && isFolder(work, name)
	}
	wanted := map[string]bool{}
	for i := range list {
		m := &list[i]
		wanted[m.path] = true
		if m.fault != "" || placed[m.path] == m.commit && !isVacant(work, m.path) {
			continue
		}
		if !free(m.path) {
			m.fault = "there is something else in its folder, or changes that were made here; it stays as it is"
			continue
		}
		if err := w.replaceModule(ctx, work, m); err != nil {
			return nil, err
		}
		placed[m.path] = m.commit
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(placed))) { // deepest first
		if wanted[name] {
			continue
		}
		if !free(name) {
			w.cfg.Log(fmt.Sprintf("The folder %s is no submodule any more; it has changes, so it stays.", printable(name)))
		} else if err := w.takeAway(work, name); err != nil {
			return nil, err
		}
		delete(placed, name)
	}
	return list, writeModules(p.git, placed)
}

// retryModules fetches the submodules that could not be fetched before, and reports
// whether any is there now. The remote has nothing newer than the state at.
func (w *Worktree) retryModules(ctx context.Context, at heads) (bool, error) {
	before, err := readUnfetched(w.cfg.GitDir)
	if err != nil || len(before.Submodules)+len(before.Why) == 0 {
		return false, err
	}
	if _, err := w.submodules(ctx, w.own(), at.edit, true); err != nil {
		return false, err
	}
	if err := w.lock.take(ctx); err != nil {
		return false, err
	}
	defer w.lock.release()
	if now, err := w.heads(); err != nil || now != at {
		return false, err
	}
	modules, err := w.moveModules(ctx, at.edit)
	if err != nil {
		return false, err
	}
	after := w.noteUnfetched(ctx, w.own(), at.edit, modules)
	return len(after.Submodules) < len(before.Submodules) || len(after.Why) < len(before.Why), nil
}

// moduleTree is the tree of what lies in a submodule's folder; empty where there is no
// folder.
func (w *Worktree) moduleTree(ctx context.Context, work *os.Root, name string) (string, error) {
	if !isFolder(work, name) {
		return "", nil
	}
	snap, err := w.snapshot(ctx, w.own().module(name), "", nil)
	if err != nil {
		return "", err
	}
	snap.discard()
	return snap.tree, nil
}

// isFolder reports whether a path is one with no link on the way to it.
func isFolder(work *os.Root, name string) bool {
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if info, err := work.Lstat(dir); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// makeFolder makes a folder and those above it, and reports whether there is one with no
// link on the way to it.
func makeFolder(work *os.Root, name string) bool {
	dir := ""
	for part := range strings.SplitSeq(name, "/") {
		dir = path.Join(dir, part)
		if err := work.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return false
		}
		if info, err := work.Lstat(dir); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// replaceModule puts the files of a submodule in the place of what lies there: they are
// written outside of the workspace, where nobody can lead git astray.
func (w *Worktree) replaceModule(ctx context.Context, work *os.Root, m *submodule) error {
	at := w.own().module(m.path)
	at.work = aside(w.cfg.Dir)
	defer os.RemoveAll(at.work)
	if err := os.Mkdir(at.work, 0o755); err != nil {
		return failed("making a submodule's folder", err)
	}
	if err := w.checkoutModule(ctx, at, m); err != nil {
		return err
	}
	if w.cfg.RunAs != nil {
		if err := w.chown(at.work); err != nil {
			return failed("giving a submodule to the workspace's user", err)
		}
	}
	if _, err := w.git(ctx, at, stdio{}, "update-index", "-q", "--refresh"); err != nil && ctx.Err() != nil {
		return err
	}
	if err := w.takeAway(work, m.path); err != nil {
		return err
	}
	err := work.MkdirAll(path.Dir(m.path), 0o755)
	if err == nil {
		err = move.In(work, at.work, m.path)
	}
	if err != nil {
		return failed("moving a submodule into place", err)
	}
	return nil
}

// takeAway removes a folder of the workspace.
func (w *Worktree) takeAway(work *os.Root, name string) error {
	old := aside(w.cfg.Dir)
	defer os.RemoveAll(old)
	if err := move.Out(work, old, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed("taking a submodule's folder away", err)
	}
	return nil
}
