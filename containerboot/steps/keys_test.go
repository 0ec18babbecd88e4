package steps

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/runas"
)

// TestInputs has files of environment variables that are of all kinds.
func TestInputs(t *testing.T) {
	t.Parallel()
	workspace := t.TempDir()
	b := New(Config{Workspace: workspace, CacheDir: t.TempDir(), Log: zap.NewNop()})
	inputs := func() string {
		t.Helper()
		key, err := b.Inputs("tree")
		require.NoError(t, err)
		return key
	}
	env := filepath.Join(workspace, ".env")
	assert.Equal(t, "tree", inputs())

	require.NoError(t, os.WriteFile(env, []byte("A=1"), 0o644))
	one := inputs()
	require.NoError(t, os.WriteFile(env, []byte("A=2"), 0o644))
	assert.NotContains(t, []string{"tree", one}, inputs())

	require.NoError(t, os.Remove(env))
	require.NoError(t, os.MkdirAll(filepath.Join(env, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(env, "bin", "python"), nil, 0o755))
	assert.Equal(t, "tree", inputs(), "a folder")

	require.NoError(t, os.RemoveAll(env))
	require.NoError(t, syscall.Mkfifo(env, 0o644))
	assert.Equal(t, "tree", inputs(), "a pipe")

	require.NoError(t, os.Remove(env))
	require.NoError(t, os.Symlink(env, env))
	assert.Equal(t, "tree", inputs(), "a link to itself")

	other := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(other, []byte("A=1"), 0o600))
	require.NoError(t, os.Remove(env))
	require.NoError(t, os.Symlink(other, env))
	assert.Equal(t, one, inputs(), "a link, which the build follows")
	if os.Getuid() == 0 {
		user, err := runas.Find("64123:64124")
		require.NoError(t, err)
		require.NoError(t, os.Chmod(filepath.Dir(workspace), 0o711))
		require.NoError(t, user.Give(workspace))
		b.cfg.User = user
		assert.Equal(t, "tree", inputs(), "a link, which the build cannot follow")
		b.cfg.User = nil
	}

	require.NoError(t, os.Remove(env))
	require.NoError(t, os.WriteFile(env, nil, 0o644))
	require.NoError(t, os.Truncate(env, 1<<40))
	_, err := b.Inputs("tree")
	require.EqualError(t, err, "The .env files of this site cannot be read.")
	var f *Error
	require.ErrorAs(t, err, &f)
	assert.Equal(t, bootapi.PhaseInstalling, f.Phase)
}

// TestPluginsAreInputs are Yarn's, which lie in a folder for each scope.
func TestPluginsAreInputs(t *testing.T) {
	t.Parallel()
	workspace := t.TempDir()
	b := New(Config{Workspace: workspace, CacheDir: t.TempDir(), Log: zap.NewNop()})
	plugins := filepath.Join(workspace, ".yarn", "plugins", "@yarnpkg")
	require.NoError(t, os.MkdirAll(plugins, 0o755))
	var seen [][]string
	for _, content := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(filepath.Join(plugins, "plugin-a.cjs"), []byte(content), 0o644))
		sums, err := b.settingsOf(".")
		require.NoError(t, err)
		seen = append(seen, sums)
	}
	assert.NotEqual(t, seen[0], seen[1])
}
