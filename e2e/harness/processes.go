package harness

import (
	"bytes"
	"errors"
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

	"github.com/stretchr/testify/require"
)

// Process is a process as the kernel shows it.
type Process struct {
	PID     int
	Parent  int
	Command string
	// SessionID is that of its environment; "" if it has none.
	SessionID string
}

// Processes returns the processes that work in a folder: which were started in it, or
// whose command line or environment names it.
func Processes(t testing.TB, dir string) []Process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ok := look(pid, dir); ok {
			found = append(found, p)
		}
	}
	return found
}

// look reads a process of /proc; one that ends meanwhile, and a zombie, are not there.
func look(pid int, dir string) (Process, bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	environ, err := os.ReadFile(filepath.Join(proc, "environ"))
	if err != nil {
		return Process{}, false
	}
	cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil || len(cmdline) == 0 {
		return Process{}, false
	}
	cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil {
		return Process{}, false
	}
	if cwd != dir && !strings.HasPrefix(cwd, dir+"/") && !bytes.Contains(environ, []byte(dir)) && !bytes.Contains(cmdline, []byte(dir)) {
		return Process{}, false
	}
	status, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return Process{}, false
	}
	// The command's name, in brackets, may hold spaces; then come state and parent.
	_, rest, _ := strings.Cut(string(status), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return Process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return Process{}, false
	}
	p := Process{PID: pid, Parent: parent, Command: string(bytes.TrimSpace(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))}
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if id, ok := bytes.CutPrefix(kv, []byte("SESSION_ID=")); ok {
			p.SessionID = string(id)
		}
	}
	return p, true
}

// Containers returns the containerboot processes of the edge's data folder.
func (e *Edge) Containers() []Process {
	e.t.Helper()
	all := slices.DeleteFunc(Processes(e.t, e.Data), func(p Process) bool {
		name, _, _ := strings.Cut(p.Command, " ")
		return filepath.Base(name) != "containerboot"
	})
	// A child that has not run its own program yet looks like its parent. And of two
	// the one may have ended before the other began: looking takes a while.
	return slices.DeleteFunc(slices.Clone(all), func(p Process) bool {
		if slices.ContainsFunc(all, func(q Process) bool { return q.PID == p.Parent }) {
			return true
		}
		again, there := look(p.PID, e.Data)
		return !there || again.Command != p.Command
	})
}

// Container returns the one container of a session; the test fails unless there is one.
func (s *Session) Container() Process {
	s.edge.t.Helper()
	var own []Process
	for _, p := range s.edge.Containers() {
		if p.SessionID == s.SessionID {
			own = append(own, p)
		}
	}
	require.Len(s.edge.t, own, 1, "containers of the session")
	return own[0]
}

// AwaitAsleep waits until the session is inactive and nothing of it runs.
func (s *Session) AwaitAsleep() {
	s.edge.t.Helper()
	EventuallyEvery(s.edge.t, Patience, 100*time.Millisecond, "the session's container has ended", func() bool {
		return !slices.ContainsFunc(s.edge.Containers(), func(p Process) bool { return p.SessionID == s.SessionID })
	})
	if s.edge.Running() {
		EventuallyEvery(s.edge.t, Patience, 100*time.Millisecond, "the session is inactive", func() bool { return s.Now().Status == "inactive" })
	}
}

// Started is how many containers were ever started.
func (e *Edge) Started() int {
	e.t.Helper()
	return len(e.lines(e.starts))
}

// Tools returns the command line of every git, node and npm that was run, in their order.
func (e *Edge) Tools() []string {
	e.t.Helper()
	return e.lines(e.tools)
}

// ForgetTools forgets the tools that were run so far.
func (e *Edge) ForgetTools() {
	e.t.Helper()
	require.NoError(e.t, os.WriteFile(e.tools, nil, 0o600))
}

func (e *Edge) lines(file string) []string {
	e.t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(e.t, err)
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool { return line == "" })
}

// recordTools makes a PATH on which git, node and npm write down that they were run.
func (e *Edge) recordTools(dir string) string {
	e.t.Helper()
	require.NoError(e.t, os.MkdirAll(dir, 0o755))
	for _, tool := range []string{"git", "node", "npm", "npx"} {
		binary, err := exec.LookPath(tool)
		require.NoError(e.t, err)
		e.writeScript(filepath.Join(dir, tool), fmt.Sprintf("echo %s \"$@\" >>%q\nexec %q \"$@\"\n", tool, e.tools, binary))
	}
	return dir + string(os.PathListSeparator) + os.Getenv("PATH")
}

func (e *Edge) writeScript(file, body string) {
	e.t.Helper()
	syscall.ForkLock.RLock() // as in Copy
	defer syscall.ForkLock.RUnlock()
	require.NoError(e.t, os.WriteFile(file, []byte("#!/bin/sh\n"+body), 0o700))
}

// Most watches how many containers of a session run at once, until stop is called,
// which returns the highest number that was seen.
func (s *Session) Most() (stop func() int) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	most := 0
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			own := slices.DeleteFunc(s.edge.Containers(), func(p Process) bool { return p.SessionID != s.SessionID })
			if len(own) > max(most, 1) {
				s.edge.t.Logf("containers of session %s at once: %+v", s.SessionID, own)
			}
			most = max(most, len(own))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return func() int {
		close(done)
		wg.Wait()
		return most
	}
}
