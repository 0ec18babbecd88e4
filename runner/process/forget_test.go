//go:build unix

package process

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// slept starts a container and stops it in order.
func slept(t *testing.T, r *Runner, id string, epoch int64) string {
	t.Helper()
	c, err := r.Start(t.Context(), request(id, epoch))
	require.NoError(t, err)
	eventuallyLines(t, r.dataDir, id, "starts", int(epoch))
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
	return r.dir(id)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestForgetRemovesTheFolderAndNothingElse(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	dir, other := slept(t, r, "one", 1), slept(t, r, "other", 1)
	outside := filepath.Join(dataDir, "outside")
	write(t, filepath.Join(outside, "file"), "x")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "workspace", "link")))
	// As some tools leave it.
	write(t, filepath.Join(dir, "workspace", "closed", "file"), "x")
	require.NoError(t, os.Chmod(filepath.Join(dir, "workspace", "closed"), 0o500))
	require.NoError(t, os.Symlink(outside, filepath.Join(dataDir, "sessions", "linked")))

	require.NoError(t, r.Forget(t.Context(), "one"))
	assert.NoDirExists(t, dir)
	assert.DirExists(t, other)
	for _, id := range []string{"..", ".", "../outside", "/", "", outside} {
		require.NoError(t, r.Forget(t.Context(), id), id)
	}
	require.Error(t, r.Forget(t.Context(), "linked"))
	found, err := filepath.Glob(filepath.Join(outside, "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(outside, "file")}, found)
	assert.DirExists(t, other)
	left, err := filepath.Glob(filepath.Join(dataDir, "sessions", ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestForgetKeepsWhatMayBeNowhereElse(t *testing.T) {
	for name, lay := range map[string]func(t *testing.T, r *Runner, dir string){
		"a bundle": func(t *testing.T, r *Runner, _ string) {
			write(t, filepath.Join(r.dataDir, "cache/amelia/bundles/one.bundle"), "x")
		},
		"a bundle set aside": func(t *testing.T, r *Runner, _ string) {
			write(t, filepath.Join(r.dataDir, "cache/amelia/bundles/one.bundle.kept-20260101T000000.000"), "x")
		},
		"a workspace set aside": func(t *testing.T, _ *Runner, dir string) {
			write(t, filepath.Join(dir, "workspace.kept-20260101T000000.000", "file"), "x")
		},
		"a state that nobody can read": func(t *testing.T, _ *Runner, dir string) {
			write(t, filepath.Join(dir, stateName), "{")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, t.TempDir())
			dir := slept(t, r, "one", 1)
			write(t, filepath.Join(r.dataDir, "cache/amelia/bundles/another.bundle"), "x")
			lay(t, r, dir)
			err := r.Forget(t.Context(), "one")
			require.ErrorIs(t, err, sessions.ErrUnsaved)
			require.ErrorContains(t, err, r.dataDir, "it says where")
			assert.DirExists(t, filepath.Join(dir, "workspace"))
		})
	}
}

func TestWorkThatWasNotSavedStaysSoUntilItIs(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	c, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "one", "starts", 1)
	crash(t, r, c)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "crashed"))
	require.ErrorIs(t, r.Forget(t.Context(), "one"), sessions.ErrUnsaved)

	// One that is stopped before it has looked at the workspace has saved nothing.
	dir := slept(t, r, "one", 2)
	require.ErrorIs(t, r.Forget(t.Context(), "one"), sessions.ErrUnsaved)
	require.NoError(t, r.Close(t.Context()))
	r = newRunner(t, dataDir)
	require.ErrorIs(t, r.Forget(t.Context(), "one"), sessions.ErrUnsaved, "another edge knows it, too")

	_, err = r.Start(t.Context(), request("one", 3))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "one", "starts", 3)
	write(t, filepath.Join(dir, "git", "index"), "as a save leaves it")
	require.NoError(t, r.Stop(t.Context(), stateOf(t, dataDir, "one").ref(), "idle"))
	require.NoError(t, r.Forget(t.Context(), "one"))
	assert.NoDirExists(t, dir)
}

func TestForgetAfterTheEdgeWasKilled(t *testing.T) {
	dataDir := t.TempDir()
	kill(startEdge(t, dataDir, "slow"))
	r := newRunner(t, dataDir)
	require.Error(t, r.Forget(t.Context(), "slow"), "it is still saving")
	old := stateOf(t, dataDir, "slow")
	require.True(t, old.alive())
	release(t, dataDir, "slow")
	require.NoError(t, r.Stop(t.Context(), old.ref(), "deleted"))
	require.ErrorIs(t, r.Forget(t.Context(), "slow"), sessions.ErrUnsaved, "nobody saw how it ended")
}

func TestHalfForgottenFoldersGoAtTheNextStart(t *testing.T) {
	dataDir := t.TempDir()
	half := filepath.Join(dataDir, "sessions", forgotten+"one")
	write(t, filepath.Join(half, "workspace", "file"), "x")
	r := newRunner(t, dataDir)
	require.Eventually(t, func() bool {
		_, err := os.Lstat(half)
		return os.IsNotExist(err)
	}, patience, 5*time.Millisecond)
	kept, err := r.Kept(t.Context())
	require.NoError(t, err)
	assert.Empty(t, kept)
}
