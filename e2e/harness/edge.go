package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Options say how an edge differs from that of `make run`.
type Options struct {
	// Bin is the folder of its binaries. Default: Released.
	Bin string
	// IdleTimeout overrides that of every client, "5s" for example.
	IdleTimeout string
	// APIUpstream gets the /api/ requests of every session.
	APIUpstream string
	// Containerboot returns a shell script to run in the place of the containerboot binary.
	Containerboot func(binary string) string
	// Config returns the edge's Caddyfile, given the default one.
	Config func(string) string
	// Env are further variables of the edge and of its commands, as in os.Environ.
	Env []string
}

// Edge is an edge on its own data folder and ports. Everything of it is gone when its
// test has ended, or the test fails.
type Edge struct {
	t testing.TB
	// Data is WEBORDINARY_DATA.
	Data      string
	HTTPPort  int
	HTTPSPort int
	Admin     string
	// Config is its Caddyfile.
	Config string
	// Log is what it and its containers have written.
	Log *Log

	bin    string
	env    []string
	starts string // file with one line per container that was ever started
	tools  string // file with one line per tool that was run
	client *http.Client

	cmd    *exec.Cmd
	exited chan struct{}
}

// New makes an edge's folder and configuration; Start starts it.
func New(t testing.TB, o Options) *Edge {
	t.Helper()
	if o.Bin == "" {
		o.Bin = Released(t)
	}
	dir := t.TempDir()
	ports := FreePorts(t, 3)
	e := &Edge{
		t:        t,
		Data:     filepath.Join(dir, "data"),
		HTTPPort: ports[0], HTTPSPort: ports[1], Admin: fmt.Sprintf("localhost:%d", ports[2]),
		Config: filepath.Join(dir, "Caddyfile"),
		Log:    new(Log),
		bin:    filepath.Join(dir, "bin"),
		starts: filepath.Join(dir, "starts"),
		tools:  filepath.Join(dir, "tools"),
	}
	require.NoError(t, os.MkdirAll(e.Data, 0o755))
	require.NoError(t, os.MkdirAll(e.bin, 0o755))

	// The edge looks for containerboot beside itself and finds a script that counts.
	Copy(t, filepath.Join(o.Bin, "caddy"), filepath.Join(e.bin, "caddy"))
	counted := filepath.Join(e.bin, "counted", "containerboot")
	require.NoError(t, os.MkdirAll(filepath.Dir(counted), 0o755))
	Copy(t, filepath.Join(o.Bin, "containerboot"), counted)
	command := fmt.Sprintf("exec %q \"$@\"", counted)
	if o.Containerboot != nil {
		command = o.Containerboot(counted)
	}
	e.writeScript(filepath.Join(e.bin, "containerboot"), fmt.Sprintf("echo \"$SESSION_ID $$\" >>%q\n%s\n", e.starts, command))
	path := e.recordTools(filepath.Join(dir, "path"))

	config, err := os.ReadFile(filepath.Join(Root(t), "Caddyfile"))
	require.NoError(t, err)
	text := string(config)
	if o.Config != nil {
		text = o.Config(text)
	}
	require.NoError(t, os.WriteFile(e.Config, []byte(text), 0o600))

	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEBORDINARY_") && !strings.HasPrefix(kv, "XDG_") && !strings.HasPrefix(kv, "PATH=") {
			e.env = append(e.env, kv)
		}
	}
	e.env = append(e.env,
		"PATH="+path,
		"XDG_DATA_HOME="+filepath.Join(dir, "xdg"),
		"XDG_CONFIG_HOME="+filepath.Join(dir, "xdg"),
		"WEBORDINARY_DATA="+e.Data,
		fmt.Sprintf("WEBORDINARY_HTTP_PORT=%d", e.HTTPPort),
		fmt.Sprintf("WEBORDINARY_HTTPS_PORT=%d", e.HTTPSPort),
		"WEBORDINARY_ADMIN="+e.Admin,
	)
	e.env = append(e.env, o.Env...)
	if o.IdleTimeout != "" {
		e.env = append(e.env, "WEBORDINARY_IDLE_TIMEOUT="+o.IdleTimeout)
	}
	if o.APIUpstream != "" {
		e.env = append(e.env, "WEBORDINARY_API_UPSTREAM="+o.APIUpstream)
	}
	e.client = newHTTPClient()
	t.Cleanup(e.cleanUp)
	return e
}

