package worktree_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

// helperEnv makes this test binary a session's process, which does one job. Its value is
// the Worktree's configuration in JSON.
const (
	helperEnv = "WORKTREE_TEST_CONFIG"
	jobEnv    = "WORKTREE_TEST_JOB"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(helperEnv); config != "" {
		if err := helper(config, os.Getenv(jobEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(trusting(m.Run))
}

func helper(config, job string) error {
	var cfg worktree.Config
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	w, err := worktree.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	fmt.Println("ready")
	p, err := w.Prepare(ctx)
	if err != nil {
		return err
	}
	fmt.Println("prepared", p.Commit)
	switch job {
	case "save": // saves file after file until it is killed
		for n := 0; ; n++ {
			text := fmt.Sprintf("%d.%d", os.Getpid(), n)
			aside := filepath.Join(cfg.CacheDir, "counter.txt")
			if err := os.WriteFile(aside, []byte(text), 0o644); err != nil {
				return err
			}
			if err := os.Rename(aside, filepath.Join(cfg.Dir, "counter.txt")); err != nil {
				return err
			}
			res, err := w.Save(ctx, "")
			if err != nil {
				return err
			}
			fmt.Println("saved", text, res.Where)
		}
	case "save once":
		res, err := w.Save(ctx, "")
		fmt.Println("saved", res.Where, res.Error)
		return err
	case "sync":
		_, err := w.SyncRemote(ctx)
		return err
	}
	return nil
}

func (r *rig) helper(job string) *exec.Cmd {
	r.t.Helper()
	cfg := r.cfg
	cfg.Log = nil
	data, err := json.Marshal(struct {
		worktree.Config
		Log   any `json:",omitempty"` // a function has no JSON
		RunAs any `json:",omitempty"`
		Enter any `json:",omitempty"`
	}{Config: cfg})
	require.NoError(r.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+string(data), jobEnv+"="+job)
	cmd.Stderr = os.Stderr
	return cmd
}

// killed runs a job and kills it some time after it says word; it returns what the job said.
func (r *rig) killed(job, word string, after time.Duration) []string {
	r.t.Helper()
	cmd := r.helper(job)
	out, err := cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, cmd.Start())
	var said []string
	var timer *time.Timer
	for s := bufio.NewScanner(out); s.Scan(); {
		said = append(said, s.Text())
		if timer == nil && strings.HasPrefix(s.Text(), word) {
			timer = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	require.NotNil(r.t, timer, "the job said %q", said)
	return said
}

// gits counts the git processes that use the session's folders.
func (r *rig) gits() int {
	n := 0
	procs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range procs {
		env, _ := os.ReadFile(p)
		if strings.Contains(string(env), "GIT_DIR="+r.cfg.GitDir) {
			n++
		}
	}
	return n
}

func (r *rig) requireSound() {
	r.t.Helper()
	git(r.t, r.cfg.GitDir, "fsck", "--strict", "--connectivity-only")
	kept, err := filepath.Glob(r.cfg.Dir + ".kept-*")
	require.NoError(r.t, err)
	require.Empty(r.t, kept)
	for _, path := range []string{r.cfg.Dir, r.cfg.GitDir} {
		left, err := filepath.Glob(path + ".new-*")
		require.NoError(r.t, err)
		require.Empty(r.t, left)
	}
}

func TestKilledWhileCloning(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	outcomes := map[bool]int{}
	for range 20 {
		require.NoError(t, os.RemoveAll(filepath.Dir(r.cfg.Dir)))
		r.killed("prepare", "ready", time.Duration(rand.Int64N(int64(70*time.Millisecond))))
		require.Eventually(t, func() bool { return r.gits() == 0 }, patience, 5*time.Millisecond, "no git outlives its process")
		_, err := os.Stat(r.cfg.GitDir)
		whole := err == nil
		p, err := r.open().Prepare(t.Context())
		require.NoError(t, err)
		require.Equal(t, whole, !p.Cloned)
		outcomes[whole]++
		require.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
		r.requireSound()
	}
	t.Logf("whole after the kill: %d, nothing: %d", outcomes[true], outcomes[false])
}

func TestKilledWhileSaving(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]bool{"to the remote": false, "to a bundle": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.prepared()
			if broken {
				// Refuses pushes alone, so that clones still work.
				hook := filepath.Join(r.remote, "hooks", "pre-receive")
				require.NoError(t, os.MkdirAll(filepath.Dir(hook), 0o755))
				require.NoError(t, os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o755))
			}
			for range 8 {
				said := r.killed("save", "saved", time.Duration(rand.Int64N(int64(120*time.Millisecond))))
				var saved string // what was reported as saved last
				for _, line := range said {
					if f := strings.Fields(line); f[0] == "saved" {
						saved = f[1]
						require.Equal(t, map[bool]string{false: "remote", true: "bundle"}[broken], f[2])
					}
				}
				require.Eventually(t, func() bool { return r.gits() == 0 }, patience, 5*time.Millisecond)

				// The session, gone with its disk, comes back with what was saved or later.
				home := r.cfg
				r.elsewhere()
				r.prepared()
				requireNotOlder(t, saved, r.read("counter.txt"))
				r.cfg = home
				w := r.prepared()
				requireNotOlder(t, saved, r.read("counter.txt"))
				res, err := w.Save(t.Context(), "")
				require.NoError(t, err)
				require.NotEmpty(t, res.Commit)
				require.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
				r.requireSound()
			}
			kept, err := filepath.Glob(r.bundle() + ".kept-*")
			require.NoError(t, err)
			assert.Empty(t, kept)
		})
	}
}

