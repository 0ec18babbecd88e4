package worktree_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSaveLeavesOutLockFilesThatTheInstallChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.commitElsewhere("main", "packages/shop/yarn.lock", "shop's")
	w := r.prepared()
	before, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	r.write("package-lock.json", "rewritten by npm install")
	r.write("packages/shop/yarn.lock", "rewritten by yarn")
	require.NoError(t, w.IgnoreBuildDirt(t.Context()))
	assert.Contains(t, r.log.String(), `"packages/shop/yarn.lock"`)
	after, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)

	w = r.prepared() // the next process knows it too
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
	_, err = w.ContentKey(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.IgnoreBuildDirt(t.Context()), "a build that changes nothing more")

	r.write("src/pages/page1.astro", "edited")
	r.write("packages/shop/yarn.lock", "edited")
	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where)
	assert.Equal(t, "edited", r.remoteFile(editBranch, "src/pages/page1.astro"))
	assert.Equal(t, "edited", r.remoteFile(editBranch, "packages/shop/yarn.lock"))
	assert.Equal(t, `{"lockfileVersion":3}`, r.remoteFile(editBranch, "package-lock.json"))

	// A lock file that an agent commits itself is its work.
	git(t, r.cfg.Dir, "add", "package-lock.json")
	git(t, r.cfg.Dir, "commit", "-qm", "update dependencies")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "rewritten by npm install", r.remoteFile(editBranch, "package-lock.json"))
}

// TestWhatIsWrittenDuringABuildIsWork: people and agents write while it is built.
func TestWhatIsWrittenDuringABuildIsWork(t *testing.T) {
	t.Parallel()
	const absent = ""
	tests := map[string]struct {
		before map[string]string // written before the ContentKey
		during map[string]string // written, or removed, before IgnoreBuildDirt
		saved  map[string]string
	}{
		"a source": {
			during: map[string]string{"src/pages/page1.astro": "edited"},
			saved:  map[string]string{"src/pages/page1.astro": "edited"},
		},
		"a new file": {
			during: map[string]string{"src/env.d.ts": "new"},
			saved:  map[string]string{"src/env.d.ts": "new"},
		},
		"a deletion": {
			during: map[string]string{"HISTORY": absent},
			saved:  map[string]string{"HISTORY": absent},
		},
		"beside a lock file": {
			during: map[string]string{"src/pages/page1.astro": "edited", "package-lock.json": "rewritten"},
			saved:  map[string]string{"src/pages/page1.astro": "edited", "package-lock.json": `{"lockfileVersion":3}`},
		},
		"a new lock file": {
			during: map[string]string{"yarn.lock": "new"},
			saved:  map[string]string{"yarn.lock": "new"},
		},
		"a removed lock file": {
			during: map[string]string{"package-lock.json": absent},
			saved:  map[string]string{"package-lock.json": absent},
		},
		"a lock file with work in it": {
			before: map[string]string{"package-lock.json": "mine"},
			during: map[string]string{"package-lock.json": "mine, rewritten"},
			saved:  map[string]string{"package-lock.json": "mine, rewritten"},
		},
		"other dependencies": {
			during: map[string]string{"package.json": `{"name":"site","dependencies":{"x":"1"}}`, "package-lock.json": "with x"},
			saved:  map[string]string{"package.json": `{"name":"site","dependencies":{"x":"1"}}`, "package-lock.json": "with x"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.prepared()
			put := func(files map[string]string) {
				for name, content := range files {
					if content == absent {
						require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, name)))
					} else {
						r.write(name, content)
					}
				}
			}
			put(tt.before)
			before, err := w.ContentKey(t.Context())
			require.NoError(t, err)
			put(tt.during)
			require.NoError(t, w.IgnoreBuildDirt(t.Context()))
			after, err := w.ContentKey(t.Context())
			require.NoError(t, err)
			assert.NotEqual(t, before, after, "what was built may have the work in it or not")

			res, err := r.prepared().Save(t.Context(), "")
			require.NoError(t, err)
			require.Equal(t, "remote", res.Where, res.Error)
			for name, content := range tt.saved {
				if content == absent {
					assert.NotContains(t, git(t, r.remote, "ls-tree", "--name-only", editBranch), name)
				} else {
					assert.Equal(t, content, r.remoteFile(editBranch, name))
				}
			}
		})
	}
}
