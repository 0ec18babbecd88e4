package steps

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/runas"
)

// TestModulesOnAnotherVolume has the workspace on another one than containerboot's own
// folder, so that node_modules cannot be moved there. They are its user's all the same.
func TestModulesOnAnotherVolume(t *testing.T) {
	t.Parallel()
	workspace := t.TempDir()
	private := "/dev/shm/containerboot-test-" + rand.Text()
	err := os.Mkdir(private, 0o700)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(private)) })
	if err != nil || volume(t, private) == volume(t, workspace) {
		t.Log("this takes a second volume, at /dev/shm")
		return
	}
	owner := os.Getuid()
	var user *runas.User
	if owner == 0 {
		owner = 64123
		user, err = runas.Find("64123:64124")
		require.NoError(t, err)
		require.NoError(t, os.Chmod(private, 0o711))
		require.NoError(t, os.Chmod(filepath.Dir(workspace), 0o711))
		require.NoError(t, user.Give(workspace))
	}
	cached := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(cached, "node_modules", ".bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(cached, "node_modules", "tool.js"), []byte("tool"), 0o755))
	require.NoError(t, os.Symlink("../tool.js", filepath.Join(cached, "node_modules", ".bin", "tool")))
	top := filepath.Join(private, "top")
	require.NoError(t, os.Mkdir(top, 0o700))

	b := New(Config{Workspace: workspace, Private: private, CacheDir: t.TempDir(), User: user, Log: zap.NewNop()})
	to := filepath.Join(workspace, "node_modules")
	require.NoError(t, b.placeFolder(t.Context(), to, top, filepath.Join(cached, "node_modules")))
	data, err := os.ReadFile(filepath.Join(to, ".bin", "tool"))
	require.NoError(t, err)
	assert.Equal(t, "tool", string(data))
	require.NoError(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		assert.EqualValues(t, owner, info.Sys().(*syscall.Stat_t).Uid, path)
		return nil
	}))
	left, err := os.ReadDir(top)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// volume tells one volume from another.
func volume(t *testing.T, dir string) uint64 {
	t.Helper()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	return uint64(info.Sys().(*syscall.Stat_t).Dev) //nolint:unconvert // it is an int32 elsewhere
}
