package dockerengine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asTests has this binary do what a test binary with an engine does.
const asTests = "DOCKERENGINE_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asTests) != "" {
		Enter()
		fmt.Println(report())
		select {}
	}
	os.Exit(m.Run())
}

// report says what Enter came to.
func report() string {
	if errEngine != nil {
		return errEngine.Error()
	}
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s with %d interfaces", engine.Host, bytes.Count(text, []byte(":")))
}

// engineOf returns the dockerd that a process started, or its containerd; "" if there is none.
func engineOf(pid int) string {
	mark := []byte(cgroupPrefix + strconv.Itoa(pid))
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well formed
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, mark) {
			return file
		}
	}
	return ""
}

func TestNothingOutlivesTheTests(t *testing.T) {
	root, err := moduleRoot(t.Context())
	require.NoError(t, err)
	if err := possible(t.Context(), root); err != nil {
		errEngine = err
		Need(t)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asTests+"=1", "DOCKER_HOST=unix:///nowhere/engine.sock")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, insideHost+" with 1 interfaces\n", line, "an engine, and no network but its own")
	assert.NotEmpty(t, engineOf(cmd.Process.Pid))
	assert.NoFileExists(t, "/run/docker/containerd/containerd.sock", "out here")

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	require.Eventually(t, func() bool { return engineOf(cmd.Process.Pid) == "" }, time.Minute, 20*time.Millisecond)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), filepath.Join(root, ".cache", "docker"))
	sweepCgroups()
	left, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroupPrefix + strconv.Itoa(cmd.Process.Pid))
	require.NoError(t, err)
	assert.Empty(t, left)
}
