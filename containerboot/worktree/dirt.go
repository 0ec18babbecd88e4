package worktree

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's own naming of objects
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// dirt is what the install left in the workspace: path → the file as git names it. Such a
// file is saved once it is changed again.
type dirt map[string]dirtyFile

// lockFiles are what package managers write by themselves.
var lockFiles = map[string]bool{
	"package-lock.json": true, "npm-shrinkwrap.json": true, "pnpm-lock.yaml": true, "yarn.lock": true,
}

// dirtyFile is a file's mode and object in git's terms; the zero value is no file.
type dirtyFile struct {
	Mode   string `json:"mode,omitempty"`
	Object string `json:"object,omitempty"`
}

// IgnoreBuildDirt takes lock files that changed since the last ContentKey for the
// install's doing: those which were then as in the last saved commit. They are left out of
// saves, keys and commits for as long as they stay as they are now, by later processes
// too. Anything else may be somebody's work, as people and agents write while it is
// built, and so are the lock files themselves where a package.json changed as well. It
// must follow a ContentKey. Each path is logged.
func (w *Worktree) IgnoreBuildDirt(ctx context.Context) error {
	if err := w.lock.take(ctx); err != nil {
		return err
	}
	defer w.lock.release()
	if w.keyTree == "" {
		return failed("finding what the build changed", fmt.Errorf("ContentKey was not called before"))
	}
	snap, err := w.snapshot(ctx, w.own(), "", nil)
	if err != nil {
		return err
	}
	defer snap.discard()
	out, err := w.diff(ctx, w.keyTree, snap.tree)
	if err != nil {
		return err
	}
	found := installed(out)
	if len(found) > 0 {
		saved, err := w.diff(ctx, w.editRef(), w.keyTree)
		if err != nil {
			return err
		}
		for c := range changes(saved) {
			delete(found, c.path) // changed before already
		}
	}
	for name := range found {
		w.cfg.Log(fmt.Sprintf("Changed by the build, not saved: %q", name))
	}
	data, err := json.Marshal(found)
	if err == nil {
		err = updateFile(filepath.Join(w.cfg.GitDir, dirtFile), data)
	}
	if err != nil {
		return failed("recording what the build changed", err)
	}
	return nil
}

// installed returns what an install without anybody's doing may have changed of a diff.
func installed(diff []byte) dirt {
	found := dirt{}
	for c := range changes(diff) {
		switch name := filepath.Base(c.path); {
		case name == "package.json":
			return nil // with other dependencies goes another lock file
		case c.status == "M" && lockFiles[name]:
			found[c.path] = dirtyFile{Mode: c.mode, Object: c.object}
		}
	}
	return found
}

func (w *Worktree) readDirt() (dirt, error) {
	data, err := os.ReadFile(filepath.Join(w.cfg.GitDir, dirtFile))
	if os.IsNotExist(err) {
		return nil, nil
	}
	var d dirt
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		return nil, failed("reading what the build changed", err)
	}
	return d, nil
}

// unchanged reports whether a path is as the install left it.
func (d dirt) unchanged(work, name string) bool {
	left, ok := d[name]
	if !ok {
		return false
	}
	now, err := fileObject(filepath.Join(work, name))
	return err == nil && now == left
}

// fileObject names a file as git does where no attribute changes its line ends.
func fileObject(path string) (dirtyFile, error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return dirtyFile{}, nil
	}
	if err != nil {
		return dirtyFile{}, err
	}
	var data []byte
	mode := "100644"
	switch {
	case info.Mode()&os.ModeSymlink != 0:
		var target string
		target, err = os.Readlink(path)
		data, mode = []byte(target), "120000"
	case !info.Mode().IsRegular():
		return dirtyFile{Mode: "other"}, nil
	default:
		if info.Mode()&0o100 != 0 {
			mode = "100755"
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return dirtyFile{}, err
	}
	h := sha1.New() //nolint:gosec // git's own naming of objects
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return dirtyFile{Mode: mode, Object: hex.EncodeToString(h.Sum(nil))}, nil
}
