package buildcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// CopyTree copies a folder to a place where nothing is yet, sharing blocks where the
// filesystem can, never by hard link: a build may write into what it was given. Modes
// are kept; sockets, pipes and devices are left out. For links see PutOptions. What
// another process does in the folder meanwhile cannot make it read anything outside.
// It ends between two files when ctx ends, and what it copied is left to the caller.
func CopyTree(ctx context.Context, dst, src string, links bool) error {
	top, err := os.OpenRoot(src)
	if err != nil {
		return err
	}
	defer top.Close()
	c := &copier{ctx: ctx, top: top, links: links}
	return c.folder(dst, top, ".")
}

// copyParts copies what is asked for of a folder.
func copyParts(ctx context.Context, dst, src string, o PutOptions) error {
	top, err := openBelow(o.Below, src)
	if err != nil {
		return err
	}
	defer top.Close()
	if len(o.Only) == 0 {
		c := &copier{ctx: ctx, top: top, links: o.Links}
		return c.folder(dst, top, ".")
	}
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	for _, part := range o.Only {
		from, err := top.OpenRoot(part)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dst, filepath.FromSlash(part))
		err = os.MkdirAll(filepath.Dir(to), 0o755)
		if err == nil {
			c := &copier{ctx: ctx, top: from, links: o.Links}
			err = c.folder(to, from, ".")
		}
		if err = errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return nil
}

// openBelow opens a folder that lies in another one, unless that is "".
func openBelow(below, dir string) (*os.Root, error) {
	if below == "" {
		return os.OpenRoot(dir)
	}
	rel, err := filepath.Rel(below, dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(below)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenRoot(rel)
}

// copier is one run of CopyTree.
type copier struct {
	ctx   context.Context // its life is one call's
	top   *os.Root
	links bool
}

// folder copies from, which is the folder rel of the top one.
func (c *copier) folder(to string, from *os.Root, rel string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	entries, err := fs.ReadDir(from.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
		if err := c.entry(filepath.Join(to, e.Name()), from, path.Join(rel, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) entry(to string, from *os.Root, rel string, e fs.DirEntry) error {
	switch {
	case e.IsDir():
		sub, err := from.OpenRoot(e.Name())
		if err != nil {
			return err
		}
		defer sub.Close()
		return c.folder(to, sub, rel)
	case e.Type()&fs.ModeSymlink != 0 && c.links:
		target, err := from.Readlink(e.Name())
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case e.Type()&fs.ModeSymlink != 0:
		in, err := openFile(c.top, rel)
		if err != nil {
			return nil // it leads out, or nowhere
		}
		return copyFile(to, in)
	case e.Type().IsRegular():
		in, err := openFile(from, e.Name())
		if err != nil {
			return err
		}
		return copyFile(to, in)
	default:
		return nil
	}
}

// openFile opens a file below a folder, never waiting for the other end of a pipe.
func openFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// copyFile copies a regular file, and nothing else, and closes it.
func copyFile(to string, in *os.File) error {
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	if clone(out, in) != nil {
		if err := copyData(out, in, info); err != nil {
			out.Close()
			return err
		}
	}
	return out.Close()
}