// Start starts the edge and waits until it serves.
func (e *Edge) Start() {
	e.t.Helper()
	e.StartUntil(http.StatusNotFound)
}

// StartUntil starts the edge and waits until it answers so for a host that is nobody's.
func (e *Edge) StartUntil(status int) {
	e.t.Helper()
	cmd := exec.CommandContext(context.Background(), filepath.Join(e.bin, "caddy"), "run", "--config", e.Config, "--adapter", "caddyfile")
	cmd.Env = e.env
	cmd.Dir = filepath.Dir(e.Config)
	cmd.Stdout, cmd.Stderr = e.Log, e.Log
	// Ctrl-C in a terminal reaches the whole group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Containers that outlive their edge may hold its output open.
	cmd.WaitDelay = time.Second
	require.NoError(e.t, cmd.Start())
	exited := make(chan struct{})
	e.cmd, e.exited = cmd, exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is told by ProcessState
	}()
	Eventually(e.t, Patience, "the edge serves", func() bool {
		select {
		case <-exited:
			require.FailNow(e.t, "the edge ended at its start", e.Log.String())
		default:
		}
		a, err := e.Try(Request{Host: "edit.nobody.localhost", Path: "/"})
		return err == nil && a.Status == status
	})
}

// Running reports whether the edge's process runs.
func (e *Edge) Running() bool {
	if e.cmd == nil {
		return false
	}
	select {
	case <-e.exited:
		return false
	default:
		return true
	}
}

// PID is the edge's process.
func (e *Edge) PID() int { return e.cmd.Process.Pid }

// Interrupt is Ctrl-C: it reaches the edge's whole process group. It returns once the
// edge has ended.
func (e *Edge) Interrupt() {
	e.t.Helper()
	e.InterruptWithin(Patience)
}

// InterruptWithin is Interrupt with a limit of its own.
func (e *Edge) InterruptWithin(limit time.Duration) {
	e.t.Helper()
	require.NoError(e.t, syscall.Kill(-e.cmd.Process.Pid, syscall.SIGINT))
	e.awaitExit(limit)
}

// Kill9 ends the edge without a chance to do anything about it.
func (e *Edge) Kill9() {
	e.t.Helper()
	require.NoError(e.t, syscall.Kill(e.cmd.Process.Pid, syscall.SIGKILL))
	e.awaitExit(Patience)
}

func (e *Edge) awaitExit(limit time.Duration) {
	e.t.Helper()
	select {
	case <-e.exited:
	case <-time.After(limit):
		require.FailNowf(e.t, "the edge did not end", "within %s", limit)
	}
}

// cleanUp ends what runs, and fails the test for what the edge should not have left.
func (e *Edge) cleanUp() {
	if e.Running() {
		assert.NoError(e.t, syscall.Kill(e.cmd.Process.Pid, syscall.SIGINT))
		select {
		case <-e.exited:
		case <-time.After(Patience):
			assert.Fail(e.t, "the edge did not end after its interrupt")
			_ = syscall.Kill(e.cmd.Process.Pid, syscall.SIGQUIT) // its goroutines go to the log
			<-time.After(time.Second)
			_ = syscall.Kill(e.cmd.Process.Pid, syscall.SIGKILL)
			<-e.exited
		}
	}
	deadline := time.Now().Add(time.Minute)
	left := Processes(e.t, e.Data)
	for len(left) > 0 && time.Now().Before(deadline) {
		<-time.After(50 * time.Millisecond)
		left = Processes(e.t, e.Data)
	}
	assert.Empty(e.t, left, "processes were left behind")
	for _, p := range left {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	log := e.Log.String()
	for _, bad := range []string{"DATA RACE", "panic:", "panic serving", "fatal error:"} {
		if strings.Contains(log, bad) { // the log itself is shown below
			assert.Failf(e.t, "the log is not clean", "it has %q", bad)
		}
	}
	if e.t.Failed() {
		e.t.Logf("the edge's log, its end:\n%s", lastLines(log, 40_000))
	}
}

func lastLines(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[len(s)-most:]
	return s[strings.IndexByte(s, '\n')+1:]
}

// Result is how a command ended.
type Result struct {
	Out, Err string
	Code     int
}

// Run runs a command of the edge's binary beside the running edge, or without one.
func (e *Edge) Run(stdin string, args ...string) Result {
	e.t.Helper()
	return e.RunWithin(Patience, strings.NewReader(stdin), args...)
}

// RunWithin is Run for much input, with a limit of its own.
func (e *Edge) RunWithin(limit time.Duration, stdin io.Reader, args ...string) Result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, "caddy"), args...)
	cmd.Env = e.env
	cmd.Dir = filepath.Dir(e.Config)
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(e.t, err)
	}
	require.NoError(e.t, ctx.Err(), "%q took too long: %s%s", args, out.String(), errs.String())
	return Result{Out: out.String(), Err: errs.String(), Code: cmd.ProcessState.ExitCode()}
}

