package worktree_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWorkspaceBelongsToItsUser gives the workspace to another user where it may, else to
// this one, and uses it as that user.
func TestWorkspaceBelongsToItsUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	user := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
	if user.Uid == 0 {
		user.Uid, user.Gid = 65534, 65534
		require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(r.remote)), 0o755))
	}
	user.NoSetGroups = os.Getuid() != 0
	r.cfg.RunAs = user
	asUser := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = r.cfg.Dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "HOME=/")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
		return string(out)
	}
	owned := func() {
		t.Helper()
		require.NoError(t, filepath.WalkDir(r.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := d.Info()
			require.NoError(t, err)
			assert.Equal(t, user.Uid, info.Sys().(*syscall.Stat_t).Uid, path)
			return nil
		}))
	}

	r.withTheme()
	w := r.prepared()
	owned()
	assert.Empty(t, asUser("status", "--porcelain"))
	asUser("commit", "-q", "--allow-empty", "-m", "the user's own")
	r.write("dirty.txt", "dirty")
	require.NoError(t, os.Lchown(filepath.Join(r.cfg.Dir, "dirty.txt"), int(user.Uid), int(user.Gid)))
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Contains(t, git(t, r.remote, "log", "--format=%s", editBranch), "the user's own")
	owned()

	r.commitElsewhere(editBranch, "new/dir/file.txt", "new")
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
	owned()
	assert.Empty(t, asUser("status", "--porcelain"))

	newer := r.repository("theme.git", map[string]string{"new/theme.css": "newer"})
	dir := t.TempDir()
	git(t, "/", "clone", "-q", "-b", editBranch, r.remote, dir)
	git(t, dir, "update-index", "--cacheinfo", "160000,"+newer+",packages/theme")
	git(t, dir, "commit", "-qm", "a newer theme")
	git(t, dir, "push", "-q", "origin", editBranch)
	changed, err = w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, "newer", r.read("packages/theme/new/theme.css"))
	owned()

	info, err := os.Stat(r.cfg.GitDir)
	require.NoError(t, err)
	assert.Equal(t, uint32(os.Getuid()), info.Sys().(*syscall.Stat_t).Uid)
}
