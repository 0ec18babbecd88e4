package worktree

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's own naming of objects
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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

// fileObject names a file as git does where no attribute changes its line ends. It waits for
// nobody, and takes no memory for a large one.
func fileObject(path string) (dirtyFile, error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return dirtyFile{}, nil
	}
	if err != nil {
		return dirtyFile{}, err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		if err != nil {
			return dirtyFile{}, err
		}
		object, err := blob(strings.NewReader(target), int64(len(target)))
		return dirtyFile{Mode: "120000", Object: object}, err
	}
	if !info.Mode().IsRegular() {
		return dirtyFile{Mode: "other"}, nil
	}
	f, err := openRegular(path)
	if err != nil {
		return dirtyFile{}, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return dirtyFile{}, err
	}
	file := dirtyFile{Mode: "100644"}
	if info.Mode()&0o100 != 0 {
		file.Mode = "100755"
	}
	file.Object, err = blob(f, info.Size())
	return file, err
}

// openRegular opens a file that is no link, and no pipe whose other end is waited for.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// blob is git's name of so many bytes of a file.
func blob(content io.Reader, size int64) (string, error) {
	h := sha1.New() //nolint:gosec // git's own naming of objects
	fmt.Fprintf(h, "blob %d\x00", size)
	if _, err := io.CopyN(h, content, size); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
