package buildcache

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CopyTree copies a folder to a place where nothing is yet, sharing blocks where the
// filesystem can, never by hard link: a build may write into what it was given.
// Modes are kept; sockets, pipes and devices are left out. For links see PutOptions.
func CopyTree(dst, src string, links bool) error {
	root, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	if info, err := os.Stat(root); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s is no folder", src)
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dst, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			return copyLink(to, path, root, links)
		case d.Type().IsRegular():
			return copyFile(to, path)
		default:
			return nil
		}
	})
}

func copyLink(to, path, root string, keep bool) error {
	if keep {
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	if file := fileInside(path, root); file != "" {
		return copyFile(to, file)
	}
	return nil
}

// fileInside is the regular file inside root that a link leads to, or "".
func fileInside(link, root string) string {
	target, err := filepath.EvalSymlinks(link)
	if err != nil || !strings.HasPrefix(target, root+string(filepath.Separator)) {
		return ""
	}
	if info, err := os.Lstat(target); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return target
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	if clone(out, in) != nil {
		if _, err := io.Copy(out, in); err != nil {
			out.Close()
			return err
		}
	}
	return out.Close()
}
