package worktree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSyncRemote(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		branch  string // where a newer commit appears; empty: nowhere
		local   func(t *testing.T, r *rig)
		changed bool
	}{
		"nothing new":    {"", nil, false},
		"newer":          {editBranch, nil, true},
		"newer base":     {"main", nil, true},
		"work elsewhere": {editBranch, func(_ *testing.T, r *rig) { r.write("mine.txt", "mine") }, true},
		"the same file":  {editBranch, func(_ *testing.T, r *rig) { r.write("src/pages/page1.astro", "mine") }, false},
		"in the new way": {editBranch, func(_ *testing.T, r *rig) { r.write("new.txt", "mine") }, false},
		"file deleted": {editBranch, func(t *testing.T, r *rig) {
			require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "src/pages/page1.astro")))
		}, false},
		"commit in it": {editBranch, func(t *testing.T, r *rig) {
			git(t, r.cfg.Dir, "commit", "-q", "--allow-empty", "-m", "mine")
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.prepared()
			tip := ""
			if tt.branch != "" {
				r.commitElsewhere(tt.branch, "new.txt", "theirs")
				tip = r.commitElsewhere(tt.branch, "src/pages/page1.astro", "theirs")
			}
			if tt.local != nil {
				tt.local(t, r)
			}
			before := git(t, r.cfg.Dir, "status", "--porcelain")
			changed, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.changed, changed)
			assert.Equal(t, before, git(t, r.cfg.Dir, "status", "--porcelain"), "unsaved work is as it was")
			if tt.changed {
				assert.Equal(t, "theirs", r.read("src/pages/page1.astro"))
				assert.Equal(t, tip, git(t, r.cfg.Dir, "rev-parse", "HEAD"))
			}
			again, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			assert.False(t, again)

			res, err := w.Save(t.Context(), "")
			require.NoError(t, err)
			if tt.local != nil && !tt.changed {
				assert.Equal(t, "remote", res.Where, res.Error)
				assert.Equal(t, tip, git(t, r.remote, "rev-parse", tt.branch+"^2"), "diverged, and merged")
			}
		})
	}
}

func TestSyncRemoteOfAnUnreachableRemote(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	defer r.breakRemote()()
	changed, err := w.SyncRemote(t.Context())
	require.Error(t, err)
	assert.False(t, changed)
	assert.Equal(t, "<h1>Page 1</h1>\n", r.read("src/pages/page1.astro"))
}
