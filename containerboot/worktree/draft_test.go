package worktree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

const draftRef = "refs/webordinary/s-1"

// draft saves a draft and requires where it is then.
func (r *rig) draft(w *worktree.Worktree, where string) string {
	r.t.Helper()
	commit, err := w.KeepDraft(r.t.Context())
	require.NoError(r.t, err)
	if commit == "" {
		require.Equal(r.t, "nothing", where)
		return ""
	}
	res, err := w.PushDraft(r.t.Context(), commit)
	require.NoError(r.t, err)
	require.Equal(r.t, where, res.Where, res.Error)
	return commit
}

// remoteDraft is the draft on the remote, or "".
func (r *rig) remoteDraft() string {
	r.t.Helper()
	return git(r.t, r.remote, "for-each-ref", "--format=%(objectname)", draftRef)
}

// requireSpent requires that the draft on the remote, which changed hands, says nothing that
// the edit branch there does not.
func (r *rig) requireSpent() {
	r.t.Helper()
	require.NotEmpty(r.t, r.remoteDraft())
	require.Equal(r.t, git(r.t, r.remote, "rev-parse", editBranch, editBranch+"^{tree}"), git(r.t, r.remote, "rev-parse", draftRef+"^1", draftRef+"^{tree}"))
}

// crashElsewhere is the session's wake on another machine, after this one was lost; the
// cache too where it says so.
func (r *rig) crashElsewhere(cacheToo bool) (*worktree.Worktree, worktree.Prepared) {
	r.t.Helper()
	r.elsewhere()
	if cacheToo {
		r.cfg.CacheDir = filepath.Join(r.t.TempDir(), "cache")
	}
	w := r.open()
	p, err := w.Prepare(r.t.Context())
	require.NoError(r.t, err)
	return w, p
}

// refuse has the remote take only updates ("ref old new") for which a shell command succeeds.
func (r *rig) refuse(unless string) {
	r.t.Helper()
	hook := filepath.Join(r.remote, "hooks", "update")
	require.NoError(r.t, os.MkdirAll(filepath.Dir(hook), 0o755))
	require.NoError(r.t, os.WriteFile(hook, []byte("#!/bin/sh\n"+unless+"\n"), 0o755))
}

// state is all of git's that a draft must not touch.
func (r *rig) state() string {
	r.t.Helper()
	index, err := os.ReadFile(filepath.Join(r.cfg.Dir, ".git", "index"))
	require.NoError(r.t, err)
	own, err := os.ReadFile(filepath.Join(r.cfg.GitDir, "index"))
	require.NoError(r.t, err)
	return git(r.t, r.cfg.GitDir, "rev-parse", editBranch) + git(r.t, r.cfg.Dir, "for-each-ref") +
		git(r.t, r.cfg.Dir, "rev-parse", "HEAD") + string(index) + string(own)
}

func TestDraft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.draft(w, "nothing")
	r.write("src/pages/page1.astro", "edited")
	r.write("odd/new\nline \"ü\"", "odd")
	r.write("image.png", "\x89PNG\x00\xff")
	r.write("dist/built.html", "built")
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "src/pages/page2.astro")))
	git(t, r.cfg.Dir, "add", "image.png")
	before := r.state()
	first := r.draft(w, "remote")
	assert.Equal(t, first, r.remoteDraft())
	assert.Equal(t, before, r.state())
	assert.Empty(t, git(t, r.remote, "branch", "--list", editBranch), "the branch is not moved")
	r.draft(w, "nothing")

	r.write("src/pages/page1.astro", "edited again")
	second := r.draft(w, "remote")
	assert.Equal(t, first, git(t, r.remote, "rev-parse", second+"^2"), "it only moves forward")

	w, p := r.crashElsewhere(true)
	assert.Equal(t, second, p.Restored)
	assert.Equal(t, git(t, r.remote, "rev-parse", "main"), p.Commit, "as unsaved as it was")
	assert.Equal(t, "edited again", r.read("src/pages/page1.astro"))
	assert.Equal(t, "odd", r.read("odd/new\nline \"ü\""))
	assert.Equal(t, "\x89PNG\x00\xff", r.read("image.png"))
	assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "src/pages/page2.astro"))
	assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "dist/built.html"))
	r.draft(w, "nothing")

	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	r.requireSpent()
	assert.Equal(t, "4", git(t, r.remote, "rev-list", "--count", editBranch), "and no draft in its history")
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	r.requireSound()
	r.draft(w, "nothing")
}

func TestDraftHasCommitsOfTheWorkspace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("one.txt", "one")
	git(t, r.cfg.Dir, "add", "-A")
	git(t, r.cfg.Dir, "commit", "-qm", "by the agent")
	theirs := git(t, r.cfg.Dir, "rev-parse", "HEAD")
	r.draft(w, "remote")
	r.write("two.txt", "two")
	r.draft(w, "remote")

	w, p := r.crashElsewhere(true)
	assert.Equal(t, theirs, p.Commit)
	assert.Equal(t, "one", r.read("one.txt"))
	assert.Equal(t, "two", r.read("two.txt"))
	_, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, theirs, git(t, r.remote, "rev-parse", editBranch+"^"))
	r.requireSpent()
}

