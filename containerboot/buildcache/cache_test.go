package buildcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asWriter makes the test's binary write into a cache until it is killed.
const asWriter = "BUILDCACHE_TEST_DIRS"

func TestMain(m *testing.M) {
	if dirs := filepath.SplitList(os.Getenv(asWriter)); len(dirs) == 2 {
		c := New(dirs[0], Limits{Entries: 100, Bytes: 1 << 30})
		for {
			if _, err := c.Put(context.Background(), "key", dirs[1], PutOptions{Replace: true}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			if err := c.Sweep(); err != nil {
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// folder makes a folder of files: path → content.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

func newCache(t *testing.T) *Cache {
	t.Helper()
	return New(filepath.Join(t.TempDir(), "cache"), Limits{Entries: 10, Bytes: 1 << 20})
}

func read(t *testing.T, e *Entry, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.Dir(), name))
	require.NoError(t, err)
	return string(data)
}

func put(t *testing.T, c *Cache, key, content string, o PutOptions) *Entry {
	t.Helper()
	e, err := c.Put(t.Context(), key, folder(t, map[string]string{"index.html": content}), o)
	require.NoError(t, err)
	t.Cleanup(e.Release)
	return e
}

func get(t *testing.T, c *Cache, key string) *Entry {
	t.Helper()
	e, err := c.Get(key)
	require.NoError(t, err)
	t.Cleanup(e.Release)
	return e
}

func TestPutAndGet(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	_, err := c.Get("k")
	require.ErrorIs(t, err, ErrMiss)
	src := folder(t, map[string]string{"index.html": "hello", "a/b/c.txt": "deep", "empty": ""})
	require.NoError(t, os.Chmod(filepath.Join(src, "empty"), 0o755))
	e, err := c.Put(t.Context(), "k", src, PutOptions{})
	require.NoError(t, err)
	defer e.Release()
	require.NoError(t, os.WriteFile(filepath.Join(src, "index.html"), []byte("changed"), 0o644))

	g := get(t, c, "k")
	assert.Equal(t, e.Dir(), g.Dir())
	assert.Equal(t, "hello", read(t, g, "index.html"))
	assert.Equal(t, "deep", read(t, g, "a/b/c.txt"))
	info, err := os.Stat(filepath.Join(g.Dir(), "empty"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	_, err = c.Get("other")
	require.ErrorIs(t, err, ErrMiss)
}

func TestFirstWriterWins(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	const writers = 8
	var wg sync.WaitGroup
	dirs := make([]string, writers)
	for i := range writers {
		src := folder(t, map[string]string{"index.html": fmt.Sprint(i)})
		wg.Go(func() {
			e, err := c.Put(t.Context(), "k", src, PutOptions{})
			if assert.NoError(t, err) {
				dirs[i] = e.Dir()
				e.Release()
			}
		})
	}
	wg.Wait()
	for _, d := range dirs {
		assert.Equal(t, dirs[0], d)
	}
	names, err := c.names("k")
	require.NoError(t, err)
	assert.Len(t, names, 1)
	left, err := os.ReadDir(filepath.Join(c.dir, asideName))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestReplace(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	old := put(t, c, "k", "old", PutOptions{})
	put(t, c, "k", "new", PutOptions{Replace: true})
	assert.Equal(t, "new", read(t, get(t, c, "k"), "index.html"))
	assert.Equal(t, "old", read(t, old, "index.html"), "who serves the old one still does")
	c.now = func() time.Time { return time.Now().Add(-time.Hour) }
	put(t, c, "k", "newest", PutOptions{Replace: true})
	assert.Equal(t, "newest", read(t, get(t, c, "k"), "index.html"), "whatever the clock says")
}

// TestBrokenEntriesAreNeverUsed damages an entry as a crash of the machine could.
func TestBrokenEntriesAreNeverUsed(t *testing.T) {
	t.Parallel()
	damage := map[string]func(dir string) error{
		"a file cut short": func(dir string) error { return os.Truncate(filepath.Join(dir, filesName, "index.html"), 0) },
		"a file missing":   func(dir string) error { return os.Remove(filepath.Join(dir, filesName, "index.html")) },
		"a file too many":  func(dir string) error { return os.WriteFile(filepath.Join(dir, filesName, "x"), nil, 0o644) },
		"no marker":        func(dir string) error { return os.Remove(filepath.Join(dir, markerName)) },
		"an empty marker":  func(dir string) error { return os.Truncate(filepath.Join(dir, markerName), 0) },
		"no files":         func(dir string) error { return os.RemoveAll(filepath.Join(dir, filesName)) },
		"another key's": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, markerName), []byte(`{"key":"z","files":1,"bytes":5}`), 0o644)
		},
		"a foreign version": func(dir string) error { return os.WriteFile(filepath.Join(dir, markerName), []byte(`[]`), 0o644) },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t)
			e := put(t, c, "k", "hello", PutOptions{})
			e.Release()
			require.NoError(t, f(e.dir))
			_, err := c.Get("k")
			require.ErrorIs(t, err, ErrMiss)
			assert.NoDirExists(t, e.dir, "it makes room for a whole one")
			put(t, c, "k", "again", PutOptions{})
			assert.Equal(t, "again", read(t, get(t, c, "k"), "index.html"))
		})
	}
}

