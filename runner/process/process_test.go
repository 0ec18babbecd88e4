//go:build unix

package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/runnertest"
)

// patience is the most that a condition is waited for, and long enough for a container to
// end in order, on a busy machine too.
const patience = time.Minute

func contextOfMain() context.Context { return context.Background() }

func request(id string, epoch int64) sessions.StartRequest {
	return sessions.StartRequest{SessionID: id, ClientID: "amelia", Epoch: epoch, TokenHash: bootapi.HashToken("secret")}
}

func newRunner(t *testing.T, dataDir string) *Runner {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return newRunnerOf(t, Options{Tunables: Tunables{Binary: self}, DataDir: dataDir, StopGrace: patience})
}

// impatient makes a runner which kills soon.
func impatient(t *testing.T, dataDir string) Options {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return Options{Tunables: Tunables{Binary: self}, DataDir: dataDir, StopGrace: 200 * time.Millisecond}
}

func newRunnerOf(t *testing.T, o Options) *Runner {
	t.Helper()
	r, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close(context.Background())) })
	return r
}

func crash(t *testing.T, r sessions.Runner, c sessions.Container) {
	t.Helper()
	require.NoError(t, syscall.Kill(r.(*Runner).child(c.SessionID).state.PID, syscall.SIGKILL))
}

func stateOf(t *testing.T, dataDir, id string) state {
	t.Helper()
	s, err := readState(filepath.Join(dataDir, "sessions", folderName(id)))
	require.NoError(t, err)
	return s
}

func lines(t *testing.T, dataDir, id, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dataDir, "sessions", folderName(id), name))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	whole := strings.Split(string(data), "\n") // what follows the last newline is none yet
	return whole[:len(whole)-1]
}

func eventuallyLines(t *testing.T, dataDir, id, name string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(lines(t, dataDir, id, name)) >= n }, patience, 5*time.Millisecond)
	require.Len(t, lines(t, dataDir, id, name), n)
}

// release lets a slow container save, once it is about to.
func release(t *testing.T, dataDir, id string) {
	t.Helper()
	eventuallyLines(t, dataDir, id, "asked", 1)
	write(t, filepath.Join(dataDir, "sessions", folderName(id), "released"), "")
}

// eventuallyDead waits until a container of an earlier process has ended.
func eventuallyDead(t *testing.T, containers ...state) {
	t.Helper()
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(containers, state.alive)
	}, patience, 5*time.Millisecond)
}

func TestConformance(t *testing.T) {
	runnertest.Run(t, runnertest.Options{
		New:   func(t *testing.T) sessions.Runner { return newRunner(t, t.TempDir()) },
		Crash: crash,
	})
}

func TestConformanceWithContainerboot(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "containerboot")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/webordinary/router/cmd/containerboot").CombinedOutput()
	require.NoError(t, err, string(out))
	runnertest.Run(t, runnertest.Options{
		New: func(t *testing.T) sessions.Runner {
			return newRunnerOf(t, Options{Tunables: Tunables{Binary: binary}, DataDir: t.TempDir()})
		},
		Crash: crash,
	})
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	dataDir := t.TempDir()
	options := impatient(t, dataDir)
	options.Logger, options.StopGrace = zap.New(core), 2*time.Second // more than a canceled stop takes
	r := newRunnerOf(t, options)
	c, err := r.Start(t.Context(), request("stubborn", 1))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "stubborn", "starts", 1)
	s := stateOf(t, dataDir, "stubborn")

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Stop(cancelled, c.Ref, "idle"), context.Canceled)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
	assert.False(t, s.alive())
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.Equal(t, "idle (signal: killed)", d.Reason)
	assert.Equal(t, 1, logs.FilterMessage("killing a container that did not end in time").Len())
	assert.Equal(t, 1, logs.FilterMessageSnippet("trusted sites only").Len())
}

func TestStopLetsAContainerSave(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	c, err := r.Start(t.Context(), request("slow", 1))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "slow", "starts", 1)
	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(t.Context(), c.Ref, "idle") }()
	release(t, dataDir, "slow")
	require.NoError(t, <-stopped)
	assert.Len(t, lines(t, dataDir, "slow", "saves"), 1)
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.Equal(t, "idle (exit status 0)", d.Reason)
}

