package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/dynamodblocal"
)

// Moods are how an ECS behaves, as ecsfake takes them.
type Moods map[string]any

// Worst are all bad moods that pass, at once.
func Worst() Moods {
	return Moods{
		"provision": "100ms", "pull": "100ms", "deprovision": "50ms", "slow": "10ms",
		"throttle": 7, "lag": "300ms", "loseReplies": 3, "reuseAddresses": true,
	}
}

// ECSOptions say how an ECS differs from one that is at its best.
type ECSOptions struct {
	// Bin is the folder of the containerboot that containers run. Default: Released.
	Bin string
	// APIUpstream gets the /api/ requests of every session.
	APIUpstream string
	// StopTimeout is the time from SIGTERM to SIGKILL. Default: 30 s.
	StopTimeout time.Duration
	Moods       Moods
}

// ECS is a fake Amazon ECS, a program of its own, whose containers are processes at
// addresses of their own. Everything of it is gone when its test has ended.
type ECS struct {
	t testing.TB
	// URL is where its API listens.
	URL string
	// Port is on which the containers listen.
	Port int

	dir    string
	client *http.Client
}

var buildECS = sync.OnceValues(func() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, ".cache", "ecsfake")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", binary, "./runner/ecs/ecstest/ecsfake")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the fake ECS: %w\n%s", err, out)
	}
	return binary, nil
})

// NewECS starts one for the time of a test.
func NewECS(t testing.TB, o ECSOptions) *ECS {
	t.Helper()
	binary, err := buildECS()
	require.NoError(t, err)
	if o.Bin == "" {
		o.Bin = Released(t)
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 30 * time.Second
	}
	if o.Moods == nil {
		o.Moods = Moods{}
	}
	moods, err := json.Marshal(o.Moods)
	require.NoError(t, err)
	e := &ECS{t: t, dir: t.TempDir(), client: newHTTPClient()}
	boot := filepath.Join(e.dir, "containerboot")
	Copy(t, filepath.Join(o.Bin, "containerboot"), boot)

	log := new(Log)
	cmd := exec.CommandContext(context.Background(), binary, "-dir", e.dir, "-region", dynamodblocal.Region,
		"-stop-timeout", o.StopTimeout.String(), "-moods", string(moods), "--", boot)
	cmd.Stderr = log
	cmd.WaitDelay = time.Second
	if o.APIUpstream != "" {
		cmd.Env = append(os.Environ(), bootapi.EnvAPIUpstream+"="+o.APIUpstream)
	}
	stdin, err := cmd.StdinPipe() // it ends with us, however we end
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, readErr := bufio.NewReader(stdout).ReadBytes('\n')
	t.Cleanup(func() {
		_ = stdin.Close() // it may have ended
		assert.NoError(t, cmd.Wait(), log.String())
		e.client.CloseIdleConnections()
		left := Processes(t, e.dir)
		assert.Empty(t, left, "containers were left behind")
	})
	require.NoError(t, readErr, log.String())
	var where struct {
		Endpoint string `json:"endpoint"`
		Port     int    `json:"port"`
	}
	require.NoError(t, json.Unmarshal(line, &where))
	e.URL, e.Port = where.Endpoint, where.Port
	return e
}

// Task is a container as it is, whatever the API shows.
type Task struct {
	ARN        string            `json:"arn"`
	SessionID  string            `json:"sessionId"`
	Address    string            `json:"address"`
	LastStatus string            `json:"lastStatus"`
	PID        int               `json:"pid"`
	Tags       map[string]string `json:"tags"`
}

// Tasks returns every task that a RunTask ever made for a session, or for all with "",
// the oldest first.
func (e *ECS) Tasks(session string) []Task {
	e.t.Helper()
	var all, own []Task
	e.get("tasks", &all)
	for _, task := range all {
		if session == "" || task.SessionID == session {
			own = append(own, task)
		}
	}
	return own
}

// Running returns those of Tasks that have not stopped.
func (e *ECS) Running(session string) []Task {
	e.t.Helper()
	var running []Task
	for _, task := range e.Tasks(session) {
		if task.LastStatus != "STOPPED" {
			running = append(running, task)
		}
	}
	return running
}

// Task returns the one container of a session that runs; the test fails unless there is one.
func (e *ECS) Task(session string) Task {
	e.t.Helper()
	running := e.Running(session)
	require.Len(e.t, running, 1, "containers of the session")
	return running[0]
}

// Doubles returns the sessions of which two containers ever ran at once.
func (e *ECS) Doubles() []string {
	e.t.Helper()
	var doubles []string
	e.get("doubles", &doubles)
	return doubles
}

// SetMoods changes the moods for what comes.
func (e *ECS) SetMoods(m Moods) {
	e.t.Helper()
	text, err := json.Marshal(m)
	require.NoError(e.t, err)
	e.do(http.MethodPut, "moods", bytes.NewReader(text))
}

// Kill kills a task's container, as a crash would.
func (e *ECS) Kill(t Task) { e.t.Helper(); e.tell("kill", t) }

// Pause stops a task's container in its tracks: it hangs.
func (e *ECS) Pause(t Task) { e.t.Helper(); e.tell("pause", t) }

// End ends a task as ECS does for reasons of its own.
func (e *ECS) End(t Task) { e.t.Helper(); e.tell("end", t) }

func (e *ECS) tell(what string, t Task) {
	e.t.Helper()
	e.do(http.MethodPost, what+"?"+url.Values{"task": {t.ARN}, "reason": {"a test's"}}.Encode(), http.NoBody)
}

// Output returns what a task's container has written.
func (e *ECS) Output(t Task) string {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "tasks", path.Base(t.ARN)+".log"))
	require.NoError(e.t, err)
	return string(text)
}

// ReadyAt is when a task's container wrote that its site answers, which is waited for.
func (e *ECS) ReadyAt(t Task) time.Time {
	e.t.Helper()
	var at time.Time
	Eventually(e.t, Patience, "the container says that its site answers", func() bool {
		for line := range strings.Lines(e.Output(t)) {
			var entry struct {
				Time    string `json:"time"`
				Message string `json:"msg"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "session ready" {
				var err error
				at, err = time.Parse(time.RFC3339Nano, entry.Time)
				require.NoError(e.t, err, line)
			}
		}
		return !at.IsZero()
	})
	return at
}

func (e *ECS) get(what string, to any) {
	e.t.Helper()
	require.NoError(e.t, json.Unmarshal(e.do(http.MethodGet, what, http.NoBody), to))
}

func (e *ECS) do(method, what string, body io.Reader) []byte {
	e.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, e.URL+"/-/"+what, body)
	require.NoError(e.t, err)
	resp, err := e.client.Do(r)
	require.NoError(e.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(e.t, err)
	require.Equal(e.t, http.StatusOK, resp.StatusCode, "%s: %s", what, text)
	return text
}