// TestLinksInThePlaceOfAnEntry puts links to an equal one where an entry was, or a part of it.
func TestLinksInThePlaceOfAnEntry(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{"entry": "", "files": filesName, "file": filesName + "/index.html", "marker": markerName, "lock": lockName} {
		for kind, files := range map[string]map[string]string{"a site": {"index.html": "hello"}, "nothing": {}} {
			if name == "file" && len(files) == 0 {
				continue
			}
			t.Run(name+" of "+kind, func(t *testing.T) {
				t.Parallel()
				c, other := newCache(t), newCache(t)
				src := folder(t, files)
				var dirs []string
				for _, c := range []*Cache{c, other} {
					e, err := c.Put(t.Context(), "k", src, PutOptions{})
					require.NoError(t, err)
					e.Release()
					dirs = append(dirs, e.dir)
				}
				require.NoError(t, os.RemoveAll(filepath.Join(dirs[0], part)))
				require.NoError(t, os.Symlink(filepath.Join(dirs[1], part), filepath.Join(dirs[0], part)))
				_, err := c.Get("k")
				require.ErrorIs(t, err, ErrMiss)
				_, err = os.Lstat(dirs[0])
				require.ErrorIs(t, err, os.ErrNotExist, "it makes room for a whole one")
				get(t, other, "k")
			})
		}
	}
}

// TestLinkTooMany adds one to a site, of which none were kept.
func TestLinkTooMany(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	e := put(t, c, "k", "hello", PutOptions{})
	e.Release()
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(e.Dir(), "host")))
	_, err := c.Get("k")
	require.ErrorIs(t, err, ErrMiss)
}

func TestEviction(t *testing.T) {
	t.Parallel()
	c := New(filepath.Join(t.TempDir(), "cache"), Limits{Entries: 3, Bytes: 1 << 20})
	now := time.Now()
	c.now = func() time.Time { now = now.Add(time.Minute); return now }
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		put(t, c, key, "12345", PutOptions{}).Release()
		get(t, c, key).Release()
	}
	held := get(t, c, "b")
	get(t, c, "c").Release() // used again: c, b, e, d, a from now on
	require.NoError(t, c.Sweep())
	for key, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false, "e": true} {
		e, err := c.Get(key)
		assert.Equal(t, want, err == nil, key)
		if err == nil {
			e.Release()
		}
	}

	c.limits = Limits{Entries: 1, Bytes: 1}
	get(t, c, "e").Release()
	require.NoError(t, c.Sweep())
	assert.Equal(t, "12345", read(t, held, "index.html"), "never one in use")
	get(t, c, "e").Release() // nor the newest, however large
	_, err := c.Get("c")
	require.ErrorIs(t, err, ErrMiss)
}

func TestEvictionByBytes(t *testing.T) {
	t.Parallel()
	c := New(filepath.Join(t.TempDir(), "cache"), Limits{Entries: 10, Bytes: 12})
	now := time.Now()
	c.now = func() time.Time { now = now.Add(time.Minute); return now }
	for _, key := range []string{"a", "b", "c"} {
		put(t, c, key, "12345", PutOptions{}).Release()
		get(t, c, key).Release()
	}
	require.NoError(t, c.Sweep())
	_, err := c.Get("a")
	require.ErrorIs(t, err, ErrMiss)
	get(t, c, "b").Release()
	get(t, c, "c").Release()
}

// TestKilledWriters kills processes in the middle of writing: what is in the cache is
// whole, and what they left behind is swept.
func TestKilledWriters(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("%d/f.txt", i)] = "content"
	}
	src := folder(t, files)
	for i := range 10 {
		w := exec.Command(os.Args[0])
		w.Env = append(os.Environ(), asWriter+"="+c.dir+string(filepath.ListSeparator)+src)
		require.NoError(t, w.Start())
		require.Eventually(t, func() bool {
			names, err := c.names("key")
			return err == nil && len(names) > i
		}, time.Minute, time.Millisecond)
		require.NoError(t, w.Process.Kill())
		_ = w.Wait()

		is, err := measure(get(t, c, "key").Dir())
		require.NoError(t, err)
		assert.Equal(t, content{Files: 200, Bytes: int64(200 * len("content"))}, is)
	}
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	require.NoError(t, c.Sweep())
	left, err := os.ReadDir(filepath.Join(c.dir, asideName))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestSweepLeavesWritersAlone(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	aside, err := c.aside()
	require.NoError(t, err)
	e, err := c.make(t.Context(), aside, "k", folder(t, map[string]string{"x": "y"}), PutOptions{})
	require.NoError(t, err)
	other := New(c.dir, c.limits)
	other.now = func() time.Time { return time.Now().Add(time.Hour) }
	require.NoError(t, other.Sweep())
	_, err = c.commit(e, false)
	require.NoError(t, err)
	assert.Equal(t, "y", read(t, get(t, other, "k"), "x"))
}

