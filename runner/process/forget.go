//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// forgotten begins the name of a folder that is being removed. No session's begins so.
const forgotten = ".forgotten-"

// Forget removes a session's folder. See sessions.Runner.
func (r *Runner) Forget(ctx context.Context, sessionID string) error {
	if err := r.forget(ctx, sessionID); err != nil {
		return fmt.Errorf("forgetting session %q: %w", sessionID, err)
	}
	return nil
}

func (r *Runner) forget(ctx context.Context, id string) error {
	if id == "" || len(id) > maxSessionID {
		return nil // no container has such an id
	}
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := r.busy.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()

	dir := r.dir(id)
	switch info, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	if r.child(id) != nil {
		return errors.New("its container runs")
	}
	lock, err := tryLock(filepath.Join(dir, "container.lock"))
	if err != nil {
		return fmt.Errorf("its container may be running: %w", err)
	}
	defer lock.Close()
	if err := r.unsaved(id, dir); err != nil {
		return err
	}
	// Nothing done by way of this can reach outside of it.
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	// So that nobody meets half a folder.
	name := forgotten + filepath.Base(dir)
	if err := remove(root, name); err != nil {
		return err
	}
	if err := root.Rename(filepath.Base(dir), name); err != nil {
		return err
	}
	return remove(root, name)
}

// sweepForgotten removes what an edge that died did not come to remove.
func (r *Runner) sweepForgotten() error {
	root, err := os.OpenRoot(filepath.Join(r.dataDir, "sessions"))
	if err != nil {
		return err
	}
	defer root.Close()
	names, err := fs.Glob(root.FS(), forgotten+"*")
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, remove(root, name))
	}
	return errors.Join(errs...)
}

// remove removes a folder with all that is in it; a client's tools may have left
// folders that cannot be written to.
func remove(root *os.Root, name string) error {
	if root.RemoveAll(name) == nil {
		return nil
	}
	// What cannot be looked at shows when it is removed.
	_ = fs.WalkDir(root.FS(), name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(path, 0o700)
		}
		return nil
	})
	return root.RemoveAll(name)
}

// unsaved returns ErrUnsaved if a session's work may not all be on the remote.
func (r *Runner) unsaved(id, dir string) error {
	last, err := readState(dir)
	if err == nil && last.unsaved() {
		return fmt.Errorf("%w: a container did not end in order, and what is in %s may be nowhere else", sessions.ErrUnsaved, dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", sessions.ErrUnsaved, err)
	}
	bundle := filepath.Join(globEscape(r.dataDir), "cache", "*", "bundles", globEscape(url.PathEscape(id))+".bundle")
	for what, pattern := range map[string]string{
		"work that could not be pushed is in": bundle,
		"work of an earlier save is in":       bundle + ".kept-*",
		"a workspace was set aside in":        filepath.Join(globEscape(dir), "*.kept-*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("looking for work: %w", err)
		}
		if len(found) > 0 {
			return fmt.Errorf("%w: %s %s", sessions.ErrUnsaved, what, found[0])
		}
	}
	return nil
}

// keepsUnsaved reports whether, after a container's end with an exit status, its
// workspace may hold work that was not saved; before says whether it may have had
// some when the container was started.
func keepsUnsaved(status int, before bool, dir string, started time.Time) bool {
	return !bootapi.WorkIsSafe(status) || before && !savedSince(dir, started)
}

// savedSince reports whether containerboot has saved the workspace since a time: each
// save puts a new index into its git directory. A container that is stopped before it
// has looked at the workspace ends in order, too.
func savedSince(dir string, t time.Time) bool {
	info, err := os.Stat(filepath.Join(dir, "git", "index"))
	return err == nil && info.ModTime().After(t)
}

// Kept returns the sessions that have a folder. See sessions.Runner.
func (r *Runner) Kept(ctx context.Context) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(globEscape(r.dataDir), "sessions", "*", stateName))
	if err != nil {
		return nil, fmt.Errorf("listing the sessions' folders: %w", err)
	}
	ids := make([]string, 0, len(files))
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dir := filepath.Dir(file)
		// One that cannot be read, or was moved here, is nobody's to forget.
		if s, err := readState(dir); err == nil && s.SessionID != "" && r.dir(s.SessionID) == dir {
			ids = append(ids, s.SessionID)
		}
	}
	return ids, nil
}
