package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// broodOf returns the processes that a container of that kind started; they run.
func broodOf(t *testing.T, dataDir, id string) []int {
	t.Helper()
	var pids []int
	for _, line := range lines(t, dataDir, id, "brood") {
		pid, err := strconv.Atoi(line)
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	require.Len(t, pids, 3)
	for _, pid := range pids {
		identity := processIdentity(pid)
		require.NotEmpty(t, identity)
		t.Cleanup(func() { state{PID: pid, Process: identity}.signal(syscall.SIGKILL) })
	}
	return pids
}

func countAlive(pids []int) int {
	n := 0
	for _, pid := range pids {
		if processIdentity(pid) != "" {
			n++
		}
	}
	return n
}

// hasStopped reports whether all threads of a process have taken note of a SIGSTOP.
func hasStopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	require.NoError(t, err)
	for _, thread := range threads {
		stat, err := os.ReadFile(filepath.Join(thread, "stat"))
		if err != nil || !strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T") {
			return false
		}
	}
	return len(threads) > 0
}

func TestNothingIsLeftBehind(t *testing.T) {
	for name, end := range map[string]func(*Runner, sessions.Container){
		"by a stop":  func(r *Runner, c sessions.Container) { require.NoError(t, r.Stop(t.Context(), c.Ref, "idle")) },
		"by a crash": func(r *Runner, c sessions.Container) { crash(t, r, c) },
		"by a close": func(r *Runner, _ sessions.Container) { require.NoError(t, r.Close(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			dataDir := t.TempDir()
			r := newRunner(t, dataDir)
			c, err := r.Start(t.Context(), request("brood", 1))
			require.NoError(t, err)
			eventuallyLines(t, dataDir, "brood", "starts", 1)
			brood := broodOf(t, dataDir, "brood")
			gone := r.child("brood").done
			end(r, c)
			receive(t, gone)
			assert.Zero(t, countAlive(brood), "when a container is gone, so is all that it started")
		})
	}
}

// Edge and container killed together leave nobody to end what the container started.
func TestNewEdgeSweepsUp(t *testing.T) {
	dataDir := t.TempDir()
	edge := startEdge(t, dataDir, "brood-at-home")
	old := stateOf(t, dataDir, "brood-at-home")
	require.NoError(t, syscall.Kill(edge.Process.Pid, syscall.SIGSTOP), "so that it cannot clean up")
	require.Eventually(t, func() bool { return hasStopped(t, edge.Process.Pid) }, patience, 5*time.Millisecond)
	old.signal(syscall.SIGKILL)
	kill(edge)
	eventuallyDead(t, old)
	brood := broodOf(t, dataDir, "brood-at-home")
	newRunner(t, dataDir)
	require.Eventually(t, func() bool { return countAlive(brood) == 0 }, patience, 10*time.Millisecond)
}
