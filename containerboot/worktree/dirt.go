package worktree

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// dirt is what the build left in the workspace: path → the file as git names it. Such a
// file is saved once it is changed again.
type dirt map[string]dirtyFile

// dirtyFile is a file's mode and object in git's terms; the zero value is a deleted file.
type dirtyFile struct {
	Mode   string `json:"mode,omitempty"`
	Object string `json:"object,omitempty"`
}

// IgnoreBuildDirt takes everything that changed since the last ContentKey for the
// install's and build's doing, such as a rewritten lock file. These files are left out of
// saves, keys and commits for as long as they stay as they are now, by later processes
// too. It must follow a ContentKey, with nobody but the build writing in between: what an
// editor changed in that time would count as the build's until changed again. Each path is
// logged.
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
	found := dirt{}
	for c := range changes(out) {
		f := dirtyFile{Mode: c.mode, Object: c.object}
		if c.status == "D" {
			f = dirtyFile{}
		}
		found[c.path] = f
		w.cfg.Log(fmt.Sprintf("Changed by the build, not saved: %q", c.path))
	}
	data, err := json.Marshal(found)
	if err == nil {
		err = updateFile(filepath.Join(w.cfg.GitDir, dirtFile), data, 0o644)
	}
	if err != nil {
		return failed("recording what the build changed", err)
	}
	return nil
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

// unchanged reports whether a path is as the build left it.
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
