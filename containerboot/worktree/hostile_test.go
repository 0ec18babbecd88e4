package worktree_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// poison gives the workspace every piece of git configuration that can run a program,
// each of which would leave a file in the returned folder.
func poison(t *testing.T, r *rig) (canary string) {
	t.Helper()
	canary = t.TempDir()
	script := filepath.Join(t.TempDir(), "evil")
	require.NoError(t, os.WriteFile(script,
		[]byte("#!/bin/sh\nenv > "+canary+"/$(basename \"$0\").$$\ncat\nexit 0\n"), 0o755))
	var config strings.Builder
	fmt.Fprintf(&config, `
[core]
	fsmonitor = %[1]s
	sshCommand = %[1]s
	pager = %[1]s
	editor = %[1]s
	askPass = %[1]s
	alternateRefsCommand = %[1]s
	gitProxy = %[1]s
	repositoryformatversion = 1
[extensions]
	partialClone = evil
[remote "evil"]
	url = ext::%[1]s
	promisor = true
	uploadpack = %[1]s
	receivepack = %[1]s
[uploadpack]
	packObjectsHook = %[1]s
[credential]
	helper = %[1]s
[alias]
	add = !%[1]s
	commit = !%[1]s
	push = !%[1]s
[filter "evil"]
	clean = %[1]s
	smudge = %[1]s
	process = %[1]s
	required = true
[diff "evil"]
	textconv = %[1]s
	command = %[1]s
[diff]
	external = %[1]s
[merge "evil"]
	driver = %[1]s
[gpg]
	program = %[1]s
[commit]
	gpgSign = true
`, script)
	f, err := os.OpenFile(filepath.Join(r.cfg.Dir, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(config.String())
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, hook := range []string{
		"pre-commit", "commit-msg", "post-commit", "pre-push", "post-checkout", "post-index-change",
		"reference-transaction", "pre-auto-gc", "fsmonitor-watchman", "pre-receive", "update", "post-update",
	} {
		hooks := filepath.Join(r.cfg.Dir, ".git", "hooks")
		require.NoError(t, os.MkdirAll(hooks, 0o755))
		require.NoError(t, os.Symlink(script, filepath.Join(hooks, hook)))
	}
	r.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
	home := t.TempDir()
	write(t, home, ".gitconfig", config.String())
	t.Setenv("HOME", home)
	t.Setenv("GIT_SSH_COMMAND", script)
	t.Setenv("GIT_EXTERNAL_DIFF", script)
	return canary
}

func TestNothingOfTheWorkspaceRuns(t *testing.T) {
	r := newRig(t)
	w := r.prepared()
	r.write("committed.txt", "by an agent")
	git(t, r.cfg.Dir, "add", "-A")
	git(t, r.cfg.Dir, "commit", "-qm", "an agent's commit")
	canary := poison(t, r)
	r.write("dirty.txt", "not committed")

	_, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	r.commitElsewhere(editBranch, "newer.txt", "newer")
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
	require.NoError(t, w.IgnoreBuildDirt(t.Context()))
	_, err = r.open().Prepare(t.Context())
	require.NoError(t, err)

	ran, err := os.ReadDir(canary)
	require.NoError(t, err)
	assert.Empty(t, ran)
	assert.Equal(t, "newer", r.read("newer.txt"))
	assert.Equal(t, "not committed", r.remoteFile(editBranch, "dirty.txt"))
	subjects := git(t, r.remote, "log", "--format=%s", "main.."+editBranch)
	assert.Contains(t, subjects, "an agent's commit")

	// The trap is armed: git in the workspace springs it.
	_, _ = gitErr(r.cfg.Dir, "status")
	ran, err = os.ReadDir(canary)
	require.NoError(t, err)
	assert.NotEmpty(t, ran)
}

func TestObjectsMissingInTheWorkspaceAreNotFetched(t *testing.T) {
	r := newRig(t)
	w := r.prepared()
	r.write("a.txt", "first")
	git(t, r.cfg.Dir, "add", "-A")
	git(t, r.cfg.Dir, "commit", "-qm", "incomplete")
	blob := git(t, r.cfg.Dir, "rev-parse", "HEAD:a.txt")
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, ".git/objects", blob[:2], blob[2:])))
	canary := poison(t, r)
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "first", r.remoteFile(editBranch, "a.txt"))
	assert.Contains(t, r.log.String(), "could not be read")
	ran, err := os.ReadDir(canary)
	require.NoError(t, err)
	assert.Empty(t, ran)
}

