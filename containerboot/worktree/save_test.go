package worktree_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSavePushesOneCommit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	base := git(t, r.remote, "rev-parse", "main")

	odd := []string{" lead", "trail ", `quo"te`, "apo'strophe", "new\nline", "tab\there", "ünïcödé.md", "-dash", "back\\slash", "*glob", "a:b", "\xff\xfe", ":(top)x"}
	for _, name := range odd {
		r.write(filepath.Join("odd", name), "content of "+name)
	}
	r.write("src/pages/page1.astro", "changed")
	r.write("image.png", "\x89PNG\r\n\x1a\n\x00\xff")
	r.write("crlf.txt", "a\r\nb\r\n")
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "src/pages/page2.astro")))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(r.cfg.Dir, "link")))
	r.write("run.sh", "#!/bin/sh\n")
	require.NoError(t, os.Chmod(filepath.Join(r.cfg.Dir, "run.sh"), 0o755))
	require.NoError(t, os.Chmod(filepath.Join(r.cfg.Dir, "package.json"), 0o755))
	r.write("node_modules/x/index.js", "ignored")
	r.write("dist/index.html", "ignored")
	require.NoError(t, syscall.Mkfifo(filepath.Join(r.cfg.Dir, "pipe"), 0o644))
	// A folder where a file was, and the other way round.
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "HISTORY")))
	r.write("HISTORY/now.txt", "folder")

	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, git(t, r.remote, "rev-parse", editBranch), res.Commit)
	assert.Equal(t, base, git(t, r.remote, "rev-parse", editBranch+"^"))

	for _, name := range odd {
		assert.Equal(t, "content of "+name, r.remoteFile(editBranch, "odd/"+name))
	}
	assert.Equal(t, "changed", r.remoteFile(editBranch, "src/pages/page1.astro"))
	assert.Equal(t, "\x89PNG\r\n\x1a\n\x00\xff", r.remoteFile(editBranch, "image.png"))
	assert.Equal(t, "a\r\nb\r", r.remoteFile(editBranch, "crlf.txt")) // the helper cuts the last line end
	assert.Equal(t, "folder", r.remoteFile(editBranch, "HISTORY/now.txt"))
	tree := git(t, r.remote, "ls-tree", "-r", editBranch)
	assert.Regexp(t, `(?m)^120000 blob \w+\tlink$`, tree)
	assert.Regexp(t, `(?m)^100755 blob \w+\trun.sh$`, tree)
	assert.Regexp(t, `(?m)^100755 blob \w+\tpackage.json$`, tree)
	assert.NotContains(t, tree, "page2")
	assert.NotContains(t, tree, "node_modules/")
	assert.NotContains(t, tree, "dist/")
	assert.NotContains(t, tree, "pipe")

	msg := git(t, r.remote, "log", "-1", "--format=%an <%ae>%n%B", editBranch)
	assert.Contains(t, msg, "Webordinary session <session@noreply.webordinary.com>")
	assert.Contains(t, msg, "D src/pages/page2.astro")
	assert.Contains(t, msg, `A "odd/new\nline"`)
	assert.Contains(t, msg, "Session: s-1")

	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"), "the workspace's own git moved along")
	assert.Equal(t, res.Commit, git(t, r.cfg.Dir, "rev-parse", editBranch))

	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
}

func TestSaveTakesALostWorkspaceForNoDeletion(t *testing.T) {
	t.Parallel()
	for name, remake := range map[string]bool{"gone": false, "empty": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			w := r.prepared()
			require.NoError(t, os.RemoveAll(r.cfg.Dir))
			if remake {
				require.NoError(t, os.Mkdir(r.cfg.Dir, 0o755))
			}
			_, err := w.Save(t.Context(), "")
			require.ErrorContains(t, err, "The workspace is gone")
			r.prepared()
			assert.Equal(t, "third", r.read("HISTORY"))
		})
	}
}

func TestSaveMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	subject := func() string { return git(t, r.remote, "log", "-1", "--format=%s", editBranch) }

	r.write("src/pages/page1.astro", "one")
	_, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "Change src/pages/page1.astro", subject())

	for i := range 60 {
		r.write("many/"+strings.Repeat("x", i+1), "x")
	}
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "Change 60 files", subject())
	assert.Contains(t, git(t, r.remote, "log", "-1", "--format=%b", editBranch), "and 10 more")

	r.write("src/pages/page1.astro", "two")
	_, err = w.Save(t.Context(), "--amend\x00 the \xff heading\n")
	require.NoError(t, err)
	assert.Equal(t, "--amend the � heading", subject())
}

func TestSaveKeepsABundleAndRestoresIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	mend := r.breakRemote()
	r.write("src/pages/page1.astro", "kept")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "bundle", res.Where)
	assert.Contains(t, res.Error, "does not exist")
	info, err := os.Stat(r.bundle())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	again, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, res.Commit, again.Commit)
	assert.Equal(t, "bundle", again.Where, "unpushed commits are tried again")
	mend()

	r.elsewhere()
	w = r.open()
	p, err := w.Prepare(t.Context())
	require.NoError(t, err)
	assert.Equal(t, res.Commit, p.Restored)
	assert.Equal(t, res.Commit, p.Commit)
	assert.Equal(t, "kept", r.read("src/pages/page1.astro"))
	assert.FileExists(t, r.bundle(), "until the remote has it")

	saved, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", saved.Where)
	assert.Equal(t, "kept", r.remoteFile(editBranch, "src/pages/page1.astro"))
	assert.NoFileExists(t, r.bundle())
}

