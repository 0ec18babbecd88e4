package worktree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGlance(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.cfg.Exclude = []string{"/dist/"}
	w := r.prepared()
	look := func() any {
		g, newest, err := w.Glance()
		require.NoError(t, err)
		require.False(t, newest.IsZero())
		return g
	}
	path := func(name string) string { return filepath.Join(r.cfg.Dir, name) }
	before := look()
	assert.Equal(t, before, look())
	r.write("dist/index.html", "built")
	r.write("sub/node_modules/x/index.js", "installed")
	assert.Equal(t, before, look(), "what is never saved does not count")

	changes := map[string]func(){
		"a new file":     func() { r.write("deep/down/new.txt", "x") },
		"a longer file":  func() { r.write("HISTORY", "longer than before") },
		"a newer file":   func() { require.NoError(t, os.Chtimes(path("package.json"), time.Time{}, time.Unix(1, 0))) },
		"a program":      func() { require.NoError(t, os.Chmod(path("package.json"), 0o755)) },
		"a file renamed": func() { require.NoError(t, os.Rename(path("HISTORY"), path("HISTORY2"))) },
		"a file deleted": func() { require.NoError(t, os.Remove(path("HISTORY2"))) },
		"a link":         func() { require.NoError(t, os.Symlink("/", path("link"))) },
		"a commit":       func() { git(t, r.cfg.Dir, "commit", "-q", "--allow-empty", "-m", "empty") },
	}
	for _, name := range []string{
		"a new file", "a longer file", "a newer file", "a program", "a file renamed", "a file deleted", "a link", "a commit",
	} {
		changes[name]()
		after := look()
		assert.NotEqual(t, before, after, name)
		before = after
	}
}

// BenchmarkAutoSave measures, for a site of 20,000 files, the processor time of a look at
// it, which an idle session has every 15 to 60 s, and of finding that nothing has changed
// in what is saved, which follows a change only.
func BenchmarkAutoSave(b *testing.B) {
	r := newRig(b)
	seed := filepath.Join(b.TempDir(), "seed")
	git(b, "/", "clone", "-q", r.remote, seed)
	for i := range 20_000 {
		write(b, seed, fmt.Sprintf("src/content/%d/%d.md", i/100, i), fmt.Sprintf("# Page %d\n", i))
	}
	git(b, seed, "add", "-A")
	git(b, seed, "commit", "-qm", "many")
	git(b, seed, "push", "-q", "origin", "HEAD:main")
	w := r.open()
	_, err := w.Prepare(b.Context())
	require.NoError(b, err)
	b.Run("look", func(b *testing.B) {
		before := processorTime(b)
		for b.Loop() {
			_, _, err := w.Glance()
			require.NoError(b, err)
		}
		b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	})
	b.Run("draft of nothing", func(b *testing.B) {
		before := processorTime(b)
		for b.Loop() {
			draft, err := w.KeepDraft(b.Context())
			require.NoError(b, err)
			require.Empty(b, draft)
		}
		b.ReportMetric(float64((processorTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	})
}

// processorTime is that of this process and of those that it has waited for.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		require.NoError(b, syscall.Getrusage(who, &u))
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
