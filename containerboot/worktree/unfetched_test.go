package worktree_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// withSubmodule puts a submodule, and a repository that is none although its commit is
// in the tree, on the remote's main branch.
func (r *rig) withSubmodule() {
	r.t.Helper()
	dir := r.t.TempDir()
	git(r.t, "/", "clone", "-q", r.remote, dir)
	git(r.t, dir, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", r.remote, "theme")
	commit := git(r.t, dir, "rev-parse", "HEAD")
	git(r.t, dir, "update-index", "--add", "--cacheinfo", "160000,"+commit+",stray")
	git(r.t, dir, "commit", "-qm", "submodule")
	git(r.t, dir, "push", "-q", "origin", "main")
}

func TestWhatIsNotFetchedIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withSubmodule()
	dir := t.TempDir()
	git(t, "/", "clone", "-q", r.remote, dir)
	write(t, dir, ".gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n")
	for name := range strings.SplitSeq("abcdefghijkl", "") {
		write(t, dir, "img/"+name+".png", lfsPointer)
	}
	write(t, dir, "img/real.png", "\x89PNG")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "images")
	git(t, dir, "push", "-q", "origin", "main")

	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Warnings, 2)
	assert.Contains(t, p.Warnings[0], "submodules")
	assert.Contains(t, p.Warnings[0], "stray (there is no URL of it in .gitmodules), theme (its URL must be")
	assert.Contains(t, p.Warnings[1], "Git LFS")
	assert.Contains(t, p.Warnings[1], "img/a.png")
	assert.Contains(t, p.Warnings[1], "and 2 more")
	assert.NotContains(t, p.Warnings[1], "real")
	for _, warning := range p.Warnings {
		assert.Contains(t, r.log.String(), warning)
	}

	again, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.False(t, again.Cloned)
	assert.Equal(t, p.Warnings, again.Warnings)
}

func TestSyncRemoteNamesWhatIsNotFetched(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.withSubmodule()
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	require.True(t, changed)
	assert.Contains(t, r.log.String(), "submodules")
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Len(t, p.Warnings, 1)
}

func TestMissingFoldersOfSubmodulesAreNoDeletion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withSubmodule()
	w := r.prepared()
	key, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	for _, name := range []string{"theme", "stray"} {
		require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, name)))
	}
	same, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, key, same)
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)

	r.write("ours.txt", "ours")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	tree := git(t, r.remote, "ls-tree", editBranch)
	assert.Regexp(t, `(?m)^160000 commit \w+\ttheme$`, tree)
	assert.Regexp(t, `(?m)^160000 commit \w+\tstray$`, tree)

	// Who removes a submodule as git does means it, before a commit and with one.
	git(t, r.cfg.Dir, "rm", "-q", "theme")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.NotContains(t, git(t, r.remote, "ls-tree", editBranch), "theme")
	git(t, r.cfg.Dir, "rm", "-q", "stray")
	git(t, r.cfg.Dir, "commit", "-qm", "remove it")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.NotContains(t, git(t, r.remote, "ls-tree", editBranch), "stray")
}
