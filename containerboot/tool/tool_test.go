package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/leaktest"
)

// asParent makes the test's binary run one tool, to be killed by TestKilled.
const asParent = "TOOL_TEST_SCRIPT"

func TestMain(m *testing.M) {
	if script := os.Getenv(asParent); script != "" {
		_ = Run(context.Background(), sh(script))
		os.Exit(0)
	}
	leaktest.VerifyTestMain(m)
}

// patience is the most that a condition is waited for.
const patience = time.Minute

func sh(script string) Command {
	return Command{Name: "script", Args: []string{"sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin"}}
}

// gone reports whether a process has ended. A zombie has.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func readPid(t *testing.T, path string) int {
	t.Helper()
	var pid int
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return err == nil && strings.HasSuffix(string(data), "\n")
	}, patience, 5*time.Millisecond)
	return pid
}

func TestRun(t *testing.T) {
	t.Parallel()
	var got []string
	c := sh(`echo one; echo two >&2; printf three`)
	c.Line = func(l string) { got = append(got, l) }
	require.NoError(t, Run(t.Context(), c))
	assert.Equal(t, []string{"one", "two", "three"}, got)
}

func TestFailure(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), sh(`echo why; exit 7`))
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 7, e.Code)
	assert.Equal(t, []string{"why"}, e.Lines)
	assert.Equal(t, "running script: exit status 7", e.Error())

	missing := Command{Name: "npm ci", Args: []string{"no-such-program"}, Dir: "/", Env: []string{"PATH=/usr/bin"}}
	err = Run(t.Context(), missing)
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorAs(t, err, &e)
	assert.Equal(t, -1, e.Code)
}

func TestEnvironmentIsTheCommands(t *testing.T) {
	t.Setenv("SECRET_OF_THE_PARENT", "x")
	var got []string
	c := sh(`env`)
	c.Line = func(l string) { got = append(got, l) }
	require.NoError(t, Run(t.Context(), c))
	assert.NotContains(t, strings.Join(got, "\n"), "SECRET_OF_THE_PARENT")
}

// TestTheKernelEndsItFirst looks at whom the kernel ends when memory runs out.
func TestTheKernelEndsItFirst(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // it is not asked elsewhere
	}
	var said []string
	c := sh("cat /proc/self/oom_score_adj; (cat /proc/self/oom_score_adj)")
	c.Line = func(line string) { said = append(said, line) }
	require.NoError(t, Run(t.Context(), c))
	assert.Equal(t, []string{"1000", "1000"}, said)
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	require.NoError(t, err)
	assert.NotEqual(t, "1000", strings.TrimSpace(string(own)))
}

func TestLookPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prog"), nil, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	got, err := LookPath("prog", []string{"PATH=.::/nowhere:" + dir})
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "prog"), got)
	for _, name := range []string{"data", "folder", "missing"} {
		_, err := LookPath(name, []string{"PATH=" + dir})
		assert.ErrorIs(t, err, exec.ErrNotFound, name)
	}
}

// TestStop shows that a whole tree of processes goes with the context.
func TestStop(t *testing.T) {
	t.Parallel()
	// A busy machine may hold one of them up, but not each.
	for range 5 {
		if stop(t) < termGrace {
			return
		}
	}
	t.Fatal("not stopped before the grace was over, though the program itself obeys SIGTERM")
}

// stop runs a tool, stops it, and returns how long that took.
func stop(t *testing.T) time.Duration {
	t.Helper()
	cause := errors.New("enough")
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- Run(ctx, sh(fmt.Sprintf(`sh -c 'trap "" TERM; echo $$ >%s/child; while :; do sleep 0.05; done' & echo $$ >%s/main; wait`, dir, dir)))
	}()
	child, leader := readPid(t, dir+"/child"), readPid(t, dir+"/main")
	start := time.Now()
	cancel(cause)
	require.ErrorIs(t, <-result, cause)
	took := time.Since(start)
	require.Eventually(t, func() bool { return gone(child) && gone(leader) }, patience, 5*time.Millisecond)
	return took
}

// TestStubborn shows that a program that ignores SIGTERM is killed.
func TestStubborn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- Run(ctx, sh(fmt.Sprintf(`trap "" TERM; echo $$ >%s/main; while :; do sleep 0.05; done`, dir)))
	}()
	pid := readPid(t, dir+"/main")
	start := time.Now()
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
	assert.GreaterOrEqual(t, time.Since(start), termGrace)
	require.Eventually(t, func() bool { return gone(pid) }, patience, 5*time.Millisecond)
}

