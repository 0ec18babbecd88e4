//go:build unix

package process

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/webordinary/router/sessions"
)

// The environment of the edge that a test kills: its data folder and the sessions that
// it starts, separated by commas.
const (
	edgeEnv         = "PROCESS_TEST_EDGE"
	edgeSessionsEnv = "PROCESS_TEST_SESSIONS"
)

// edgeProcess runs a runner with some sessions until it is killed.
func edgeProcess() int {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	r, err := New(Options{Tunables: Tunables{Binary: self}, DataDir: os.Getenv(edgeEnv)})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for id := range strings.SplitSeq(os.Getenv(edgeSessionsEnv), ",") {
		if _, err := r.Start(contextOfMain(), request(id, 1)); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	fmt.Println("started")
	select {}
}

// startEdge starts an edge in a process of its own and returns when its containers run.
func startEdge(t *testing.T, dataDir string, ids ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), edgeEnv+"="+dataDir, edgeSessionsEnv+"="+strings.Join(ids, ","))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)
	for _, id := range ids {
		eventuallyLines(t, dataDir, id, "starts", 1)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestContainersSaveAndEndWithTheirEdge(t *testing.T) {
	dataDir := t.TempDir()
	edge := startEdge(t, dataDir, "plain", "slow")
	plain, slow := stateOf(t, dataDir, "plain"), stateOf(t, dataDir, "slow")
	kill(edge)
	release(t, dataDir, "slow")
	eventuallyDead(t, plain, slow)
	assert.Len(t, lines(t, dataDir, "plain", "saves"), 1)
	assert.Len(t, lines(t, dataDir, "slow", "saves"), 1)
}

// newRunnerThatTells makes a runner, and a channel that is closed once it waits for an
// earlier container.
func newRunnerThatTells(t *testing.T, dataDir string) (*Runner, <-chan struct{}) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	awaited := make(chan struct{})
	logger := zaptest.NewLogger(t, zaptest.WrapOptions(zap.Hooks(func(e zapcore.Entry) error {
		if strings.HasPrefix(e.Message, "waiting for the session's earlier container") {
			close(awaited)
		}
		return nil
	})))
	return newRunnerOf(t, Options{Tunables: Tunables{Binary: self}, DataDir: dataDir, StopGrace: patience, Logger: logger}), awaited
}

func receive(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		require.Fail(t, "never came")
	}
}

func TestNewEdgeWaitsForASavingContainer(t *testing.T) {
	dataDir := t.TempDir()
	kill(startEdge(t, dataDir, "slow"))
	old := stateOf(t, dataDir, "slow")
	require.True(t, old.alive(), "it takes its time to save")

	r, awaited := newRunnerThatTells(t, dataDir)
	again, err := r.Start(t.Context(), request("slow", 1))
	require.NoError(t, err)
	assert.True(t, again.Running)
	assert.Empty(t, again.Address, "it serves nobody any more")
	assert.NotEmpty(t, again.Reason)
	described, err := r.Describe(t.Context(), old.ref())
	require.NoError(t, err)
	assert.Equal(t, again, described)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, again, list[0])

	var next sessions.Container
	started := make(chan error, 1)
	go func() {
		var err error
		next, err = r.Start(t.Context(), request("slow", 2))
		started <- err
	}()
	receive(t, awaited)
	release(t, dataDir, "slow")
	require.NoError(t, <-started)
	assert.True(t, next.Running)
	assert.False(t, old.alive())
	assert.Len(t, lines(t, dataDir, "slow", "saves"), 1, "the next starts after the save")
	eventuallyLines(t, dataDir, "slow", "starts", 2)
	assert.Empty(t, lines(t, dataDir, "slow", "doubles"))
}

func TestNewEdgeStopsAContainerOfTheLast(t *testing.T) {
	dataDir := t.TempDir()
	kill(startEdge(t, dataDir, "slow"))
	old := stateOf(t, dataDir, "slow")
	r, awaited := newRunnerThatTells(t, dataDir)
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(t.Context(), old.ref(), "not needed") }()
	receive(t, awaited)
	release(t, dataDir, "slow")
	require.NoError(t, <-stopped)
	assert.False(t, old.alive())
	assert.Len(t, lines(t, dataDir, "slow", "saves"), 1)
	d, err := r.Describe(t.Context(), old.ref())
	require.NoError(t, err)
	assert.False(t, d.Running)
	assert.NotEmpty(t, d.Reason)
}

func TestNewEdgeKillsWhatDoesNotEnd(t *testing.T) {
	dataDir := t.TempDir()
	kill(startEdge(t, dataDir, "stubborn"))
	old := stateOf(t, dataDir, "stubborn")
	require.True(t, old.alive())
	t.Cleanup(func() { old.signal(syscall.SIGKILL) })

	newRunnerOf(t, impatient(t, dataDir)) // without being asked
	eventuallyDead(t, old)
}

func TestNewEdgeSucceedsWhatDoesNotEnd(t *testing.T) {
	dataDir := t.TempDir()
	kill(startEdge(t, dataDir, "stubborn"))
	old := stateOf(t, dataDir, "stubborn")
	t.Cleanup(func() { old.signal(syscall.SIGKILL) })

	r := newRunnerOf(t, impatient(t, dataDir))
	_, err := r.Start(t.Context(), request("stubborn", 2))
	require.NoError(t, err)
	assert.False(t, old.alive())
	eventuallyLines(t, dataDir, "stubborn", "starts", 2)
	assert.Empty(t, lines(t, dataDir, "stubborn", "doubles"))
}

func TestDataFolderIsOneEdges(t *testing.T) {
	dataDir := t.TempDir()
	// The container is still saving when its edge has gone.
	edge := startEdge(t, dataDir, "slow")
	theirs := stateOf(t, dataDir, "slow")
	self, err := os.Executable()
	require.NoError(t, err)

	_, err = New(Options{DataDir: dataDir, Tunables: Tunables{Binary: self}})
	require.ErrorContains(t, err, fmt.Sprintf("another edge (pid %d) uses %s", edge.Process.Pid, dataDir))
	assert.True(t, theirs.alive())

	kill(edge)
	require.True(t, theirs.alive())
	r, err := New(Options{DataDir: dataDir, Tunables: Tunables{Binary: self}})
	require.NoError(t, err, "at once")
	t.Cleanup(func() { assert.NoError(t, r.Close(context.Background())) })
	assert.True(t, theirs.alive(), "its containers do not have the lock")

	_, err = New(Options{DataDir: dataDir, Tunables: Tunables{Binary: self}})
	require.ErrorContains(t, err, "another configuration of this edge uses "+dataDir)
	require.NoError(t, r.Close(t.Context()))
	newRunner(t, dataDir)
	release(t, dataDir, "slow")
	eventuallyDead(t, theirs)
}