func TestCommitsOfTheWorkspaceAreSaved(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		subject string // expected in the history; empty: one commit of the session
		clean   bool
	}{
		"branch": {func(*testing.T, string) {}, "work", true},
		"detached": {func(t *testing.T, dir string) {
			git(t, dir, "checkout", "-q", "--detach")
		}, "work", true},
		"another branch": {func(t *testing.T, dir string) {
			git(t, dir, "checkout", "-q", "-b", "feature/x")
		}, "work", true},
		"packed": {func(t *testing.T, dir string) {
			git(t, dir, "commit", "-q", "--allow-empty", "-m", "packed")
			git(t, dir, "gc", "-q")
			git(t, dir, "pack-refs", "--all")
		}, "packed", true},
		"unrelated history": {func(t *testing.T, dir string) {
			git(t, dir, "checkout", "-q", "--orphan", "fresh")
		}, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.prepared()
			tt.prepare(t, r.cfg.Dir)
			r.write("committed.txt", "committed")
			git(t, r.cfg.Dir, "add", "-A")
			git(t, r.cfg.Dir, "commit", "-qm", "work")
			r.write("dirty.txt", "dirty")
			require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "HISTORY")))
			res, err := w.Save(t.Context(), "the rest")
			require.NoError(t, err)
			require.Equal(t, "remote", res.Where, res.Error)
			assert.Equal(t, "committed", r.remoteFile(editBranch, "committed.txt"))
			assert.Equal(t, "dirty", r.remoteFile(editBranch, "dirty.txt"))
			assert.NotContains(t, git(t, r.remote, "ls-tree", "-r", editBranch), "HISTORY")
			subjects := strings.Split(git(t, r.remote, "log", "--format=%s", "main.."+editBranch), "\n")
			if tt.subject == "" {
				assert.Equal(t, []string{"the rest"}, subjects)
			} else {
				assert.Equal(t, "the rest", subjects[0])
				assert.Contains(t, subjects, tt.subject)
			}
			if tt.clean {
				assert.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
				assert.Equal(t, res.Commit, git(t, r.cfg.Dir, "rev-parse", "HEAD"))
			}
		})
	}
}

func TestForgedCommitsAreNotTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	blob := git(t, r.cfg.Dir, "rev-parse", "HEAD:HISTORY")
	// A tree with an entry ".git" makes whoever checks it out run its hooks.
	entry := filepath.Join(t.TempDir(), "tree")
	raw := []byte("100644 .git\x00")
	for i := 0; i < 40; i += 2 {
		var b byte
		_, err := fmt.Sscanf(blob[i:i+2], "%02x", &b)
		require.NoError(t, err)
		raw = append(raw, b)
	}
	require.NoError(t, os.WriteFile(entry, raw, 0o644))
	tree := git(t, r.cfg.Dir, "hash-object", "-t", "tree", "--literally", "-w", entry)
	forged := git(t, r.cfg.Dir, "commit-tree", "-p", "HEAD", "-m", "forged", tree)
	git(t, r.cfg.Dir, "update-ref", "HEAD", forged)
	r.write("dirty.txt", "dirty")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.NotContains(t, git(t, r.remote, "log", "--format=%s", editBranch), "forged")
	assert.Equal(t, "dirty", r.remoteFile(editBranch, "dirty.txt"))
	assert.Equal(t, "third", r.remoteFile(editBranch, "HISTORY"))
}

