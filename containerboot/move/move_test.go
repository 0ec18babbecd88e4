package move_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/move"
)

// world is a workspace, and a folder beside it with what is somebody else's.
func world(t *testing.T) (work *os.Root, inside, outside string) {
	t.Helper()
	top := t.TempDir()
	inside, outside = filepath.Join(top, "workspace"), filepath.Join(top, "outside")
	require.NoError(t, os.MkdirAll(filepath.Join(inside, "site", "dist"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(outside, "dist"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(inside, "site", "dist", "page"), []byte("page"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(outside, "dist", "key"), []byte("secret"), 0o600))
	work, err := os.OpenRoot(inside)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, work.Close()) })
	return work, inside, outside
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	work, inside, outside := world(t)
	aside := filepath.Join(outside, "aside")
	require.NoError(t, move.Out(work, aside, "site/dist"))
	assert.NoDirExists(t, filepath.Join(inside, "site", "dist"))
	assert.FileExists(t, filepath.Join(aside, "page"))
	require.NoError(t, move.In(work, aside, "top/"+"../dist/"), "the workspace's own folder")
	assert.FileExists(t, filepath.Join(inside, "dist", "page"))
	require.ErrorIs(t, move.Out(work, aside, "missing"), fs.ErrNotExist)
	require.ErrorIs(t, move.Out(work, aside, "missing/dist"), fs.ErrNotExist)
	require.NoError(t, os.Mkdir(aside, 0o755))
	require.ErrorIs(t, move.In(work, aside, "dist"), fs.ErrExist, "something is there")
	require.ErrorIs(t, move.In(work, aside, "dist/page/x"), syscall.ENOTDIR)
}

// TestAFolderThatWasSwapped leads nowhere, in both directions.
func TestAFolderThatWasSwapped(t *testing.T) {
	t.Parallel()
	work, inside, outside := world(t)
	require.NoError(t, os.Rename(filepath.Join(inside, "site"), filepath.Join(inside, "was")))
	for _, to := range []string{outside, "../outside"} {
		link := filepath.Join(inside, "site")
		require.NoError(t, os.Symlink(to, link))
		require.Error(t, move.Out(work, filepath.Join(outside, "taken"), "site/dist"))
		require.Error(t, move.In(work, filepath.Join(outside, "dist"), "site/planted"))
		assert.FileExists(t, filepath.Join(outside, "dist", "key"))
		require.NoError(t, os.Remove(link))
	}
	// A link itself is moved, and not what it leads to.
	require.NoError(t, os.Symlink(filepath.Join(outside, "dist"), filepath.Join(inside, "link")))
	require.NoError(t, move.Out(work, filepath.Join(outside, "taken"), "link"))
	assert.FileExists(t, filepath.Join(outside, "dist", "key"))
}
