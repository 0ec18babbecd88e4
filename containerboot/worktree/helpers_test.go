package worktree_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

const editBranch = "edit/thread-1"

// patience is the most that a condition is waited for, and a bound that only what hangs
// goes beyond.
const patience = time.Minute

// requireQuick requires that something can be done within a time. A machine that has much
// else to do may hold it up once, but not each time.
func requireQuick(t *testing.T, limit time.Duration, do func()) {
	t.Helper()
	quickest := time.Hour
	for deadline := time.Now().Add(patience); quickest >= limit && time.Now().Before(deadline); {
		start := time.Now()
		do()
		quickest = min(quickest, time.Since(start))
	}
	t.Logf("took %v", quickest)
	require.Less(t, quickest, limit)
}

// rig is one client's remote and the folders of one session.
type rig struct {
	t      testing.TB
	remote string // bare repository
	cfg    worktree.Config
	log    *lines
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(s + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	root := t.TempDir()
	r := &rig{t: t, remote: filepath.Join(root, "remote.git"), log: new(lines)}
	git(t, root, "init", "-q", "--bare", "-b", "main", r.remote)
	seed := filepath.Join(root, "seed")
	write(t, seed, ".gitignore", "node_modules/\ndist/\n")
	write(t, seed, "package.json", `{"name":"site"}`)
	write(t, seed, "package-lock.json", `{"lockfileVersion":3}`)
	for i := range 10 {
		write(t, seed, fmt.Sprintf("src/pages/page%d.astro", i), fmt.Sprintf("<h1>Page %d</h1>\n", i))
	}
	git(t, seed, "init", "-q", "-b", "main")
	for _, m := range []string{"first", "second", "third"} {
		write(t, seed, "HISTORY", m)
		git(t, seed, "add", "-A")
		git(t, seed, "commit", "-qm", m)
	}
	git(t, seed, "push", "-q", r.remote, "main")
	r.cfg = worktree.Config{
		SessionID: "s-1", ClientID: "amelia",
		Dir: filepath.Join(root, "session", "workspace"), GitDir: filepath.Join(root, "session", "git"),
		CacheDir: filepath.Join(root, "cache"),
		URL:      "file://" + r.remote, Branch: "main", EditBranch: editBranch,
		AllowFile: true, Log: r.log.add,
	}
	return r
}

func (r *rig) open() *worktree.Worktree {
	r.t.Helper()
	w, err := worktree.New(r.cfg)
	require.NoError(r.t, err)
	return w
}

func (r *rig) prepared() *worktree.Worktree {
	r.t.Helper()
	w := r.open()
	_, err := w.Prepare(r.t.Context())
	require.NoError(r.t, err)
	return w
}

// elsewhere gives the session new folders, as on another machine with the same cache.
func (r *rig) elsewhere() {
	root := r.t.TempDir()
	r.cfg.Dir, r.cfg.GitDir = filepath.Join(root, "workspace"), filepath.Join(root, "git")
}

func (r *rig) bundle() string {
	return filepath.Join(r.cfg.CacheDir, "amelia", "bundles", "s-1.bundle")
}

func (r *rig) write(name, content string) { r.t.Helper(); write(r.t, r.cfg.Dir, name, content) }

func (r *rig) read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.cfg.Dir, name))
	require.NoError(r.t, err)
	return string(data)
}

// remoteFile is a file's content at the head of a branch of the remote.
func (r *rig) remoteFile(branch, name string) string {
	r.t.Helper()
	return git(r.t, r.remote, "cat-file", "blob", branch+":"+name)
}

// commitElsewhere puts a commit on a branch of the remote, as another person would.
func (r *rig) commitElsewhere(branch, name, content string) string {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "clone")
	git(r.t, "/", "clone", "-q", r.remote, dir)
	if strings.Contains(git(r.t, dir, "branch", "-r"), "origin/"+branch) {
		git(r.t, dir, "checkout", "-q", branch)
	} else {
		git(r.t, dir, "checkout", "-q", "-b", branch)
	}
	write(r.t, dir, name, content)
	git(r.t, dir, "add", "-A")
	git(r.t, dir, "commit", "-qm", "elsewhere")
	git(r.t, dir, "push", "-q", "origin", branch)
	return git(r.t, dir, "rev-parse", "HEAD")
}

// forcePush gives a branch of the remote a history of its own, with one file.
func (r *rig) forcePush(branch, name, content string) {
	r.t.Helper()
	dir := r.t.TempDir()
	git(r.t, dir, "init", "-q", "-b", "new")
	write(r.t, dir, name, content)
	git(r.t, dir, "add", "-A")
	git(r.t, dir, "commit", "-qm", "anew")
	git(r.t, dir, "push", "-q", "--force", r.remote, "new:"+branch)
}

// remoteHas reports whether a file is at the head of the edit branch of the remote.
func (r *rig) remoteHas(name string) bool {
	_, err := gitErr(r.remote, "cat-file", "-e", editBranch+":"+name)
	return err == nil
}

// breakRemote makes every conversation with the remote fail until the returned function is called.
func (r *rig) breakRemote() (mend func()) {
	r.t.Helper()
	require.NoError(r.t, os.Rename(r.remote, r.remote+".away"))
	return func() { require.NoError(r.t, os.Rename(r.remote+".away", r.remote)) }
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// git runs git as a person would, but for the machine's configuration.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := gitErr(dir, args...)
	require.NoError(t, err, "git %v: %s", args, out)
	return out
}

func gitErr(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	return strings.TrimSuffix(string(out), "\n"), err
}

// onPath puts a git first on PATH which writes one line per process to the returned file.
func onPath(t *testing.T) (count func() []string) {
	t.Helper()
	program, err := exec.LookPath("git")
	require.NoError(t, err)
	dir := t.TempDir()
	journal := filepath.Join(dir, "journal")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >> %q\nexec %q \"$@\"\n", journal, program)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		data, err := os.ReadFile(journal)
		if os.IsNotExist(err) {
			return nil
		}
		require.NoError(t, err)
		require.NoError(t, os.Remove(journal))
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}