func TestContainerThatDiesIsDescribed(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	c, err := r.Start(t.Context(), request("dies", 1))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		d, err := r.Describe(t.Context(), c.Ref)
		return err == nil && !d.Running && d.Reason == "exit status 3"
	}, patience, 5*time.Millisecond)

	again, err := r.Start(t.Context(), request("dies", 1))
	require.NoError(t, err)
	assert.False(t, again.Running)
	require.NoError(t, r.Close(t.Context()))

	// A later edge knows it, too, and starts no second one of that epoch.
	r = newRunner(t, dataDir)
	again, err = r.Start(t.Context(), request("dies", 1))
	require.NoError(t, err)
	assert.Equal(t, "exit status 3", again.Reason)
	assert.Len(t, lines(t, dataDir, "dies", "starts"), 1)
}

func TestOneContainerHoweverManyStart(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			// Epochs race, and those which come late are refused.
			_, _ = r.Start(t.Context(), request("plain", int64(i/50+1)))
		})
	}
	wg.Wait()
	eventuallyLines(t, dataDir, "plain", "starts", len(lines(t, dataDir, "plain", "saves"))+1)
	assert.LessOrEqual(t, len(lines(t, dataDir, "plain", "starts")), 2)
	assert.Empty(t, lines(t, dataDir, "plain", "doubles"))
}

func TestEnvironmentIsMinimal(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x", "DATABASE_URL": "x", "WEBORDINARY_ADMIN": "x", "CLIENT_ID": "x",
		"HTTPS_PROXY": "http://proxy", "npm_config_registry": "http://registry", "SSL_CERT_FILE": "/ca.pem", "KNOWN_HOSTS_FILE": "/known",
	} {
		t.Setenv(name, value)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dataDir := t.TempDir()
	r := newRunnerOf(t, Options{DataDir: dataDir, Tunables: Tunables{Binary: self, APIUpstream: "http://127.0.0.1:1"}})
	c, err := r.Start(t.Context(), request("environ", 1))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "environ", "starts", 1)

	got := map[string]string{}
	for _, line := range lines(t, dataDir, "environ", "environ") {
		name, value, _ := strings.Cut(line, "=")
		got[name] = value
	}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_URL", "WEBORDINARY_ADMIN", "CLIENT_ID"} {
		assert.NotContains(t, got, name)
	}
	dir := filepath.Join(dataDir, "sessions", "environ")
	host, port, _ := strings.Cut(c.Address, ":")
	for name, want := range map[string]string{
		"HTTPS_PROXY": "http://proxy", "npm_config_registry": "http://registry", "SSL_CERT_FILE": "/ca.pem", "KNOWN_HOSTS_FILE": "/known",
		"PATH":                 os.Getenv("PATH"),
		bootapi.EnvSessionID:   "environ",
		bootapi.EnvTokenHash:   bootapi.HashToken("secret"),
		bootapi.EnvWorkspace:   filepath.Join(dir, "workspace"),
		bootapi.EnvCache:       filepath.Join(dataDir, "cache"),
		bootapi.EnvAPIUpstream: "http://127.0.0.1:1",
		bootapi.EnvUser:        strconv.Itoa(os.Getuid()),
		bootapi.EnvListen:      host, bootapi.EnvPort: port,
	} {
		assert.Equal(t, want, got[name], name)
	}
	assert.Equal(t, "127.0.0.1", host)
	assert.DirExists(t, filepath.Join(dir, "workspace"))
	eventuallyLines(t, dataDir, "environ", logName, 1)
}

func TestEnvironmentWithoutPath(t *testing.T) {
	assert.Equal(t, []string{"HOME=/h", "PATH=/usr/local/bin:/usr/bin:/bin"}, basicEnv([]string{"HOME=/h", "SECRET=x"}))
}

func TestStartRefuses(t *testing.T) {
	r := newRunner(t, t.TempDir())
	for name, c := range map[string]struct {
		change func(*sessions.StartRequest)
		want   string
	}{
		"no session":   {func(r *sessions.StartRequest) { r.SessionID = "" }, "session id"},
		"long session": {func(r *sessions.StartRequest) { r.SessionID = strings.Repeat("a", 201) }, "session id"},
		"no epoch":     {func(r *sessions.StartRequest) { r.Epoch = 0 }, "epoch"},
		"no hash":      {func(r *sessions.StartRequest) { r.TokenHash = "" }, "token hash"},
		"odd hash":     {func(r *sessions.StartRequest) { r.TokenHash = "zz" }, "token hash"},
	} {
		req := request("one", 1)
		c.change(&req)
		_, err := r.Start(t.Context(), req)
		assert.ErrorContains(t, err, c.want, name)
	}
}