func TestLinks(t *testing.T) {
	t.Parallel()
	secret := folder(t, map[string]string{"secret": "s"})
	src := folder(t, map[string]string{"real.txt": "real", "sub/x": "x"})
	for name, target := range map[string]string{
		"inside":       "real.txt",
		"inside-abs":   filepath.Join(src, "real.txt"),
		"outside":      filepath.Join(secret, "secret"),
		"up":           "../../../../../../etc/passwd",
		"dangling":     "nothing",
		"folder":       "sub",
		"folder-above": secret,
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(src, name)))
	}

	served := filepath.Join(t.TempDir(), "served")
	require.NoError(t, CopyTree(t.Context(), served, src, false))
	entries, err := os.ReadDir(served)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		assert.Zero(t, e.Type()&os.ModeSymlink, e.Name())
	}
	assert.Equal(t, []string{"inside", "real.txt", "sub"}, names)

	kept := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, CopyTree(t.Context(), kept, src, true))
	target, err := os.Readlink(filepath.Join(kept, "up"))
	require.NoError(t, err)
	assert.Equal(t, "../../../../../../etc/passwd", target)
}

// TestLinksMadeMeanwhile has another process swap files for links, and for a pipe that
// nobody writes to, while they are copied.
func TestLinksMadeMeanwhile(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(folder(t, map[string]string{"secret": "outside"}), "secret")
	src := folder(t, map[string]string{"a": "inside"})
	ctx, stop := context.WithCancel(t.Context())
	var swapping sync.WaitGroup
	swapping.Go(func() {
		path := filepath.Join(src, "a")
		for i := 0; ctx.Err() == nil; i++ {
			made := filepath.Join(src, fmt.Sprint("new", i))
			switch i % 3 {
			case 0:
				_ = os.Symlink(secret, made)
			case 1:
				_ = syscall.Mkfifo(made, 0o600)
			default:
				_ = os.WriteFile(made, []byte("inside"), 0o600)
			}
			_ = os.Rename(made, path)
		}
	})
	copies := t.TempDir()
	for i := range 1000 {
		to := filepath.Join(copies, fmt.Sprint(i))
		if CopyTree(ctx, to, src, false) == nil {
			got, err := os.ReadFile(filepath.Join(to, "a"))
			if err == nil && string(got) != "" {
				require.Equal(t, "inside", string(got), "try %d", i)
			}
		}
	}
	stop()
	swapping.Wait()
}

// TestCopyEndsEarly ends a copy before its end: nothing of it is in the cache.
func TestCopyEndsEarly(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("put to sleep")
	cancel(why)
	_, err := c.Put(ctx, "k", folder(t, map[string]string{"a": "x"}), PutOptions{})
	require.ErrorIs(t, err, why)
	_, err = c.Get("k")
	require.ErrorIs(t, err, ErrMiss)
	left, err := os.ReadDir(filepath.Join(c.dir, asideName))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestHolesStayHoles copies files that seem to be larger than any disk.
func TestHolesStayHoles(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // elsewhere they are filled
	}
	const size = 1 << 40
	src, dst := folder(t, map[string]string{"hole": "", "parts": "begin"}), filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.Truncate(filepath.Join(src, "hole"), size))
	f, err := os.OpenFile(filepath.Join(src, "parts"), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("middle"), size/2)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("end"), size-3)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, CopyTree(t.Context(), dst, src, false))

	for _, name := range []string{"hole", "parts"} {
		info, err := os.Stat(filepath.Join(dst, name))
		require.NoError(t, err)
		assert.EqualValues(t, size, info.Size())
		assert.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20))
	}
	f, err = os.Open(filepath.Join(dst, "parts"))
	require.NoError(t, err)
	defer f.Close()
	for at, want := range map[int64]string{0: "begin\x00", size/2 - 1: "\x00middle\x00", size - 4: "\x00end"} {
		got := make([]byte, len(want))
		_, err := f.ReadAt(got, at)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
}

func TestKeysAreOneWord(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	for _, key := range []string{"", "a/b", "..", "a.b"} {
		_, err := c.Put(t.Context(), key, t.TempDir(), PutOptions{})
		require.Error(t, err, key)
	}
	_, err := c.Put(t.Context(), "k", filepath.Join(t.TempDir(), "missing"), PutOptions{})
	require.Error(t, err)
	left, err := os.ReadDir(filepath.Join(c.dir, asideName))
	require.NoError(t, err)
	assert.Empty(t, left)
}
