// Package downloads keeps what npm downloaded for a client, for its next sessions.
//
// A session's code writes an npm cache of its own and no other's. What the lock file
// names by its SHA-512 is copied from there, once it has been found to have that, and
// lent to later sessions by symbolic links, which npm follows: it looks for a package
// of the lock file by its hash, and checks what it finds. A link that leads nowhere any
// more, or to a file that is damaged, costs a download.
package downloads

import (
	"cmp"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"
)

const (
	// newName is the folder in which files are written before they get their names.
	newName = "new"
	// orphanAge is how old a file there must be to be nobody's: longer than it takes to
	// copy the largest.
	orphanAge = time.Hour
	// leastSize is what the smallest file takes on a disk, in bytes.
	leastSize = 4 << 10
)

// Store is a folder of files by their SHA-512. Make one with New; its methods are safe for
// concurrent use, also by several processes.
type Store struct {
	dir   string
	limit int64
}

// New returns the store in a folder, which is made when it is needed. limit bounds it, in
// bytes: what was used least recently goes first.
func New(dir string, limit int64) *Store { return &Store{dir: dir, limit: limit} }

// sum is the SHA-512 of a file in hex.
type sum string

// cached is where npm's cache, at a folder, has a file: cacache's format, version 2.
func (s sum) cached() string {
	return filepath.Join("_cacache", "content-v2", "sha512", string(s[:2]), string(s[2:4]), string(s[4:]))
}

func (s *Store) path(of sum) string { return filepath.Join(s.dir, string(of[:2]), string(of)) }

var integrity = regexp.MustCompile(`\bsha512-([A-Za-z0-9+/]{86}==)`)

// sums are the files that a lock file of npm names.
func sums(lock []byte) []sum {
	var all []sum
	for _, m := range integrity.FindAllSubmatch(lock, -1) {
		if raw, err := base64.StdEncoding.DecodeString(string(m[1])); err == nil {
			all = append(all, sum(hex.EncodeToString(raw)))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Lend links what is here of what a lock file names into an npm cache, and tells how many
// files those are, and how many answers of the registry. It reads and writes with the
// rights of who calls it, so that it can be called as the user whose cache that is.
func (s *Store) Lend(npmCache string, lock []byte) (files, answers int, err error) {
	for _, of := range sums(lock) {
		is, err := s.lend(npmCache, of)
		if err != nil {
			return files, 0, fmt.Errorf("lending npm a download: %w", err)
		}
		if is {
			files++
		}
	}
	if answers, err = s.lendAnswers(npmCache, unplaced(lock)); err != nil {
		return files, answers, fmt.Errorf("lending npm the registry's answers: %w", err)
	}
	return files, answers, nil
}

// lend links a file, unless it is not here, or is in the cache already.
func (s *Store) lend(npmCache string, of sum) (bool, error) {
	from := s.path(of)
	if !isFile(from) {
		return false, nil
	}
	to := filepath.Join(npmCache, of.cached())
	if info, err := os.Lstat(to); err == nil {
		if info.Mode().IsRegular() {
			return false, nil // its own
		}
		if err := os.Remove(to); err != nil {
			return false, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return false, err
	}
	return true, os.Symlink(from, to)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Keep copies from an npm cache what a lock file names, leaving out what is not what its
// name says, and makes room for it. Links in the cache are not followed out of it.
func (s *Store) Keep(ctx context.Context, npmCache string, lock []byte) error {
	from, err := os.OpenRoot(npmCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping downloads: %w", err)
	}
	defer from.Close()
	// Both the lock file and the cache are the client's code's: it is not to fill the disk
	// between two sweeps.
	left := s.limit
	for _, of := range sums(lock) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.keep(from, of, &left); err != nil {
			return fmt.Errorf("keeping downloads: %w", err)
		}
	}
	if err := s.keepAnswers(ctx, from, unplaced(lock), &left); err != nil {
		return err
	}
	return s.sweep()
}

// keep takes one file, if the cache has it, it is right, and of the bytes that are left it
// needs no more, which it takes from them.
func (s *Store) keep(from *os.Root, of sum, left *int64) error {
	// A pipe of that name is not waited for.
	in, err := from.OpenFile(of.cached(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		// It is not there, or is the link that was lent, which leads out.
		now := time.Now()
		_ = os.Chtimes(s.path(of), now, now)
		return nil
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > *left || s.has(of, info.Size()) {
		return nil
	}
	size := info.Size()
	*left -= max(size, leastSize)
	if err := os.MkdirAll(filepath.Dir(s.path(of)), 0o755); err != nil {
		return err
	}
	out, err := s.create()
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // it is not there any more if all goes well
	h := sha512.New()
	_, err = io.Copy(out, io.TeeReader(io.LimitReader(in, size), h))
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != string(of) {
		return nil
	}
	return os.Rename(out.Name(), s.path(of))
}

// create makes a file that gets its name when it is whole.
func (s *Store) create() (*os.File, error) {
	aside := filepath.Join(s.dir, newName)
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return nil, err
	}
	return os.CreateTemp(aside, "")
}

// has reports whether a file is here whole. One that npm had to download once more, though
// it was lent, was not.
func (s *Store) has(of sum, size int64) bool {
	f, err := os.Open(s.path(of))
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return false
	}
	h := sha512.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == string(of)
}

// sweep removes what is beyond the limit, and what killed processes left behind.
func (s *Store) sweep() error {
	type file struct {
		path string
		at   time.Time
		size int64
	}
	var all []file
	orphans := time.Now().Add(-orphanAge)
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		f := file{path, info.ModTime(), max(info.Size(), leastSize)}
		if filepath.Base(filepath.Dir(path)) != newName {
			all = append(all, f)
		} else if f.at.Before(orphans) {
			return ignoreGone(os.Remove(path))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sweeping downloads: %w", err)
	}
	slices.SortFunc(all, func(a, b file) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.path, b.path)) })
	var bytes int64
	for _, f := range all {
		if bytes += f.size; bytes <= s.limit {
			continue
		}
		if err := ignoreGone(os.Remove(f.path)); err != nil {
			return fmt.Errorf("sweeping downloads: %w", err)
		}
	}
	return nil
}

// ignoreGone forgives that another process removed something first.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