// Shell runs a command line beside the edge, in the folder of its configuration and with
// its binary as caddy. Out is all that it prints.
func (e *Edge) Shell(command string) Result {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(slices.Clone(e.env), "PATH="+e.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Dir = filepath.Dir(e.Config)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(e.t, err)
	}
	require.NoError(e.t, ctx.Err(), "%q took too long: %s", command, out)
	return Result{Out: string(out), Code: cmd.ProcessState.ExitCode()}
}

// Command is a command of the edge's binary that is not started yet.
func (e *Edge) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(e.bin, "caddy"), args...)
	cmd.Env = e.env
	cmd.Dir = filepath.Dir(e.Config)
	return cmd
}

// PortSuffix is ":" and the port at which visitors reach the edge.
func (e *Edge) PortSuffix() string { return fmt.Sprintf(":%d", e.HTTPPort) }

// CLI runs `caddy webordinary …` and expects it to succeed.
func (e *Edge) CLI(args ...string) string {
	e.t.Helper()
	r := e.Run("", append([]string{"webordinary"}, args...)...)
	require.Zerof(e.t, r.Code, "%q: %s%s", args, r.Out, r.Err)
	return r.Out
}

// Reload loads a configuration into the running edge, as an operator does.
func (e *Edge) Reload(config string) Result {
	e.t.Helper()
	file := filepath.Join(filepath.Dir(e.Config), "Caddyfile.next")
	require.NoError(e.t, os.WriteFile(file, []byte(config), 0o600))
	return e.Run("", "reload", "--config", file, "--adapter", "caddyfile", "--address", e.Admin, "--force")
}

// ConfigText is the edge's Caddyfile.
func (e *Edge) ConfigText() string {
	e.t.Helper()
	text, err := os.ReadFile(e.Config)
	require.NoError(e.t, err)
	return string(text)
}

// Session is a session as the CLI shows it.
type Session struct {
	SessionID  string `json:"sessionId"`
	ClientID   string `json:"clientId"`
	UserID     string `json:"userId"`
	ThreadID   string `json:"threadId"`
	EditBranch string `json:"editBranch"`
	Status     string `json:"status"`
	PreviewURL string `json:"previewUrl"`
	Epoch      int64  `json:"epoch"`

	edge *Edge
	host string
}

// CreateSession makes a session of a site by the CLI. A running edge wakes it, without
// one it stays inactive.
func (e *Edge) CreateSession(s *Site, args ...string) *Session {
	e.t.Helper()
	var session Session
	out := e.CLI(append([]string{"session", "create", s.ID, "--json"}, args...)...)
	require.NoError(e.t, json.Unmarshal([]byte(out), &session), out)
	require.NotEmpty(e.t, session.SessionID)
	session.edge, session.host = e, s.Host
	return &session
}

// SessionOf is a session that was made otherwise, of which the id alone is known.
func (e *Edge) SessionOf(s *Site, id string) *Session {
	return &Session{SessionID: id, ClientID: s.ID, edge: e, host: s.Host}
}

// On is the session as it is seen by another edge of its cluster.
func (s *Session) On(e *Edge) *Session {
	on := *s
	on.edge = e
	return &on
}

// Now reads the session's record anew.
func (s *Session) Now() Session {
	s.edge.t.Helper()
	var now Session
	out := s.edge.CLI("session", "get", s.SessionID, "--json")
	require.NoError(s.edge.t, json.Unmarshal([]byte(out), &now), out)
	return now
}

// Workspace is the session's working tree.
func (s *Session) Workspace() string {
	return filepath.Join(s.edge.Data, "sessions", s.SessionID, "workspace")
}