// TestDaemon shows that neither a child left behind nor one that left the group, both
// holding the pipe, keeps Run from returning.
func TestDaemon(t *testing.T) {
	t.Parallel()
	setsid, err := exec.LookPath("setsid")
	if err != nil {
		setsid = "" // not on this system; the first half still holds
	}
	dir := t.TempDir()
	start := time.Now()
	require.NoError(t, Run(t.Context(), sh(fmt.Sprintf(`sleep 600 & echo $! >%s/left; exit 0`, dir))))
	left := readPid(t, dir+"/left")
	require.Eventually(t, func() bool { return gone(left) }, patience, 5*time.Millisecond, "what it left behind ends with it")
	if setsid != "" {
		require.NoError(t, Run(t.Context(), sh(fmt.Sprintf(`%s sh -c 'echo $$ >%s/away; exec sleep 600' & while [ ! -s %s/away ]; do sleep 0.01; done`, setsid, dir, dir))))
		_ = syscall.Kill(readPid(t, dir+"/away"), syscall.SIGKILL)
	}
	assert.Less(t, time.Since(start), 5*time.Minute)
}

// TestKilled kills a process that runs a tool with SIGKILL, which it cannot see coming.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), asParent+"="+fmt.Sprintf(
		`sh -c 'trap "" TERM HUP; echo $$ >%s/child; while :; do sleep 0.05; done' & echo $$ >%s/main; wait`, dir, dir))
	require.NoError(t, parent.Start())
	child, leader := readPid(t, dir+"/child"), readPid(t, dir+"/main")
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	require.Eventually(t, func() bool { return gone(child) && gone(leader) }, patience, 5*time.Millisecond)
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 600)
	cases := map[string]struct{ raw, want string }{
		"plain":                 {"hello\n", "hello"},
		"windows":               {"hello\r\n", "hello"},
		"colours":               {"\x1b[1m\x1b[31m[ERROR]\x1b[0m no\n", "[ERROR] no"},
		"256 colours, kitty":    {"\x1b[38;5;12mblue\x1b[?25l\n", "blue"},
		"title, link":           {"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\y\n", "xy"},
		"charset, keypad":       {"\x1b(Ba\x1b=b\x1bMc\n", "abc"},
		"a progress bar":        {"10%\r50%\rdone\n", "done"},
		"tabs and bells":        {"a\tb\x07c\x00\n", "a bc"},
		"turned round":          {"a\u202egpj.exe\u2066b\u2028c\n", "agpj.exebc"},
		"indentation":           {"    at foo\n", "    at foo"},
		"not UTF-8":             {"a\xffb\n", "a�b"},
		"a secret":              {"key is hunter2hunter2!\n", "key is [secret]!"},
		"a line of a key":       {"MIIEvQIBADANBg\n", "[secret]"},
		"a password in a URL":   {"from https://me:pw@host/x.git\n", "from https://[secret]@host/x.git"},
		"a scoped package":      {"GET https://registry.example/@scope%2fx\n", "GET https://registry.example/@scope%2fx"},
		"too long, on a letter": {long + "\n", strings.Repeat("ä", 498) + "…"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLines([]string{"hunter2hunter2", "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n", "", "short"}, nil)
			l.readFrom(strings.NewReader(tc.raw))
			assert.Equal(t, []string{tc.want}, l.tail())
			assert.LessOrEqual(t, len(tc.want), maxLine)
		})
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	emitted, last := 0, ""
	l := newLines(nil, func(line string) {
		mu.Lock()
		defer mu.Unlock()
		emitted += len(line) + 1
		last = line
	})
	l.readFrom(strings.NewReader(strings.Repeat("x", 10*rawLine) + "\n" + strings.Repeat("\n\n"+strings.Repeat("y", 1100)+"\n", 4300) + "the end\n"))
	assert.LessOrEqual(t, emitted, maxTotal+maxLine)
	assert.Contains(t, last, "not shown")
	tail := l.tail()
	assert.Len(t, tail, tailLines)
	assert.Equal(t, "the end", tail[len(tail)-1], "a failure at the end is seen all the same")
}