// requireNotOlder compares counters of the form pid.n, the later of one process.
func requireNotOlder(t *testing.T, saved, found string) {
	t.Helper()
	var pid, n, foundPID, foundN int
	_, err := fmt.Sscanf(saved, "%d.%d", &pid, &n)
	require.NoError(t, err)
	_, err = fmt.Sscanf(found, "%d.%d", &foundPID, &foundN)
	require.NoError(t, err)
	require.Equal(t, pid, foundPID)
	require.GreaterOrEqual(t, foundN, n)
}

func TestKilledWhileFollowingTheRemote(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	// Pages enough that a kill can come between two of them.
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, "/", "clone", "-q", r.remote, dir)
	git(t, dir, "checkout", "-q", "-b", editBranch)
	for i := range 8 {
		for n := range 250 {
			write(t, dir, fmt.Sprintf("many/%d.txt", n), fmt.Sprintf("version %d of %d", i, n))
		}
		git(t, dir, "add", "-A")
		git(t, dir, "commit", "-qm", fmt.Sprint("version ", i))
		git(t, dir, "push", "-q", "origin", editBranch)
		tip := git(t, dir, "rev-parse", "HEAD")

		r.killed("sync", "prepared", time.Duration(rand.Int64N(int64(80*time.Millisecond))))
		require.Eventually(t, func() bool { return r.gits() == 0 }, patience, 5*time.Millisecond)
		w := r.prepared()
		require.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"), "neither here nor there")
		_, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		require.Equal(t, tip, git(t, r.cfg.Dir, "rev-parse", "HEAD"))
		require.Empty(t, git(t, r.cfg.Dir, "status", "--porcelain"))
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "nothing", res.Where)
		r.requireSound()
	}
}

func TestUnreadableFileDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	r.write("secret.txt", "nobody may read this")
	r.write("good.txt", "good")
	require.NoError(t, os.Chmod(filepath.Join(r.cfg.Dir, "secret.txt"), 0))
	cmd := r.helper("save once")
	if os.Geteuid() == 0 { // whom no mode keeps from reading
		root := filepath.Dir(r.remote)
		require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			require.NoError(t, err)
			return os.Lchown(path, 65534, 65534)
		}))
		require.NoError(t, os.Chmod(filepath.Dir(root), 0o755))
		binary := filepath.Join(root, "helper")
		// Not written by this process: a child that another test starts at the same
		// moment would inherit the open file, and it could not be run.
		require.NoError(t, exec.CommandContext(t.Context(), "cp", os.Args[0], binary).Run())
		cmd.Path = binary
		cmd.Dir = root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "saved remote")
	names := git(t, r.remote, "-c", "safe.directory=*", "ls-tree", "--name-only", editBranch)
	assert.Contains(t, names, "good.txt")
	assert.NotContains(t, names, "secret.txt")
}
