package worktree

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of GitDir that are not git's.
const (
	// stateFile says whose git directory this is. It is written before the directory
	// is renamed into place, so a directory that has it is whole.
	stateFile = "webordinary.json"
	// globalFile is what git takes for the user's configuration.
	globalFile = "webordinary.gitconfig"
	// dirtFile holds what the build changed: see IgnoreBuildDirt.
	dirtFile = "webordinary-dirt.json"
	// unfetchedFile holds what of the checked out commit was not fetched.
	unfetchedFile = "webordinary-unfetched.json"
	// forwardFile holds the commits of a fast-forward that is under way.
	forwardFile = "webordinary-forward.json"
	// followFile names the ref whose lock, beside the index's, this package holds in
	// the workspace's own .git.
	followFile = "webordinary-follow"
)

// newSuffix marks what is being made; what is found of it later was left by a crash.
const newSuffix = ".new-"

// aside returns an unused name beside path.
func aside(path string) string { return path + newSuffix + rand.Text() }

// writeFile writes a file beside path, has it on disk, and renames it into place.
func writeFile(path string, data []byte) (err error) {
	tmp := aside(path)
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
		}
	}()
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return moveFile(tmp, path)
}

// moveFile has tmp on disk and renames it to path.
func moveFile(tmp, path string) error {
	if err := syncPath(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// updateFile writes a file unless it has that content already.
func updateFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return writeFile(path, data)
}

// copyIndex copies an index with its time: git takes a file that is as new as its index
// for possibly changed, and would miss a change if the copy were newer.
func copyIndex(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return writeIndex(to, data, info.ModTime())
}

func writeIndex(to string, data []byte, at time.Time) error {
	if err := os.WriteFile(to, data, 0o644); err != nil {
		return err
	}
	return os.Chtimes(to, at, at)
}

// removeLeftovers removes what a killed process left half-made in or beside GitDir and
// beside the workspace: this package's own new files, and git's locks and temporary packs.
func (w *Worktree) removeLeftovers() error {
	for _, path := range []string{w.cfg.GitDir, w.cfg.Dir} {
		if err := removeMatching(filepath.Dir(path), func(name string) bool {
			return strings.HasPrefix(name, filepath.Base(path)+newSuffix)
		}); err != nil {
			return err
		}
	}
	return removeLocks(w.cfg.GitDir, false)
}

// removeLocks spares what a fetch into refIncoming makes where one is under way.
func removeLocks(gitDir string, fetching bool) error {
	stale := func(name string) bool {
		if fetching && name == "shallow.lock" {
			return false
		}
		return strings.HasSuffix(name, ".lock") || strings.Contains(name, newSuffix)
	}
	if err := removeMatching(gitDir, stale); err != nil {
		return err
	}
	if err := removeMatching(filepath.Join(gitDir, "objects", "pack"), func(name string) bool {
		return !fetching && strings.HasPrefix(name, "tmp_")
	}); err != nil {
		return err
	}
	incoming := filepath.Join(gitDir, filepath.FromSlash(refIncoming)) + ".lock"
	return filepath.WalkDir(filepath.Join(gitDir, "refs"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case fetching && path == incoming:
		case !d.IsDir() && strings.HasSuffix(path, ".lock"):
			return os.Remove(path)
		}
		return nil
	})
}

func removeMatching(dir string, match func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		if match(e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing a leftover: %w", err)
			}
		}
	}
	return nil
}

// empty reports whether there is nothing at path, or an empty folder.
func empty(path string) (bool, error) {
	entries, err := os.ReadDir(path)
	if os.IsNotExist(err) {
		return true, nil
	}
	return len(entries) == 0, err
}
