package worktree_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hangsWhile makes a remote over ssh which, while hang is there, answers a kind of
// conversation (upload: git fetches; receive: git pushes) up to a number of bytes, and
// the rest when hang is removed. If it is more than 0, the first conversation is spared.
func hangsWhile(t *testing.T, r *rig, conversation string, after int) (hang, begun string) {
	t.Helper()
	dir := t.TempDir()
	hang, begun = filepath.Join(dir, "hang"), filepath.Join(dir, "begun")
	sshServes(t, fmt.Sprintf(`
case "$*" in *git-%s-pack*) if [ -e %[2]s ] && [ %[4]d -gt 0 ] && [ ! -e %[3]s.spared ]; then
	: > %[3]s.spared
elif [ -e %[2]s ]; then
	for command; do :; done
	eval "$command" | { dd bs=1 count=%[4]d status=none; : > %[3]s; while [ -e %[2]s ]; do sleep 0.02; done; cat; }
	exit
fi;; esac
`, conversation, hang, begun, after))
	r.cfg.URL = "ssh://git@git.example.com" + r.remote
	return hang, begun
}

func requireSoon(t *testing.T, path string) {
	t.Helper()
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(path)
		return err == nil && len(found) > 0
	}, patience, 5*time.Millisecond, path)
}

func TestAHangingSyncKeepsNobodyWaiting(t *testing.T) {
	// 0: before the remote's first byte; else within the pack, whose packets have 64 KiB.
	random := rand.NewChaCha8([32]byte{})
	noise := func() string {
		data := make([]byte, 2000)
		_, _ = random.Read(data)
		return string(data)
	}
	for name, after := range map[string]int{"asking": 0, "fetching": 150_000} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			hang, begun := hangsWhile(t, r, "upload", after)
			w := r.prepared()
			dir := filepath.Join(t.TempDir(), "clone")
			git(t, "/", "clone", "-q", r.remote, dir)
			for i := range 200 {
				write(t, dir, fmt.Sprintf("many/%d.txt", i), noise())
			}
			git(t, dir, "add", "-A")
			git(t, dir, "commit", "-qm", "many")
			git(t, dir, "push", "-q", "origin", "main")

			require.NoError(t, os.WriteFile(hang, nil, 0o644))
			type outcome struct {
				changed bool
				err     error
			}
			sync := func(ctx context.Context) <-chan outcome {
				done := make(chan outcome, 1)
				go func() {
					changed, err := w.SyncRemote(ctx)
					done <- outcome{changed, err}
				}()
				return done
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
			defer cancel()
			syncing := sync(ctx)
			requireSoon(t, begun)
			if after > 0 {
				requireSoon(t, filepath.Join(r.cfg.GitDir, "objects", "pack", "tmp_pack_*"))
			}

			// Sooner than the remote answers, which is never.
			soon, cancelSoon := context.WithTimeout(t.Context(), patience)
			defer cancelSoon()
			_, err := w.ContentKey(soon)
			require.NoError(t, err)
			res, err := w.Save(soon, "")
			require.NoError(t, err)
			require.Equal(t, "nothing", res.Where)
			impatient, cancelImpatient := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancelImpatient()
			_, err = w.SyncRemote(impatient)
			require.ErrorIs(t, err, context.DeadlineExceeded)

			require.NoError(t, os.Remove(hang))
			got := <-syncing
			require.NoError(t, got.err, "the save has not disturbed it")
			assert.True(t, got.changed)
			assert.FileExists(t, filepath.Join(r.cfg.Dir, "many", "199.txt"))

			// Once more, now with work, and given up in the end.
			r.commitElsewhere("main", "later.txt", "later")
			require.NoError(t, os.WriteFile(hang, nil, 0o644))
			require.NoError(t, os.Remove(begun))
			ctx, cancel = context.WithCancel(t.Context())
			defer cancel()
			syncing = sync(ctx)
			requireSoon(t, begun)
			r.write("ours.txt", "ours")
			res, err = w.Save(soon, "")
			require.NoError(t, err)
			assert.Equal(t, "remote", res.Where, res.Error)
			cancel()
			got = <-syncing
			assert.False(t, got.changed)
			assert.ErrorIs(t, got.err, context.Canceled)
			assert.Equal(t, "ours", r.read("ours.txt"))
			require.NoError(t, os.Remove(hang))
			changed, err := w.SyncRemote(t.Context())
			require.NoError(t, err)
			assert.False(t, changed)
		})
	}
}

// TestSavedWhileSyncing: what was saved meanwhile is not taken back for the base branch.
func TestSavedWhileSyncing(t *testing.T) {
	r := newRig(t)
	hang, begun := hangsWhile(t, r, "upload", 1) // having said that there is no edit branch
	w := r.prepared()
	tree := git(t, r.remote, "rev-parse", "main^{tree}")
	git(t, r.remote, "update-ref", "refs/heads/main", git(t, r.remote, "commit-tree", "-m", "rewritten", tree))
	require.NoError(t, os.WriteFile(hang, nil, 0o644))
	done := make(chan bool, 1)
	go func() {
		changed, err := w.SyncRemote(t.Context())
		assert.NoError(t, err)
		done <- changed
	}()
	requireSoon(t, begun)
	require.NoError(t, os.RemoveAll(filepath.Join(r.cfg.Dir, ".git"))) // whose branch would tell, too
	r.write("ours.txt", "ours")
	// It is committed by then, and its push would wait for the history of the other branch.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		assert.Eventually(t, func() bool { return strings.Contains(r.log.String(), "its whole history is fetched") }, patience, 5*time.Millisecond)
		cancel()
	}()
	res, err := w.Save(ctx, "")
	require.NoError(t, err)
	require.NoError(t, os.Remove(hang))
	assert.False(t, <-done)
	assert.Equal(t, "ours", r.read("ours.txt"))
	assert.Equal(t, res.Commit, git(t, r.cfg.GitDir, "rev-parse", editBranch))
}

func TestACancelledPushIsBundled(t *testing.T) {
	r := newRig(t)
	hang, begun := hangsWhile(t, r, "receive", 0)
	w := r.prepared()
	require.NoError(t, os.WriteFile(hang, nil, 0o644))
	r.write("ours.txt", "ours")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	type outcome struct {
		where, why string
		err        error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := w.Save(ctx, "")
		done <- outcome{res.Where, res.Error, err}
	}()
	requireSoon(t, begun)

	impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := w.Save(impatient, "")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), patience, "the second caller is not kept")

	start = time.Now()
	stop()
	got := <-done
	require.NoError(t, got.err)
	assert.Equal(t, "bundle", got.where)
	assert.Contains(t, got.why, "cancelled")
	assert.Less(t, time.Since(start), patience)
	assert.Contains(t, git(t, r.remote, "bundle", "list-heads", r.bundle()), "refs/heads/"+editBranch)
}

func TestABundleEndsAtTheSavesDeadline(t *testing.T) {
	program, err := exec.LookPath("git")
	require.NoError(t, err)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in 'bundle create'*) sleep 300;; esac\nexec %q \"$@\"\n", program)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	r := newRig(t)
	w := r.prepared()
	defer r.breakRemote()()
	r.write("ours.txt", "ours")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	start := time.Now()
	_, err = w.Save(ctx, "")
	require.Error(t, err)
	assert.Less(t, time.Since(start), patience, "and does not wait for the bundle")
	assert.Equal(t, "ours", r.read("ours.txt"))
}
