package buildcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// clone makes out share the blocks of in. It fails where the filesystem cannot.
func clone(out, in *os.File) error {
	return unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
}

// copyData copies a file's content, and leaves its holes out: a file may seem to be larger
// than any disk and take no room.
func copyData(out, in *os.File, info fs.FileInfo) error {
	const block = 512 // of Blocks, whatever the filesystem's
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Blocks*block >= info.Size() {
		_, err := io.Copy(out, in)
		return err
	}
	fd := int(in.Fd())
	for at := int64(0); at < info.Size(); {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole to its end
		}
		if err == nil {
			at, err = unix.Seek(fd, data, unix.SEEK_HOLE)
		}
		if err != nil {
			return fmt.Errorf("looking for a file's holes: %w", err)
		}
		if _, err := out.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(out, io.NewSectionReader(in, data, at-data)); err != nil {
			return err
		}
	}
	return out.Truncate(info.Size())
}
