package worktree_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

// crashed is a session whose container was lost, and whose workspace stays: with a draft on
// the remote and, where late, one more change that is in no draft.
func crashed(t *testing.T, late bool) (r *rig, home worktree.Config) {
	t.Helper()
	r = newRig(t)
	w := r.prepared()
	r.write("src/pages/page1.astro", "first")
	r.write("both.txt", "first")
	r.write("removed.txt", "first")
	r.draft(w, "remote")
	if late {
		r.write("late.txt", "late")
		r.write("both.txt", "late")
	}
	return r, r.cfg
}

// goesOn is what another container makes of the draft, and may save.
func (r *rig) goesOn(saved bool) *worktree.Worktree {
	r.t.Helper()
	w, p := r.crashElsewhere(true)
	require.NotEmpty(r.t, p.Restored)
	r.write("src/pages/page1.astro", "newer")
	r.write("both.txt", "newer")
	r.write("newer.txt", "newer")
	require.NoError(r.t, os.Remove(filepath.Join(r.cfg.Dir, "removed.txt")))
	r.draft(w, "remote")
	if saved {
		res, err := w.Save(r.t.Context(), "")
		require.NoError(r.t, err)
		require.Equal(r.t, "remote", res.Where, res.Error)
	}
	return w
}

// TestAStaleWorkspaceGoesOnFromNewerWork: nothing that was made elsewhere since its last
// draft is taken back, and what it has beyond that draft is not lost.
func TestAStaleWorkspaceGoesOnFromNewerWork(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ late, saved bool }{
		"saved": {false, true}, "saved, with late changes": {true, true},
		"a draft": {false, false}, "a draft, with late changes": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, home := crashed(t, tt.late)
			r.goesOn(tt.saved)

			r.cfg = home
			w := r.open()
			p, err := w.Prepare(t.Context())
			require.NoError(t, err)
			require.False(t, p.Cloned, "no remote is asked")
			changed, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			require.True(t, changed, r.log)
			agrees := func(read func(name string) string) {
				t.Helper()
				assert.Equal(t, "newer", read("src/pages/page1.astro"))
				assert.Equal(t, "newer", read("both.txt"))
				assert.Equal(t, "newer", read("newer.txt"))
				if tt.late {
					assert.Equal(t, "late", read("late.txt"))
				}
			}
			agrees(r.read)
			assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "removed.txt"))
			if tt.late {
				assert.Contains(t, r.log.String(), "whose version is kept; the other is in the draft's history: both.txt")
				draft := git(t, r.cfg.GitDir, "rev-parse", "refs/webordinary/draft")
				assert.Equal(t, "late", git(t, r.cfg.GitDir, "show", draft+"^3:both.txt"))
			}
			changed, err = w.SyncRemote(t.Context())
			require.NoError(t, err)
			assert.False(t, changed, "once is enough")
			if tt.saved && !tt.late {
				assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
			}

			r.write("more.txt", "more")
			r.draft(w, "remote")
			res, err := w.Save(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "remote", res.Where, res.Error)
			assert.Empty(t, res.Conflicts)
			agrees(func(name string) string { return r.remoteFile(editBranch, name) })
			r.requireSpent()
			r.requireSound()
			r.crashElsewhere(true)
			agrees(r.read)
			assert.Equal(t, "more", r.read("more.txt"))
			assert.NoFileExists(t, filepath.Join(r.cfg.Dir, "removed.txt"))
		})
	}
}

// TestACleanWorkspaceTakesADraftOver that another container left.
func TestACleanWorkspaceTakesADraftOver(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	home := r.cfg
	r.elsewhere()
	w := r.prepared()
	r.write("theirs.txt", "theirs")
	r.draft(w, "remote")
	r.cfg = home
	w = r.prepared()
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	require.True(t, changed)
	assert.Equal(t, "theirs", r.read("theirs.txt"))
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "theirs", r.remoteFile(editBranch, "theirs.txt"))
}

// TestASaveTakesNoOtherDraftAway: a stale workspace that is saved before it has heard of
// another container's work leaves that where it is, for the next to find.
func TestASaveTakesNoOtherDraftAway(t *testing.T) {
	t.Parallel()
	r, home := crashed(t, true)
	r.goesOn(false)
	theirs := r.remoteDraft()
	r.cfg = home
	w := r.prepared()
	r.draft(w, "bundle")
	r.write("more.txt", "more")
	r.draft(w, "bundle")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, theirs, r.remoteDraft())
	assert.Equal(t, "late", r.remoteFile(editBranch, "late.txt"))

	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, "newer", r.read("both.txt"))
	assert.Equal(t, "newer", r.read("newer.txt"))
	assert.Equal(t, "late", r.read("late.txt"))
	assert.Equal(t, "more", r.read("more.txt"))
}

// TestAStaleWorkspaceWithCommitsStays where it is: a save merges them.
func TestAStaleWorkspaceWithCommitsStays(t *testing.T) {
	t.Parallel()
	r, home := crashed(t, false)
	r.goesOn(true)
	r.cfg = home
	w := r.prepared()
	git(t, r.cfg.Dir, "commit", "-q", "--allow-empty", "-m", "by the agent")
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.False(t, changed)
	assert.Contains(t, r.log.String(), "The workspace has commits of its own")
	assert.Equal(t, "first", r.read("both.txt"))
}

// TestAStaleWorkspaceIsKilledAsItGoesOn, before and after each step that changes something:
// the next start finishes.
func TestAStaleWorkspaceIsKilledAsItGoesOn(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("git")
	require.NoError(t, err)
	for _, at := range []string{"commit-tree", "merge-tree", "read-tree -m -u", "update-ref --stdin"} {
		for when, script := range map[string]string{"before": "kill -9 $PPID; exit 1", "after": "%[1]q \"$@\"; kill -9 $PPID; exit 1"} {
			t.Run(at+", "+when, func(t *testing.T) {
				t.Parallel()
				r, home := crashed(t, true)
				r.goesOn(true)
				r.cfg = home
				dir := t.TempDir()
				writeProgram(t, filepath.Join(dir, "git"), "#!/bin/sh\ncase \"$*\" in \""+at+"\"*) "+
					strings.ReplaceAll(script, "%[1]q", strconv.Quote(program))+" ;; esac\nexec "+strconv.Quote(program)+" \"$@\"\n")
				cmd := r.helper("sync")
				cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"))
				require.Error(t, cmd.Run())
				require.Equal(t, "signal: killed", cmd.ProcessState.String())
				require.Eventually(t, func() bool { return r.gits() == 0 }, patience, 5*time.Millisecond)

				w := r.prepared()
				_, err := w.SyncRemote(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "newer", r.read("both.txt"))
				assert.Equal(t, "newer", r.read("newer.txt"))
				assert.Equal(t, "late", r.read("late.txt"))
				res, err := w.Save(t.Context(), "")
				require.NoError(t, err)
				require.Equal(t, "remote", res.Where, res.Error)
				assert.Empty(t, res.Conflicts)
				assert.Equal(t, "newer", r.remoteFile(editBranch, "both.txt"))
				assert.Equal(t, "late", r.remoteFile(editBranch, "late.txt"))
				r.requireSpent()
				r.requireSound()
			})
		}
	}
}

func writeProgram(t *testing.T, path, script string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(script), 0o755))
}