// TestDraftNeverComesBack undoes what a draft had: whatever of the save got through, the
// next wake must not have it.
func TestDraftNeverComesBack(t *testing.T) {
	t.Parallel()
	undone := func(t *testing.T) (*rig, *worktree.Worktree) {
		r := newRig(t)
		w := r.prepared()
		r.write("regretted.txt", "regretted")
		r.write("src/pages/page1.astro", "regretted")
		r.draft(w, "remote")
		require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "regretted.txt")))
		r.write("src/pages/page1.astro", "better")
		return r, w
	}
	gone := func(t *testing.T, r *rig) {
		t.Helper()
		assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "regretted.txt"))
		assert.Equal(t, "better", r.read("src/pages/page1.astro"))
		assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	}
	t.Run("saved", func(t *testing.T) {
		t.Parallel()
		r, w := undone(t)
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where)
		r.crashElsewhere(true)
		gone(t, r)
	})
	t.Run("saved where refs are not deleted", func(t *testing.T) {
		t.Parallel()
		r, w := undone(t)
		r.refuse(`[ "${3#0000000000}" = "$3" ]`)
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where)
		require.NotEmpty(t, r.remoteDraft())
		w, _ = r.crashElsewhere(true)
		gone(t, r)
		r.write("src/pages/page1.astro", "best")
		r.draft(w, "remote")
		r.crashElsewhere(true)
		assert.Equal(t, "best", r.read("src/pages/page1.astro"))
	})
	t.Run("saved into a bundle", func(t *testing.T) {
		t.Parallel()
		r, w := undone(t)
		mend := r.breakRemote()
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "bundle", res.Where)
		mend()
		w, _ = r.crashElsewhere(false)
		gone(t, r)
		res, err = w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)
		r.crashElsewhere(true)
		gone(t, r)
	})
	t.Run("undone entirely", func(t *testing.T) {
		t.Parallel()
		r, w := undone(t)
		git(t, r.cfg.Dir, "checkout", "-q", "src/pages/page1.astro")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "nothing", res.Where)
		assert.Empty(t, r.remoteDraft())
		_, p := r.crashElsewhere(true)
		assert.Empty(t, p.Restored)
		assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "regretted.txt"))
	})
}

func TestDraftOfABranchThatMovedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("saved.txt", "saved")
	_, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	r.write("src/pages/page1.astro", "ours")
	r.write("ours.txt", "ours")
	draft := r.draft(w, "remote")
	r.commitElsewhere(editBranch, "theirs.txt", "theirs")
	theirs := r.commitElsewhere(editBranch, "src/pages/page1.astro", "theirs")

	w, p := r.crashElsewhere(true)
	assert.Equal(t, draft, p.Restored)
	assert.Equal(t, theirs, p.Commit)
	assert.Equal(t, "ours", r.read("ours.txt"))
	assert.Equal(t, "theirs", r.read("theirs.txt"))
	assert.Equal(t, "ours", r.read("src/pages/page1.astro"), "the session's goes on")
	assert.Contains(t, r.log.String(), "src/pages/page1.astro", "and the other is said to be there")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, theirs, git(t, r.remote, "rev-parse", editBranch+"^"))
	assert.Equal(t, "theirs", git(t, r.remote, "show", editBranch+"^:src/pages/page1.astro"))
	r.requireSpent()
}

func TestDraftThatTheRemoteRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	git(t, r.remote, "config", "receive.hideRefs", "refs/webordinary")
	r.write("ours.txt", "ours")
	r.draft(w, "bundle")
	r.draft(w, "nothing")
	r.write("ours.txt", "ours again")
	draft := r.draft(w, "bundle")
	w, p := r.crashElsewhere(false)
	assert.Equal(t, draft, p.Restored)
	assert.Equal(t, "ours again", r.read("ours.txt"))
	assert.FileExists(t, r.bundle())
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "ours again", r.remoteFile(editBranch, "ours.txt"))
	assert.NoFileExists(t, r.bundle())
}

func TestLostWorkspaceHasTheDraft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("ours.txt", "ours")
	r.draft(w, "remote")
	require.NoError(t, os.RemoveAll(r.cfg.Dir))
	r.prepared()
	assert.Equal(t, "ours", r.read("ours.txt"))
}

func TestSaveMergesWithConflicts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("saved.txt", "saved")
	_, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	r.commitElsewhere(editBranch, "src/pages/page1.astro", "theirs")
	r.commitElsewhere(editBranch, "src/pages/page2.astro", "theirs")
	theirs := r.commitElsewhere(editBranch, "binary", "\x00theirs")
	r.write("src/pages/page1.astro", "ours")
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "src/pages/page2.astro")))
	r.write("binary", "\x00ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.ElementsMatch(t, []string{"src/pages/page1.astro", "src/pages/page2.astro", "binary"}, res.Conflicts)
	assert.Equal(t, theirs, git(t, r.remote, "rev-parse", editBranch+"^2"), "theirs is in the history")
	assert.Contains(t, git(t, r.remote, "log", "-1", "--format=%B", editBranch), "src/pages/page1.astro")
	assert.Equal(t, "ours", r.remoteFile(editBranch, "src/pages/page1.astro"))
	assert.Equal(t, "theirs", r.remoteFile(editBranch, "src/pages/page2.astro"), "what was changed is not deleted")
	assert.Equal(t, "theirs", r.read("src/pages/page2.astro"))
	assert.Equal(t, "\x00ours", r.read("binary"))
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
}

func TestDivergedBundleIsMerged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	mend := r.breakRemote()
	r.write("ours.txt", "ours")
	r.write("src/pages/page1.astro", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "bundle", res.Where)
	mend()
	r.commitElsewhere(editBranch, "theirs.txt", "theirs")
	r.commitElsewhere(editBranch, "src/pages/page1.astro", "theirs")
	w, p := r.crashElsewhere(false)
	assert.NotEmpty(t, p.Restored)
	assert.Equal(t, "ours", r.read("ours.txt"))
	assert.Equal(t, "theirs", r.read("theirs.txt"))
	assert.Equal(t, "ours", r.read("src/pages/page1.astro"))
	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "theirs", git(t, r.remote, "show", editBranch+"^2:src/pages/page1.astro"))
	assert.NoFileExists(t, r.bundle())
}
