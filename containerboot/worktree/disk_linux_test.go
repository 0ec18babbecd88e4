package worktree_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/webordinary/router/containerboot/worktree"
)

// canMount reports whether this process may mount file systems, which takes root outside of
// a container, and says so where it may not.
func canMount(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("not tested: it takes the right to mount a small file system: %v", err)
		return false
	}
	require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH))
	return true
}

// onSmallDisk moves the session's folders to a file system of so many MiB; resize gives it
// another size.
func (r *rig) onSmallDisk(size string) (resize func(size string)) {
	r.t.Helper()
	dir := r.t.TempDir()
	mount := func(flags uintptr, size string) {
		require.NoError(r.t, unix.Mount("tmpfs", dir, "tmpfs", flags, "size="+size+"m"))
	}
	mount(0, size)
	r.t.Cleanup(func() { assert.NoError(r.t, unix.Unmount(dir, unix.MNT_DETACH)) })
	r.cfg.Dir, r.cfg.GitDir = filepath.Join(dir, "workspace"), filepath.Join(dir, "git")
	return func(size string) { mount(unix.MS_REMOUNT, size) }
}

// requireDiskFull requires an error that says so and is not for trying again at once.
func (r *rig) requireDiskFull(err error) {
	r.t.Helper()
	var e *worktree.Error
	require.ErrorAs(r.t, err, &e)
	require.Equal(r.t, "The disk is full.", e.Cause, e.Detail)
	assert.True(r.t, e.Retryable, "there may be room later")
	assert.NotContains(r.t, r.log.String(), "Trying again")
}

func TestACloneThatFillsTheDisk(t *testing.T) {
	t.Parallel()
	if !canMount(t) {
		return
	}
	// In the middle of what is received, and of what is checked out.
	for name, size := range map[string]string{"receiving": "3", "checking out": "7"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.weigh()
			resize := r.onSmallDisk(size)
			_, err := r.open().Prepare(t.Context())
			r.requireDiskFull(err)
			left, err := os.ReadDir(filepath.Dir(r.cfg.Dir))
			require.NoError(t, err)
			assert.Empty(t, left, "what was begun makes room for others")

			resize("40")
			r.prepared()
			assert.Len(t, r.read("photo.jpg"), 4<<20)
		})
	}
}

func TestAFullDiskLeavesASessionWhole(t *testing.T) {
	t.Parallel()
	if !canMount(t) {
		return
	}
	r := newRig(t)
	resize := r.onSmallDisk("6")
	w := r.prepared()
	files := func() map[string]string {
		all := map[string]string{}
		require.NoError(t, filepath.WalkDir(r.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			if d.Name() == ".git" {
				return filepath.SkipDir
			}
			if d.Type().IsRegular() {
				all[path] = fmt.Sprintf("%x", sha256.Sum256([]byte(content(t, path))))
			}
			return nil
		}))
		return all
	}
	before := files()
	r.weigh()
	changed, err := w.SyncRemote(t.Context())
	r.requireDiskFull(err)
	assert.False(t, changed)
	assert.Equal(t, before, files())
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))

	// An editor's file fits, and so does nothing beside it.
	r.write("ours.txt", strings.Repeat("ours", 10_000))
	filler := filepath.Join(filepath.Dir(r.cfg.Dir), "filler")
	require.Error(t, os.WriteFile(filler, make([]byte, 8<<20), 0o600))
	_, err = w.Save(t.Context(), "")
	r.requireDiskFull(err)
	assert.Equal(t, strings.Repeat("ours", 10_000), r.read("ours.txt"))
	require.NoError(t, os.Remove(filler))

	w = r.prepared()
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, strings.Repeat("ours", 10_000), r.remoteFile(editBranch, "ours.txt"))

	resize("40")
	r.commitElsewhere(editBranch, "photo2.jpg", "small")
	changed, err = w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
}

// TestOnlyTheLastStateIsFetched: the size of a repository is mostly its past.
func TestOnlyTheLastStateIsFetched(t *testing.T) {
	t.Parallel()
	if !canMount(t) {
		return
	}
	onServers(t, func(t *testing.T, s served) {
		s.weigh()
		s.commitElsewhere("main", "photo.jpg", "smaller")
		s.onSmallDisk("3")
		s.prepared()
		assert.Equal(t, "smaller", s.read("photo.jpg"))
	})
}
