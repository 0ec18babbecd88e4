package downloads

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sumOf(content string) sum {
	h := sha512.Sum512([]byte(content))
	return sum(hex.EncodeToString(h[:]))
}

// lockOf is what matters of a lock file that names files of some contents.
func lockOf(contents ...string) []byte {
	var b strings.Builder
	for _, c := range contents {
		h := sha512.Sum512([]byte(c))
		fmt.Fprintf(&b, "\"integrity\": \"sha512-%s\",\n", base64.StdEncoding.EncodeToString(h[:]))
	}
	return []byte(b.String())
}

// cacheOf is an npm cache with files of some contents.
func cacheOf(t *testing.T, contents ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, c := range contents {
		put(t, dir, sumOf(c), c)
	}
	return dir
}

func put(t *testing.T, dir string, of sum, content string) string {
	t.Helper()
	path := filepath.Join(dir, of.cached())
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func lend(t *testing.T, s *Store, dir string, lock []byte) int {
	t.Helper()
	n, _, err := s.Lend(dir, lock)
	require.NoError(t, err)
	return n
}

func newStore(t *testing.T, limit int64) *Store {
	t.Helper()
	return New(filepath.Join(t.TempDir(), "downloads"), limit)
}

func TestKeptAndLent(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1<<20)
	assert.Zero(t, lend(t, s, t.TempDir(), lockOf("a")))
	require.NoError(t, s.Keep(t.Context(), filepath.Join(t.TempDir(), "none"), lockOf("a")))
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, "a", "b", "unnamed"), lockOf("a", "b", "a", "missing")))

	next := cacheOf(t, "b")
	assert.Equal(t, 1, lend(t, s, next, lockOf("a", "b", "missing", "unnamed")), "b is its own")
	assert.Equal(t, 1, lend(t, s, next, lockOf("a")), "again")
	got, err := os.ReadFile(filepath.Join(next, sumOf("a").cached()))
	require.NoError(t, err)
	assert.Equal(t, "a", string(got))
	info, err := os.Stat(s.path(sumOf("a")))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm(), "another user reads it")
	require.NoError(t, s.Keep(t.Context(), next, lockOf("a", "b")))
	assert.FileExists(t, s.path(sumOf("a")))
}

// TestNothingButWhatTheLockFileNames has a session's code write lies into its cache.
func TestNothingButWhatTheLockFileNames(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1<<20)
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	put(t, dir, sumOf("poisoned"), "something else")
	link := put(t, dir, sumOf("secret"), "")
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(secret, link))
	pipe := put(t, dir, sumOf("pipe"), "")
	require.NoError(t, os.Remove(pipe))
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	folder := put(t, dir, sumOf("folder"), "")
	require.NoError(t, os.Remove(folder))
	require.NoError(t, os.Mkdir(folder, 0o755))
	endless := put(t, dir, sumOf("endless"), "")
	require.NoError(t, os.Truncate(endless, 1<<40))

	lock := lockOf("poisoned", "secret", "pipe", "folder", "endless")
	require.NoError(t, s.Keep(t.Context(), dir, lock))
	assert.Zero(t, lend(t, s, t.TempDir(), lock))
	left, err := os.ReadDir(filepath.Join(s.dir, newName))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestDamagedIsReplaced has npm download once more what was lent to it in vain.
func TestDamagedIsReplaced(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1<<20)
	lock := lockOf("whole")
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, "whole"), lock))
	for name, damage := range map[string]func(path string) error{
		"cut short": func(path string) error { return os.Truncate(path, 2) },
		"garbage":   func(path string) error { return os.WriteFile(path, []byte("WHOLE"), 0o644) },
		"a link": func(path string) error {
			return os.Rename(link(t, "/etc/hostname"), path)
		},
		"nothing": os.Remove,
	} {
		require.NoError(t, damage(s.path(sumOf("whole"))), name)
		require.NoError(t, s.Keep(t.Context(), cacheOf(t, "whole"), lock), name)
		got, err := os.ReadFile(s.path(sumOf("whole")))
		require.NoError(t, err, name)
		assert.Equal(t, "whole", string(got), name)
	}
}

func link(t *testing.T, to string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(to, path))
	return path
}

// TestLinksToNothing has files leave that a session was lent.
func TestLinksToNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t, 1<<20)
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, "a"), lockOf("a")))
	dir := t.TempDir()
	lend(t, s, dir, lockOf("a"))
	require.NoError(t, os.RemoveAll(s.dir))
	assert.Zero(t, lend(t, s, dir, lockOf("a")))
	require.NoError(t, s.Keep(t.Context(), dir, lockOf("a")))
	assert.NoFileExists(t, s.path(sumOf("a")))
}

func TestBounds(t *testing.T) {
	t.Parallel()
	s := newStore(t, 3*leastSize)
	files := []string{"1111", "2222", "3333"}
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, files...), lockOf(files...)))
	long := time.Now().Add(-2 * orphanAge)
	for _, f := range files {
		require.NoError(t, os.Chtimes(s.path(sumOf(f)), long, long))
	}
	for name, at := range map[string]time.Time{"old": long, "young": time.Now()} {
		path := filepath.Join(s.dir, newName, name)
		require.NoError(t, os.WriteFile(path, make([]byte, 100), 0o600))
		require.NoError(t, os.Chtimes(path, at, at))
	}
	using := t.TempDir()
	lend(t, s, using, lockOf("1111"))
	require.NoError(t, s.Keep(t.Context(), using, lockOf("1111"))) // it was used
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, "4444"), lockOf("4444")))
	assert.FileExists(t, s.path(sumOf("1111")))
	assert.FileExists(t, s.path(sumOf("4444")))
	left := 0
	for _, f := range files[1:] {
		if _, err := os.Stat(s.path(sumOf(f))); err == nil {
			left++
		}
	}
	assert.Equal(t, 1, left)
	assert.NoFileExists(t, filepath.Join(s.dir, newName, "old"))
	assert.FileExists(t, filepath.Join(s.dir, newName, "young"))
}

// TestOneSessionFillsTheStore keeps no more of a session than there is room for, ever.
func TestOneSessionFillsTheStore(t *testing.T) {
	t.Parallel()
	s := newStore(t, 3*leastSize)
	var files []string
	for i := range 10 {
		files = append(files, fmt.Sprint("file ", i))
	}
	require.NoError(t, s.Keep(t.Context(), cacheOf(t, files...), lockOf(files...)))
	for i, of := range sums(lockOf(files...)) {
		assert.Equal(t, i < 3, isFile(s.path(of)), "the first in the order of their sums, not the last")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t, 5*leastSize)
	var files []string
	for i := range 20 {
		files = append(files, fmt.Sprint("file ", i))
	}
	lock := lockOf(files...)
	var all sync.WaitGroup
	for range 6 {
		dir := cacheOf(t, files...)
		all.Go(func() {
			for range 5 {
				if _, _, err := s.Lend(t.TempDir(), lock); !assert.NoError(t, err) {
					return
				}
				if !assert.NoError(t, New(s.dir, s.limit).Keep(t.Context(), dir, lock)) {
					return
				}
			}
		})
	}
	all.Wait()
	for _, f := range files {
		if got, err := os.ReadFile(s.path(sumOf(f))); err == nil {
			assert.Equal(t, f, string(got))
		}
	}
}
