//go:build unix

package process

import (
	"errors"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// child is a container that this process started.
type child struct {
	runner   *Runner
	cmd      *exec.Cmd
	dir      string
	clientID string
	started  time.Time
	state    state // as of the start; never changes
	done     chan struct{}

	mu      sync.Mutex
	reason  string // why it was told to end; "" if it was not
	killing *time.Timer
}

// stop asks the container to save and end, and kills it when the grace is over. It
// does not wait. Only the first call does anything.
func (c *child) stop(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reason != "" {
		return
	}
	c.reason = reason
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended, which is what is wanted
	c.killing = time.AfterFunc(c.runner.grace, func() {
		c.runner.log.Warn("killing a container that did not end in time", c.fields()...)
		c.kill()
	})
}

// kill ends the container at once; wait then ends what it started.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // as above
}

// wait sees the container to its end, and ends what it leaves behind.
func (c *child) wait() {
	reap(c.cmd, c.dir)
	c.mu.Lock()
	if c.killing != nil {
		c.killing.Stop()
	}
	reason := c.reason
	c.mu.Unlock()

	how := c.cmd.ProcessState.String()
	ended := c.state
	ended.Ended = true
	ended.Unsaved = keepsUnsaved(c.cmd.ProcessState.ExitCode(), c.state.Unsaved, c.dir, c.started)
	ended.Reason = how
	if reason != "" {
		ended.Reason = reason + " (" + how + ")"
	}
	fields := append(c.fields(), zap.String("reason", ended.Reason))
	// That it has ended can be seen without its state, only not why.
	if err := errors.Join(ended.write(c.dir), trimLog(filepath.Join(c.dir, logName), maxLog, keptLog)); err != nil {
		fields = append(fields, zap.Error(err))
	}
	c.runner.log.Info("container ended", fields...)

	c.runner.mu.Lock()
	delete(c.runner.children, c.state.SessionID)
	c.runner.mu.Unlock()
	close(c.done)
}

// container is the child as a runner's users see it.
func (c *child) container() sessions.Container {
	return sessions.Container{
		Ref: c.state.ref(), SessionID: c.state.SessionID, Epoch: c.state.Epoch,
		Address: c.state.Address, Running: true,
	}
}

func (c *child) fields() []zap.Field {
	return []zap.Field{
		zap.String("client", c.clientID), zap.String("session", c.state.SessionID),
		zap.Int64("epoch", c.state.Epoch), zap.Int("pid", c.state.PID),
	}
}
