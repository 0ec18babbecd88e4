package containerboot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inTree starts what gets it as the first process of a process tree of its own.
func inTree() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 { // who may do so as root of a world of its own only
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}

// children returns the processes that a process is the parent of, by their names.
func children(t *testing.T, pid int) map[string][]int {
	t.Helper()
	found := map[string][]int{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// "12 (name) S 1 …"; the name may have anything in it.
		number, rest, _ := strings.Cut(string(data), " (")
		end := strings.LastIndex(rest, ") ")
		fields := strings.Fields(rest[end+2:])
		if fields[1] != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(number)
		require.NoError(t, err)
		found[rest[:end]] = append(found[rest[:end]], child)
	}
	return found
}

// worker is the process that the first one of a tree has started to do the work.
func (c *container) worker() int {
	c.t.Helper()
	workers := children(c.t, c.cmd.Process.Pid)["containerboot"]
	require.Len(c.t, workers, 1)
	return workers[0]
}

func TestTheFirstProcessReapsOrphans(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{
		"package.json": `{"name":"site","private":true,"scripts":{"build":"for i in 1 2 3; do setsid sh -c 'sleep 614 & sleep 0 &'; done; node build.mjs"}}`,
	}))
	w.attributes = inTree()
	c, _ := w.ready(w.claim("s1"))
	first := c.cmd.Process.Pid
	assert.NotEqual(t, first, c.worker())
	var orphans []int
	c.await(func() bool {
		orphans = children(t, first)["sleep"]
		return len(orphans) == 3 // of the others nothing is left
	})
	for _, pid := range orphans {
		require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
		awaitEnd(t, pid)
	}
	assert.Equal(t, map[string][]int{"containerboot": {c.worker()}}, children(t, first))

	w.edit("s1")
	assert.Zero(t, c.stop(), "signals are handed on")
	w.assertSaved("s1")
}

func TestTheFirstProcessEndsWithTheStatus(t *testing.T) {
	t.Parallel()
	t.Run("of a failed build", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, with(plainSite, map[string]string{"build.mjs": "process.exit(7)"}))
		w.attributes = inTree()
		c, _ := w.boot(w.claim("s1"))
		assert.Equal(t, 13, c.stop())
	})
	t.Run("of one that was killed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, plainSite)
		w.attributes = inTree()
		c, _ := w.ready(w.claim("s1"))
		require.NoError(t, syscall.Kill(c.worker(), syscall.SIGKILL))
		assert.Equal(t, 128+int(syscall.SIGKILL), c.exited())
	})
	t.Run("of a wrong environment", func(t *testing.T) {
		t.Parallel()
		cmd := exec.Command(binary)
		cmd.Env, cmd.SysProcAttr = []string{"PORT=x"}, inTree()
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		assert.Equal(t, 2, cmd.ProcessState.ExitCode())
		assert.Contains(t, string(out), "PORT: must be a number")
	})
	t.Run("when the parent dies", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, plainSite)
		w.attributes = inTree()
		c, _ := w.ready(w.claim("s1"))
		w.edit("s1")
		require.NoError(t, c.hold.Close(), "the pipe is inherited once more")
		assert.Zero(t, c.exited())
		w.assertSaved("s1")
	})
}
