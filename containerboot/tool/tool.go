// Package tool runs the programs that install and build a client's site: their
// output line by line, each with all of its descendants in one process group that is
// gone when Run returns, or when this process dies, however it dies.
package tool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/runas"
)

const (
	// termGrace is how long a program may take to end after SIGTERM.
	termGrace = 5 * time.Second
	// pipeGrace is how long its output may go on after its whole group was killed. A
	// descendant that left the group could hold the pipe for ever.
	pipeGrace = time.Second
	// tailLines is how many of the last lines an Error carries.
	tailLines = 200
)

// Command is a program to run.
type Command struct {
	// Name is what it is called in messages ("npm ci").
	Name string
	// Args are the program, looked up in Env's PATH, and its arguments.
	Args []string
	Dir  string
	Env  []string
	// User is whom it runs as: when nothing that Run runs as him is left, nothing of his
	// is. Nil: this process's own.
	User *runas.User
	// Secrets are blotted out of the output.
	Secrets []string
	// Line gets each line of output, cleaned and at most 1,000 bytes long, in order.
	// It must not block. Nil: none.
	Line func(string)
}

// Error is a program that failed.
type Error struct {
	Name string
	// Code is the exit status, or -1 if a signal ended it or it never began.
	Code int
	// Lines are the last lines of its output, oldest first.
	Lines []string
	err   error
}

// Error says which program failed and how.
func (e *Error) Error() string { return fmt.Sprintf("running %s: %v", e.Name, e.err) }

// Unwrap returns what lies behind: the context's cause, or the failure of the process.
func (e *Error) Unwrap() error { return e.err }

// Killed reports whether the program was killed, other than by Run: as a rule for want of
// memory.
func (e *Error) Killed() bool {
	exit := (*exec.ExitError)(nil)
	if !errors.As(e.err, &exit) { // else Run's context has ended
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 128+int(syscall.SIGKILL))
}

// Run runs a program to its end. When ctx ends the whole group gets SIGTERM, and
// SIGKILL 5 s later. Run returns nil, or an *Error.
func Run(ctx context.Context, c Command) error {
	out := newLines(c.Secrets, c.Line)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchCrowd(ctx, c, cancel)
	err := run(ctx, c, out)
	if err == nil {
		return nil
	}
	e := &Error{Name: c.Name, Code: -1, Lines: out.tail(), err: err}
	if cause := context.Cause(ctx); cause != nil {
		e.err = cause
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		e.Code = exit.ExitCode()
	}
	return e
}

// firstForMemory runs a program so that it, and all that it starts, is what the kernel
// ends when memory runs out, however little each of them has, and not this process.
const firstForMemory = `{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; exec "$0" "$@"`

func run(ctx context.Context, c Command, out *lines) error {
	path, err := LookPath(c.Args[0], c.Env)
	if err != nil {
		return err
	}
	guard, err := startGuard()
	if err != nil {
		return fmt.Errorf("starting its guard: %w", err)
	}
	defer guard.end()
	leave := c.User.Enter()
	defer leave()

	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()

	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", firstForMemory, path}, c.Args[1:]...)...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = inGroup(guard.group())
	cmd.SysProcAttr.Credential = c.User.Credential()
	cmd.Cancel = func() error { return syscall.Kill(-guard.group(), syscall.SIGTERM) }
	cmd.WaitDelay = termGrace

	// The signal at the parent's death is sent when the *thread* that started the
	// child ends: keep it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		out.readFrom(r)
	}()
	err = cmd.Wait()

	guard.end()
	leave()
	timer := time.NewTimer(pipeGrace)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
		r.Close() // ends the reader
		<-read
	}
	return err
}

// LookPath finds a program in the PATH of an environment, not of this process.
func LookPath(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		// A relative folder in PATH would be looked up in whatever folder this is.
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		file := strings.TrimSuffix(dir, "/") + "/" + name
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