func TestMissingBinary(t *testing.T) {
	_, err := New(Options{Tunables: Tunables{Binary: filepath.Join(t.TempDir(), "containerboot")}, DataDir: t.TempDir()})
	require.ErrorContains(t, err, "make build")
	require.ErrorContains(t, err, "`binary`")
	_, err = New(Options{DataDir: ""})
	require.ErrorContains(t, err, "data folder")

	// It may also disappear later.
	self, err := os.Executable()
	require.NoError(t, err)
	binary := filepath.Join(t.TempDir(), "containerboot")
	require.NoError(t, os.Symlink(self, binary))
	r := newRunnerOf(t, Options{Tunables: Tunables{Binary: binary}, DataDir: t.TempDir()})
	require.NoError(t, os.Remove(binary))
	_, err = r.Start(t.Context(), request("one", 1))
	require.ErrorContains(t, err, "make build")
	list, err := r.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
}

// A state that cannot be kept means that no second start could be prevented.
func TestNoContainerWithoutItsState(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	dir := filepath.Join(dataDir, "sessions", "one")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, stateName), 0o700))
	_, err := r.Start(t.Context(), request("one", 1))
	require.ErrorContains(t, err, "state")
	assert.Empty(t, lines(t, dataDir, "one", "starts"))
	left, err := filepath.Glob(filepath.Join(dir, stateName+".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestCapacity(t *testing.T) {
	for _, err := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE} {
		wrapped := capacity(&os.PathError{Op: "fork/exec", Path: "/x", Err: err})
		assert.ErrorIs(t, wrapped, sessions.ErrCapacity)
		assert.ErrorIs(t, wrapped, err)
	}
	assert.NotErrorIs(t, capacity(syscall.ENOSPC), sessions.ErrCapacity)
}

func TestCloseOfManyIsAtOnce(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	var ids []string
	for i := range 10 {
		id := fmt.Sprintf("slow-%d", i)
		ids = append(ids, id)
		_, err := r.Start(t.Context(), request(id, 1))
		require.NoError(t, err)
		eventuallyLines(t, dataDir, id, "starts", 1)
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close(t.Context()) }()
	for _, id := range ids {
		eventuallyLines(t, dataDir, id, "asked", 1) // before any of them has saved
	}
	for _, id := range ids {
		release(t, dataDir, id)
	}
	require.NoError(t, <-closed)
	for _, id := range ids {
		assert.Len(t, lines(t, dataDir, id, "saves"), 1)
	}
}

func TestCloseKillsWhenItsTimeIsOver(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dataDir := t.TempDir()
	r := newRunnerOf(t, Options{Tunables: Tunables{Binary: self}, DataDir: dataDir, StopGrace: time.Hour})
	_, err = r.Start(t.Context(), request("stubborn", 1))
	require.NoError(t, err)
	eventuallyLines(t, dataDir, "stubborn", "starts", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, r.Close(ctx))
	assert.False(t, stateOf(t, dataDir, "stubborn").alive())
}

func TestFolderName(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{
		"k3Jx9vPq2LmN8sTtYw5Zab", "a-b_c.d", "client#user#thread", "client_user_thread", "client#user_thread",
		".", "..", ".hidden", "a/b", "a b", "ä", strings.Repeat("a", 100), strings.Repeat("a", 101), strings.Repeat("a", 102), "a~b",
	} {
		name := folderName(id)
		assert.NotContains(t, seen, name, id)
		seen[name] = id
		assert.Regexp(t, `^[A-Za-z0-9_-][A-Za-z0-9_.~-]{0,100}$`, name)
	}
	assert.Equal(t, "k3Jx9vPq2LmN8sTtYw5Zab", folderName("k3Jx9vPq2LmN8sTtYw5Zab"), "ids of ours stand as they are")
	assert.Equal(t, "a-b_c.d", folderName("a-b_c.d"))
	assert.Contains(t, folderName("client#user#thread"), "client_user_thread~")
}

func TestTrimLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, trimLog(path, 10, 5), "no log yet")
	writer, err := openLog(path)
	require.NoError(t, err)
	defer writer.Close()
	for i := range 100 {
		_, err := fmt.Fprintf(writer, "line %02d\n", i)
		require.NoError(t, err)
	}
	require.NoError(t, trimLog(path, 800, 100))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Len(t, data, 800, "within its bounds it stays")

	require.NoError(t, trimLog(path, 799, 20))
	_, err = fmt.Fprintln(writer, "next")
	require.NoError(t, err)
	data, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "line 98\nline 99\nnext\n", string(data))
}
