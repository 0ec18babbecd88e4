package worktree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// indexLimit bounds an index, in bytes: that of a million files.
const indexLimit = 256 << 20

// visit is git at work in the workspace: with the rights of its owner, because the
// client's code runs there meanwhile. Git looks what a path is before it opens it, and a
// link that is put there in between leads nowhere where that code could not have gone
// itself. What a visit leaves, an index and objects, is in a folder of its own, and is
// read as a stranger's.
type visit struct {
	place
	dir   string
	leave func()
}

// visit begins one with the index of a git directory. The caller ends it.
func (w *Worktree) visit(p place) (_ *visit, err error) {
	v := &visit{place: p, dir: aside(w.cfg.GitDir), leave: w.enter()}
	defer func() {
		if err != nil {
			v.end()
			err = failed("visiting the workspace", err)
		}
	}()
	v.index, v.objects, v.as = filepath.Join(v.dir, "index"), filepath.Join(v.dir, "objects"), w.cfg.RunAs
	for _, dir := range []string{v.dir, v.objects} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := copyIndex(filepath.Join(p.git, "index"), v.index); err != nil {
		return nil, err
	}
	if w.cfg.RunAs != nil {
		return v, w.chown(v.dir)
	}
	return v, nil
}

// enter has what runs as the workspace's owner spared from now on.
func (w *Worktree) enter() (leave func()) {
	if w.cfg.Enter == nil {
		return func() {}
	}
	return w.cfg.Enter()
}

func (v *visit) end() {
	v.leave()
	_ = os.RemoveAll(v.dir) // what stays is removed at the next start
}

// takeIndex copies the index that the visit leaves.
func (v *visit) takeIndex(to string) error {
	dir, err := os.OpenRoot(v.dir)
	if err != nil {
		return failed("taking the index", err)
	}
	defer dir.Close()
	data, err := readSmall(dir, "index", indexLimit)
	if err != nil {
		return failed("taking the index", err)
	}
	info, err := dir.Lstat("index")
	if err == nil {
		err = writeIndex(to, data, info.ModTime())
	}
	if err != nil {
		return failed("taking the index", err)
	}
	return nil
}

// takeObjects copies the objects that the visit leaves into its git directory, and makes
// sure that nothing of tree is missing there.
func (w *Worktree) takeObjects(ctx context.Context, v *visit, tree string) error {
	names, err := looseObjects(v.objects)
	if err != nil || len(names) == 0 {
		return err
	}
	own := place{git: v.git}
	from := own
	from.borrow = v.objects
	pack, done, err := w.pack(ctx, from, strings.Join(names, "\n")+"\n", "--window=0")
	if err != nil {
		return err
	}
	defer done()
	if _, err := w.git(ctx, own, stdio{in: pack}, "index-pack", "--stdin"); err != nil {
		return err
	}
	_, err = w.git(ctx, own, stdio{}, "rev-list", "--objects", "--quiet", tree)
	return err
}

// pack makes a pack of what is asked for, in a file that done removes.
func (w *Worktree) pack(ctx context.Context, p place, what string, options ...string) (_ *os.File, done func(), err error) {
	f, err := os.CreateTemp(filepath.Join(p.git, "objects", "pack"), "tmp_import_")
	if err != nil {
		return nil, nil, failed("making a pack", err)
	}
	done = func() {
		_ = f.Close() // it was only read
		_ = os.Remove(f.Name())
	}
	args := append([]string{"pack-objects", "--stdout", "-q", "--delta-base-offset"}, options...)
	if _, err = w.git(ctx, p, stdio{in: strings.NewReader(what), out: f}, args...); err == nil {
		if _, err = f.Seek(0, 0); err != nil {
			err = failed("reading a pack", err)
		}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return f, done, nil
}

// looseObjects lists the objects in a folder.
func looseObjects(dir string) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, failed("listing objects", err)
	}
	defer root.Close()
	folders, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, failed("listing objects", err)
	}
	var names []string
	for _, folder := range folders {
		if len(folder.Name()) != 2 {
			continue
		}
		files, err := fs.ReadDir(root.FS(), folder.Name())
		if err != nil {
			return nil, failed("listing objects", err)
		}
		for _, f := range files {
			if name := folder.Name() + f.Name(); isCommit(name) && f.Type().IsRegular() {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// giveFolders gives the folders of what differs between two commits to the workspace's
// owner, who is going to write there.
func (w *Worktree) giveFolders(ctx context.Context, from, to string) error {
	if w.cfg.RunAs == nil {
		return nil
	}
	out, err := w.diff(ctx, from, to)
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return failed("opening the workspace", err)
	}
	defer work.Close()
	given := map[string]bool{}
	for c := range changes(out) {
		for dir := filepath.Dir(c.path); dir != "." && !given[dir]; dir = filepath.Dir(dir) {
			given[dir] = true
			if err := w.giveFolder(work, dir); err != nil {
				return failed("giving a folder to the workspace's user", err)
			}
		}
	}
	return nil
}

// giveFolder gives a folder, and nothing else, for a file may have another name that is
// not the client's.
func (w *Worktree) giveFolder(work *os.Root, dir string) error {
	f, err := work.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return nil // it is made, or git says what is in its way
	case err != nil:
		return err
	}
	defer f.Close()
	if err := f.Chown(int(w.cfg.RunAs.Uid), int(w.cfg.RunAs.Gid)); err != nil {
		return fmt.Errorf("%q: %w", dir, err)
	}
	return nil
}