func TestSaveNeverForces(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	theirs := r.commitElsewhere(editBranch, "theirs.txt", "theirs")
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, res.Commit, git(t, r.remote, "rev-parse", editBranch))
	assert.Equal(t, theirs, git(t, r.remote, "rev-parse", editBranch+"^2"), "merged")
	assert.Equal(t, "ours", r.remoteFile(editBranch, "ours.txt"))
	assert.Equal(t, "theirs", r.remoteFile(editBranch, "theirs.txt"))
	assert.Equal(t, "theirs", r.read("theirs.txt"))
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	r.requireSound()
}

func TestBundleThatTheRemoteHasByNow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	mend := r.breakRemote()
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "bundle", res.Where)
	mend()
	// Somebody delivers the bundle by hand and goes on from it.
	git(t, r.remote, "fetch", "-q", r.bundle(), editBranch+":"+editBranch)
	tip := r.commitElsewhere(editBranch, "more.txt", "more")
	tip2 := r.commitElsewhere(editBranch, "more2.txt", "more")
	require.NotEqual(t, tip, tip2)

	r.elsewhere()
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Equal(t, tip2, p.Commit)
	assert.Empty(t, p.Restored)
	assert.NoFileExists(t, r.bundle())
}

func TestBundleOutlivesARewrittenRemote(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	mend := r.breakRemote()
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	mend()
	require.NoError(t, os.RemoveAll(r.remote))
	other := newRig(t)
	require.NoError(t, os.Rename(other.remote, r.remote))
	git(t, r.remote, "update-ref", "refs/heads/main", git(t, r.remote, "commit-tree", "-m", "rewritten", "main^{tree}"))

	r.elsewhere()
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Equal(t, res.Commit, p.Restored)
	assert.Equal(t, "ours", r.read("ours.txt"))
	assert.Equal(t, "<h1>Page 3</h1>\n", r.read("src/pages/page3.astro"))
}

func TestUnreadableBundleIsKeptAside(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	write(t, filepath.Dir(r.bundle()), filepath.Base(r.bundle()), "# v2 git bundle\nrubbish")
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Empty(t, p.Restored)
	kept, err := filepath.Glob(r.bundle() + ".kept-*")
	require.NoError(t, err)
	assert.Len(t, kept, 1)
}

func TestWholeWorkspaceTakesANewerBundle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	home := r.cfg
	r.elsewhere()
	w := r.prepared()
	mend := r.breakRemote()
	defer mend()
	r.write("ours.txt", "made elsewhere")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "bundle", res.Where)

	r.cfg = home
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.False(t, p.Cloned)
	assert.Equal(t, res.Commit, p.Restored)
	assert.Equal(t, "made elsewhere", r.read("ours.txt"))
}

func TestSaveNeverReplacesWorkInABundle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	here := r.prepared()
	home := r.cfg
	r.elsewhere()
	there := r.prepared()
	mend := r.breakRemote()
	r.write("there.txt", "there")
	_, err := there.Save(t.Context(), "")
	require.NoError(t, err)
	r.cfg = home
	r.write("here.txt", "here")
	res, err := here.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "bundle", res.Where)
	mend()
	kept, err := filepath.Glob(r.bundle() + ".kept-*")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	git(t, r.remote, "fetch", "-q", kept[0], editBranch+":there")
	assert.Equal(t, "there", r.remoteFile("there", "there.txt"))
}

func TestContentKey(t *testing.T) {
	count := onPath(t)
	r := newRig(t)
	r.cfg.Exclude = []string{"/generated/"}
	w := r.prepared()
	count()
	var key string
	requireQuick(t, 100*time.Millisecond, func() {
		var err error
		key, err = w.ContentKey(t.Context())
		require.NoError(t, err)
	})
	t.Logf("git processes of an unchanged one: %q", count())
	assert.Equal(t, git(t, r.remote, "rev-parse", "main^{tree}"), key)

	r.write("generated/x", "excluded")
	same, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.Equal(t, key, same)

	// The same size within the same moment: only the content tells.
	r.write("src/pages/page1.astro", "<h1>Page X</h1>\n")
	changed, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, key, changed)
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, changed, git(t, r.remote, "rev-parse", editBranch+"^{tree}"), "the key is what is saved")
}

func TestSavesRaceWithWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	stop := make(chan struct{})
	var writers, savers sync.WaitGroup
	for i := range 3 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				dir := filepath.Join(r.cfg.Dir, "busy", string(rune('a'+i)))
				_ = os.MkdirAll(dir, 0o755)
				path := filepath.Join(dir, "file")
				_ = os.WriteFile(path, []byte(strings.Repeat("x", n%5000)), 0o644)
				if n%3 == 0 {
					_ = os.RemoveAll(dir)
				}
			}
		})
	}
	for range 3 {
		savers.Go(func() {
			for range 4 {
				res, err := w.Save(t.Context(), "")
				assert.NoError(t, err)
				assert.Contains(t, []string{"remote", "nothing"}, res.Where)
			}
		})
	}
	savers.Wait()
	close(stop)
	writers.Wait()
	r.write("last.txt", "last")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where)
	assert.Equal(t, "last", r.remoteFile(editBranch, "last.txt"))
	assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
	git(t, r.remote, "fsck", "--strict")
}
