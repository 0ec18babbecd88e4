package worktree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// other gives the workspace to a user of its own, where that can be done.
func (r *rig) other() (can bool) {
	r.t.Helper()
	if os.Getuid() != 0 {
		return false
	}
	require.NoError(r.t, os.Chmod(filepath.Dir(filepath.Dir(r.remote)), 0o755))
	r.cfg.RunAs = &syscall.Credential{Uid: 65534, Gid: 65534}
	return true
}

// swap exchanges a folder of the workspace with a link again and again, as the client's
// code may, until stop is called; then each is where it was.
func (r *rig) swap(folder, target string) (stop func()) {
	r.t.Helper()
	folder, link := filepath.Join(r.cfg.Dir, folder), filepath.Join(filepath.Dir(r.remote), "link")
	require.NoError(r.t, os.Symlink(target, link))
	var stopped atomic.Bool
	var running sync.WaitGroup
	running.Go(func() {
		for swapped := false; !stopped.Load() || swapped; {
			ending := stopped.Load()
			err := unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			switch {
			case err == nil:
				swapped = !swapped
			case err == unix.ENOENT && !ending: // git takes a link away that is in its way
			case err == unix.ENOENT:
				assert.NoError(r.t, os.Rename(link, folder))
				return
			default:
				assert.NoError(r.t, err)
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		stopped.Store(true)
		running.Wait()
	})
}

// TestAFolderThatBecomesALinkIsNotReadThrough has a link to secrets take the place of a
// folder whose files are saved.
func TestAFolderThatBecomesALinkIsNotReadThrough(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if !r.other() {
		return // the client's code may read all that this user may
	}
	w := r.prepared()
	const secret = "what nobody but this process may ever read"
	secrets := filepath.Join(filepath.Dir(r.remote), "session", "secrets")
	require.NoError(t, os.Mkdir(secrets, 0o700))
	name := func(i int) string { return fmt.Sprintf("file%d.txt", i) }
	for i := range 20 {
		write(t, secrets, name(i), secret)
		r.write("bait/"+name(i), strings.Repeat("x", len(secret)))
	}
	stop := r.swap("bait", secrets)
	defer stop()
	for round := range 6 {
		r.write("round.txt", strconv.Itoa(round))
		_, _ = w.Save(t.Context(), "") // what it finds may not be what it reads
		objects := git(t, r.cfg.GitDir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
		for line := range strings.Lines(objects) {
			if name, ok := strings.CutSuffix(strings.TrimSpace(line), fmt.Sprintf(" blob %d", len(secret))); ok {
				require.NotEqual(t, secret, git(t, r.cfg.GitDir, "cat-file", "blob", name))
			}
		}
	}
	stop()
	r.write("bait/"+name(0), "at rest")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "at rest", r.remoteFile(editBranch, "bait/"+name(0)))
}

// TestAFolderThatBecomesALinkIsNotWrittenInto has a link to another folder take the place
// of one which the remote's newer files are written into.
func TestAFolderThatBecomesALinkIsNotWrittenInto(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if !r.other() {
		return // the client's code may write wherever this user may
	}
	w := r.prepared()
	victim := filepath.Join(filepath.Dir(r.remote), "session", "victim")
	require.NoError(t, os.Mkdir(victim, 0o755))
	stop := r.swap("src/pages", victim)
	defer stop()
	for i := range 6 {
		r.commitElsewhere(editBranch, fmt.Sprintf("src/pages/new%d.astro", i), "newer")
		_, _ = w.SyncRemote(t.Context()) // what it finds may not be what it writes to
		planted, err := os.ReadDir(victim)
		require.NoError(t, err)
		require.Empty(t, planted)
	}
	stop()
	_, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.NotEqual(t, "bundle", res.Where, res.Error)
}