func TestOddGitFoldersDoNotKeepFilesFromBeingSaved(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	tests := map[string]func(t *testing.T, dir string){
		"missing": func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) },
		"a file":  func(t *testing.T, dir string) { replace(t, dir, "gitdir: "+outside+"\n") },
		"a link": func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Symlink(outside, dir))
		},
		"odd HEAD":  func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "HEAD"), "ref: refs/heads/../../x\n") },
		"no branch": func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "HEAD"), "ref: refs/heads/unborn\n") },
		"HEAD is a pipe": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "HEAD")))
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "HEAD"), 0o644))
		},
		"HEAD of another repository": func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "HEAD"), strings.Repeat("a", 40)) },
		"links out of refs": func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "refs", "heads")))
			require.NoError(t, os.Symlink(outside, filepath.Join(dir, "refs", "heads")))
		},
		"objects that keep git waiting": func(t *testing.T, dir string) {
			git(t, dir, "--work-tree=..", "commit", "-q", "--allow-empty", "-m", "waiting")
			require.NoError(t, os.Remove(filepath.Join(dir, "objects/info/alternates")))
			require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "objects/info/alternates"), 0o644))
		},
		"index in use": func(t *testing.T, dir string) { replace(t, filepath.Join(dir, "index.lock"), "") },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := r.prepared()
			spoil(t, filepath.Join(r.cfg.Dir, ".git"))
			for _, content := range []string{"one", "two"} {
				r.write("dirty.txt", content)
				// Half of it is waited for what git is kept waiting by.
				ctx, cancel := context.WithTimeout(t.Context(), 16*time.Second)
				defer cancel()
				res, err := w.Save(ctx, "")
				require.NoError(t, err)
				require.Equal(t, "remote", res.Where, res.Error)
				assert.Equal(t, content, r.remoteFile(editBranch, "dirty.txt"))
			}
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			assert.Empty(t, entries)
		})
	}
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

func TestRepositoriesInsideTheWorkspaceAreSavedAsFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	for _, dir := range []string{"unborn", "committed/deep"} {
		path := filepath.Join(r.cfg.Dir, dir)
		r.write(dir+"/page.md", "page")
		r.write(dir+"/node_modules/x.js", "ignored")
		r.write(dir+"/inner/sub.md", "sub")
		git(t, path, "init", "-q")
		git(t, filepath.Join(path, "inner"), "init", "-q")
	}
	git(t, filepath.Join(r.cfg.Dir, "committed/deep"), "add", "page.md")
	git(t, filepath.Join(r.cfg.Dir, "committed/deep"), "commit", "-qm", "nested")
	r.write("plain.txt", "plain")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	names := git(t, r.remote, "diff", "--name-only", "main", editBranch)
	assert.ElementsMatch(t, []string{
		"committed/deep/inner/sub.md", "committed/deep/page.md", "plain.txt", "unborn/inner/sub.md", "unborn/page.md",
	}, strings.Split(names, "\n"))

	r.write("unborn/page.md", "changed")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "changed", r.remoteFile(editBranch, "unborn/page.md"))
}

func TestAFileThatGitRefusesDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	w := r.prepared()
	r.write("git~1", "git takes this for .git on some systems")
	r.write("good.txt", "good")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, "good", r.remoteFile(editBranch, "good.txt"))
	assert.NotContains(t, git(t, r.remote, "ls-tree", editBranch), "git~1")
	assert.Contains(t, r.log.String(), "Ignoring path git~1")
}

func TestSubmodulesAreLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	commit := git(t, r.remote, "rev-parse", "main")
	index := "GIT_INDEX_FILE=" + filepath.Join(t.TempDir(), "index")
	cmd := exec.Command("sh", "-ec", `git read-tree main
		git update-index --add --cacheinfo 160000,`+commit+`,theme
		git update-ref refs/heads/main $(git -c user.name=a -c user.email=a commit-tree -p main -m theme $(git write-tree))`)
	cmd.Dir, cmd.Env = r.remote, append(os.Environ(), index, "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	w := r.prepared()
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
	r.write("dirty.txt", "dirty")
	_, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Regexp(t, "^160000 commit "+commit, git(t, r.remote, "ls-tree", editBranch, "theme"))
}
