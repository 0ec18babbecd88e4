// Package move takes files and folders into a workspace and out of it, by rename. The
// workspace is the client's code's, which may put a link in the place of a folder at any
// moment: none is followed out of the workspace, and what is moved is never another's.
package move

import (
	"os"
	"path"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// In renames a path outside of the workspace to one in it, whose folder is there. Errors are
// those of os.Rename, syscall.EXDEV among them where one of the two is on another volume.
func In(work *os.Root, outside, inside string) error {
	return at(work, inside, func(folder int, name string) error {
		return unix.Renameat(unix.AT_FDCWD, outside, folder, name)
	})
}

// Out renames a path in the workspace to one outside of it, with the same errors.
func Out(work *os.Root, outside, inside string) error {
	return at(work, inside, func(folder int, name string) error {
		return unix.Renameat(folder, name, unix.AT_FDCWD, outside)
	})
}

// at does something in the folder of a path: that folder, whatever bears its name by then.
func at(work *os.Root, inside string, do func(folder int, name string) error) error {
	folder, name := path.Split(path.Clean(filepath.ToSlash(inside)))
	parent, err := work.OpenFile(path.Clean(folder), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := do(int(parent.Fd()), name); err != nil {
		return &os.PathError{Op: "rename", Path: inside, Err: err}
	}
	return nil
}
