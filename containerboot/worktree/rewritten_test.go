package worktree_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rewriteMain replaces the last commit of the remote's main branch, as `git commit
// --amend` and `git push --force` do. With forget the remote loses the old one for good.
func (r *rig) rewriteMain(forget bool) string {
	r.t.Helper()
	dir := r.t.TempDir()
	git(r.t, "/", "clone", "-q", r.remote, dir)
	write(r.t, dir, "HISTORY", "rewritten after "+git(r.t, dir, "rev-parse", "HEAD"))
	git(r.t, dir, "commit", "-qam", "rewritten", "--amend")
	git(r.t, dir, "push", "-qf", "origin", "main")
	if forget {
		git(r.t, r.remote, "-c", "gc.reflogExpire=now", "-c", "gc.pruneExpire=now", "gc", "-q")
	}
	return git(r.t, dir, "rev-parse", "HEAD")
}

func TestSaveAfterTheBaseWasRewritten(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]bool{"kept by the remote": false, "forgotten by the remote": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.prepared()
			began := git(t, r.cfg.GitDir, "rev-parse", editBranch)
			r.rewriteMain(forget)
			r.write("ours.txt", "ours")
			res, err := w.Save(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "remote", res.Where, res.Error)
			assert.Equal(t, "ours", r.remoteFile(editBranch, "ours.txt"))
			assert.Equal(t, began, git(t, r.remote, "rev-parse", editBranch+"^"))
			assert.Equal(t, "4", git(t, r.remote, "rev-list", "--count", editBranch), "with the history before it")
			r.requireSound()
			assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))

			r.write("more.txt", "more")
			res, err = w.Save(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, "remote", res.Where, res.Error)
		})
	}
	t.Run("a bundle restored elsewhere", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		w := r.prepared()
		mend := r.breakRemote()
		r.write("ours.txt", "ours")
		_, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		mend()
		r.rewriteMain(true)
		r.elsewhere()
		res, err := r.prepared().Save(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, "remote", res.Where, res.Error)
		assert.Equal(t, "ours", r.remoteFile(editBranch, "ours.txt"))
	})
	t.Run("with nothing in common", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		w := r.prepared()
		tree := git(t, r.remote, "rev-parse", "main^{tree}")
		git(t, r.remote, "update-ref", "refs/heads/main", git(t, r.remote, "commit-tree", "-m", "alone", tree))
		git(t, r.remote, "-c", "gc.reflogExpire=now", "-c", "gc.pruneExpire=now", "gc", "-q")
		r.write("ours.txt", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, "bundle", res.Where)
		assert.Contains(t, res.Error, "The history of the site's branch was rewritten")
		r.requireSound()
	})
}

func TestSyncRemoteFollowsARewrittenBase(t *testing.T) {
	t.Parallel()
	t.Run("where the session has no work", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		w := r.prepared()
		for _, name := range []string{"first.txt", "second.txt"} { // the second time from where it moved to
			r.commitElsewhere("main", name, "new")
			_, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			tip := r.rewriteMain(true)
			changed, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			require.True(t, changed)
			assert.Contains(t, r.read("HISTORY"), "rewritten")
			assert.Equal(t, tip, git(t, r.cfg.Dir, "rev-parse", "HEAD"))
			assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
			changed, err = w.SyncRemote(t.Context())
			require.NoError(t, err)
			assert.False(t, changed)
		}
		r.write("ours.txt", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, "remote", res.Where, res.Error)
		assert.Equal(t, git(t, r.remote, "rev-parse", "main"), git(t, r.remote, "rev-parse", editBranch+"^"))
		r.requireSound()
	})

	keeps := map[string]func(t *testing.T, r *rig){
		"saved, and the branch deleted on the remote": func(t *testing.T, r *rig) {
			r.write("ours.txt", "ours")
			res, err := r.prepared().Save(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "remote", res.Where, res.Error)
			git(t, r.remote, "branch", "-q", "-D", editBranch)
		},
		"in a bundle": func(t *testing.T, r *rig) {
			defer r.breakRemote()()
			r.write("ours.txt", "ours")
			res, err := r.prepared().Save(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "bundle", res.Where)
		},
		"committed in the workspace": func(t *testing.T, r *rig) {
			r.write("ours.txt", "ours")
			git(t, r.cfg.Dir, "add", "-A")
			git(t, r.cfg.Dir, "commit", "-qm", "ours")
		},
		"unsaved in the same file": func(_ *testing.T, r *rig) {
			r.write("HISTORY", "ours")
			r.write("ours.txt", "ours")
		},
	}
	for name, work := range keeps {
		t.Run("not with work "+name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.prepared()
			work(t, r)
			before := git(t, r.cfg.Dir, "rev-parse", "HEAD")
			r.rewriteMain(false)
			changed, err := r.prepared().SyncRemote(t.Context())
			require.NoError(t, err)
			assert.False(t, changed)
			assert.Equal(t, "ours", r.read("ours.txt"))
			assert.Equal(t, before, git(t, r.cfg.Dir, "rev-parse", "HEAD"))
		})
	}
}
