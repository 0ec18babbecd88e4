package buildcache

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBelow puts a folder in whose way somebody has laid a link out of the workspace.
func TestBelow(t *testing.T) {
	t.Parallel()
	c := New(t.TempDir(), Limits{Entries: 3, Bytes: 1 << 20})
	work := folder(t, map[string]string{"site/dist/index.html": "own"})
	other := folder(t, map[string]string{"dist/index.html": "another's"})
	dist := filepath.Join(work, "site", "dist")
	e, err := c.Put(t.Context(), "k", dist, PutOptions{Below: work})
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(e.Dir(), "index.html"))
	e.Release()

	require.NoError(t, os.RemoveAll(filepath.Join(work, "site")))
	require.NoError(t, os.Symlink(other, filepath.Join(work, "site")))
	_, err = c.Put(t.Context(), "other", dist, PutOptions{Below: work})
	require.Error(t, err)
	_, err = c.Get("other")
	require.ErrorIs(t, err, ErrMiss)
}
