package deploykey

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

// Permissions of a key's file.
const (
	writableByMore   fs.FileMode = 0o022
	readableByOthers fs.FileMode = 0o004
)

// readFile reads a file below one of the prefixes that allow the reference by its name.
func (r *Resolver) readFile(clientID string, ref configstore.KeyReference) (string, error) {
	target, err := filepath.EvalSymlinks(ref.Name)
	if err != nil {
		return "", fileError(err)
	}
	for _, p := range r.prefixes {
		if !p.Allows(clientID, ref) {
			continue
		}
		// The operator may have named a link, and then means what it leads to.
		base, err := filepath.EvalSymlinks(p.Path(clientID))
		if err != nil {
			return "", fileError(err)
		}
		if target == base {
			return r.readBelow(filepath.Dir(base), filepath.Base(base), ref)
		}
		if rest, ok := strings.CutPrefix(target, base+string(filepath.Separator)); ok {
			return r.readBelow(base, rest, ref)
		}
	}
	return "", fmt.Errorf("%w: a symbolic link leads out of what the option deploy_key_prefixes allows", ErrNotAllowed)
}

// readBelow reads a file in a folder, out of which it is not led even where a link
// appears meanwhile.
func (r *Resolver) readBelow(dir, name string, ref configstore.KeyReference) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fileError(err)
	}
	defer root.Close()
	// A named pipe would hold the open up until somebody writes.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fileError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fileError(err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: it is not a regular file", ErrInvalid)
	case info.Mode()&writableByMore != 0:
		return "", fmt.Errorf("%w: the file may be written by its group or others (mode %04o): chmod it to 0600", ErrInvalid, info.Mode().Perm())
	case info.Mode()&readableByOthers != 0:
		r.log.Warn("deploy key's file can be read by everybody on this machine", zap.Stringer("deploy_key", ref))
	}
	text, err := io.ReadAll(io.LimitReader(f, configstore.MaxKeyText+1))
	if err != nil {
		return "", fileError(err)
	}
	return string(text), nil // ParseKey refuses what is too long
}

// fileError tells what an error of the file system means. Such errors name paths only.
func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}
