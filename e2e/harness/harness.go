// Package harness runs edges of their own for tests from outside: real binaries on
// their own data folder and ports, client sites that build in a moment, and eyes on the
// processes that they start.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/freeport"
)

// Patience is how long something may take that is waited for: only what hangs takes as
// long, however slow the machine.
const Patience = 3 * time.Minute

// Root returns the folder of the module.
func Root(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	require.NoError(t, err)
	return root
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not inside the module")
		}
	}
}

// Released returns the folder of the binaries that `make build` left.
func Released(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(Root(t), "bin")
	for _, name := range []string{"caddy", "containerboot"} {
		_, err := os.Stat(filepath.Join(bin, name))
		require.NoError(t, err, "run `make build` first")
	}
	return bin
}

var buildRaced = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, ".cache", "race")
	for _, name := range []string{"caddy", "containerboot"} {
		cmd := exec.CommandContext(context.Background(), "go", "build", "-race", "-tags", "nobadger,nomysql,nopgx",
			"-o", filepath.Join(bin, name), "./cmd/"+name)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s with the race detector: %w\n%s", name, err, out)
		}
	}
	return bin, nil
})

// Raced returns a folder of the same binaries built with the race detector, which makes
// them several times slower. They are built once.
func Raced(t testing.TB) string {
	t.Helper()
	bin, err := buildRaced()
	require.NoError(t, err)
	return bin
}

// Eventually waits until ok returns true, and fails the test if it has not in time.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	EventuallyEvery(t, within, 25*time.Millisecond, what, ok)
}

// EventuallyEvery is Eventually with a pause of its own between two looks.
func EventuallyEvery(t testing.TB, within, pause time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !ok() {
		require.Falsef(t, time.Now().After(deadline), "not within %s: %s", within, what)
		<-tick.C
	}
}

// Within fails the test unless fn returns in time. fn goes on if it does not.
func Within(t testing.TB, limit time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		require.FailNowf(t, "too slow", "not within %s: %s", limit, what)
	}
}

// FreePorts returns ports of the loopback address that nothing listens on.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := freeport.Find(n)
	require.NoError(t, err)
	return ports
}

// Log is a process's output, kept for the case that its test fails.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write keeps more output.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Copy puts a file where another is to be run from, by a hard link where it can.
func Copy(t testing.TB, from, to string) {
	t.Helper()
	if os.Link(from, to) == nil {
		return
	}
	// A process that another test starts at the same moment would inherit the open file,
	// and it could not be run as long.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
