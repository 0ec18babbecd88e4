package worktree_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

func TestPrepareClonesOnceAndWakesWithoutGit(t *testing.T) {
	count := onPath(t)
	r := newRig(t)
	count()

	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Equal(t, worktree.Prepared{Commit: git(t, r.remote, "rev-parse", "main"), Branch: editBranch, Cloned: true}, p)
	assert.Equal(t, "<h1>Page 3</h1>\n", r.read("src/pages/page3.astro"))
	assert.Equal(t, "true", git(t, r.cfg.GitDir, "rev-parse", "--is-shallow-repository"))
	t.Logf("git processes of the clone: %q", count())

	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	assert.Equal(t, editBranch, git(t, r.cfg.Dir, "branch", "--show-current"))
	assert.Equal(t, r.cfg.URL, git(t, r.cfg.Dir, "remote", "get-url", "origin"))
	assert.Contains(t, git(t, r.cfg.Dir, "log", "--format=%s"), "third")
	git(t, r.cfg.Dir, "fsck")
	count()

	mend := r.breakRemote()
	defer mend()
	requireQuick(t, 30*time.Millisecond, func() {
		again, err := r.open().Prepare(t.Context())
		require.NoError(t, err)
		assert.Equal(t, p.Commit, again.Commit)
		assert.False(t, again.Cloned)
	})
	assert.Empty(t, count(), "a wake of an unchanged session runs no git")
}

func TestPrepareTakesTheEditBranchIfTheRemoteHasIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tip := r.commitElsewhere(editBranch, "note.txt", "from the edit branch")
	r.commitElsewhere("other/"+editBranch, "note.txt", "of another branch with the same end")
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tip, p.Commit)
	assert.Equal(t, "from the edit branch", r.read("note.txt"))
}

func TestPrepareMakesALostWorkspaceAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("src/pages/new.astro", "new")
	_, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(r.cfg.Dir))
	defer r.breakRemote()()

	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.False(t, p.Cloned)
	assert.Equal(t, "new", r.read("src/pages/new.astro"))
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
}

func TestPrepareNeverDeletesAnUnknownWorkspace(t *testing.T) {
	t.Parallel()
	kept := func(r *rig) []string {
		found, err := filepath.Glob(r.cfg.Dir + ".kept-*")
		require.NoError(t, err)
		return found
	}
	t.Run("with work", func(t *testing.T) {
		r := newRig(t)
		r.write("precious.txt", "work")
		r.prepared()
		require.Len(t, kept(r), 1)
		data, err := os.ReadFile(filepath.Join(kept(r)[0], "precious.txt"))
		require.NoError(t, err)
		assert.Equal(t, "work", string(data))
		assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "precious.txt"))
		assert.Contains(t, r.log.String(), "kept as")
	})
	t.Run("left by a crash between the two renames", func(t *testing.T) {
		r := newRig(t)
		r.prepared()
		require.NoError(t, os.RemoveAll(r.cfg.GitDir))
		r.prepared()
		assert.Empty(t, kept(r))
		assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	})
	t.Run("an empty folder", func(t *testing.T) {
		r := newRig(t)
		require.NoError(t, os.MkdirAll(r.cfg.Dir, 0o755))
		r.prepared()
		assert.Empty(t, kept(r))
	})
}

func TestPrepareRefusesAnotherSessionsGitDir(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	r.cfg.ClientID = "bramble"
	_, err := r.open().Prepare(t.Context())
	require.Error(t, err)
	assert.FileExists(t, filepath.Join(r.cfg.Dir, "package.json"))
}

func TestPrepareLeavesNothingBehindWhenItFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Branch = "nonesuch"
	_, err := r.open().Prepare(t.Context())
	require.Error(t, err)
	entries, err := os.ReadDir(filepath.Dir(r.cfg.Dir))
	require.NoError(t, err)
	assert.Empty(t, entries)
}
