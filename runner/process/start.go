//go:build unix

package process

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// lockPoll is how often a lock that a container holds is tried again.
const lockPoll = 20 * time.Millisecond

// killWait is how long killed processes may take to be gone: more means that one hangs
// in the kernel, on a dead network disk for instance.
const killWait = 5 * time.Second

// Start starts the container of a session's epoch. See sessions.Runner. The container
// of an epoch that an earlier process started is returned as it is: it ends by itself,
// and the next epoch starts when it has.
func (r *Runner) Start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	if err := check(req); err != nil {
		return sessions.Container{}, fmt.Errorf("starting a container: %w", err)
	}
	c, err := r.start(ctx, req)
	if err != nil {
		return sessions.Container{}, fmt.Errorf("starting a container for session %q, epoch %d: %w", req.SessionID, req.Epoch, err)
	}
	return c, nil
}

func check(req sessions.StartRequest) error {
	switch hash, err := hex.DecodeString(req.TokenHash); {
	case req.SessionID == "" || len(req.SessionID) > maxSessionID:
		return fmt.Errorf("session id must have 1 to %d bytes, got %d", maxSessionID, len(req.SessionID))
	case req.Epoch < 1:
		return fmt.Errorf("epoch must be 1 or more, got %d", req.Epoch)
	case err != nil || len(hash) != 32:
		return errors.New("token hash must be a SHA-256 in hex")
	default:
		return nil
	}
}

func (r *Runner) start(ctx context.Context, req sessions.StartRequest) (sessions.Container, error) {
	if err := r.usable(); err != nil {
		return sessions.Container{}, err
	}
	unlock, err := r.busy.Lock(ctx, req.SessionID)
	if err != nil {
		return sessions.Container{}, err
	}
	defer unlock()

	dir := r.dir(req.SessionID)
	last, err := readState(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return sessions.Container{}, err
	case last.Epoch > req.Epoch:
		return sessions.Container{}, fmt.Errorf("epoch %d was started since: %w", last.Epoch, sessions.ErrNoContainer)
	case last.Epoch == req.Epoch && !last.of(req) && last.alive():
		return sessions.Container{}, sessions.ErrOtherToken
	case last.of(req):
		if c := r.child(req.SessionID); c != nil {
			return c.container(), nil
		}
		return last.formerContainer(), nil
	}

	if c := r.child(req.SessionID); c != nil {
		c.stop("a newer epoch starts")
		select {
		case <-c.done:
		case <-ctx.Done():
			return sessions.Container{}, ctx.Err()
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "workspace"), 0o700); err != nil {
		return sessions.Container{}, fmt.Errorf("making the session's folder: %w", err)
	}
	lock, err := r.succeed(ctx, dir, last)
	if err != nil {
		return sessions.Container{}, err
	}
	defer lock.Close()
	c, err := r.launch(req, dir, lock, last.unsaved())
	if err != nil {
		return sessions.Container{}, err
	}
	return c.container(), nil
}

// succeed takes the session's lock, from the container of an earlier process if that
// still has it: it is asked to end, waited for while it saves, and then killed.
func (r *Runner) succeed(ctx context.Context, dir string, last state) (*os.File, error) {
	path := filepath.Join(dir, "container.lock")
	lock, err := tryLock(path)
	if err == nil {
		if last.PID != 0 && !last.Ended {
			killLeftovers(0, dir)
		}
		return lock, nil
	}
	if !errors.Is(err, errLocked) {
		return nil, err
	}
	r.log.Info("waiting for the session's earlier container to save and end",
		zap.String("session", last.SessionID), zap.Int64("epoch", last.Epoch), zap.Int("pid", last.PID))
	last.signal(syscall.SIGTERM)
	deadline := time.Now().Add(r.grace)
	killed := false
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockPoll):
		}
		lock, err := tryLock(path)
		if err == nil {
			killLeftovers(0, dir)
			return lock, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		switch now := time.Now(); {
		case now.Before(deadline):
		case killed:
			return nil, fmt.Errorf("an earlier container of the session holds %s and cannot be ended: %w", path, sessions.ErrRunnerUnavailable)
		default:
			r.log.Warn("killing an earlier container that did not end in time",
				zap.String("session", last.SessionID), zap.Int64("epoch", last.Epoch), zap.Int("pid", last.PID))
			last.signal(syscall.SIGKILL)
			killed, deadline = true, now.Add(killWait)
		}
	}
}

// launch starts the process, in a workspace that may hold unsaved work. The lock goes to
// it; what else is opened here is its own, too, and closed in this process.
func (r *Runner) launch(req sessions.StartRequest, dir string, lock *os.File, unsaved bool) (*child, error) {
	leave, err := r.enter()
	if err != nil {
		return nil, err
	}
	defer leave()

	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("opening a port: %w", capacity(err))
	}
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("opening a port: %w", capacity(err))
	}
	defer socket.Close()
	output, err := openLog(filepath.Join(dir, logName))
	if err != nil {
		return nil, fmt.Errorf("opening the container's log: %w", capacity(err))
	}
	defer output.Close()

	addr := listener.Addr().(*net.TCPAddr)
	tunables := r.tunables.Load()
	cmd := exec.Command(tunables.Binary) //nolint:noctx // a container outlives whoever asks for it
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{r.parentRead, lock, socket} // 3, 4, 5
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(basicEnv(os.Environ()),
		bootapi.EnvSessionID+"="+req.SessionID,
		bootapi.EnvTokenHash+"="+req.TokenHash,
		// Nobody's files are another user's here: see the package comment of containerboot.
		fmt.Sprintf("%s=%d", bootapi.EnvUser, os.Getuid()),
		bootapi.EnvListen+"="+addr.IP.String(),
		fmt.Sprintf("%s=%d", bootapi.EnvPort, addr.Port),
		bootapi.EnvParentFD+"=3", bootapi.EnvLockFD+"=4", bootapi.EnvListenFD+"=5",
		bootapi.EnvWorkspace+"="+filepath.Join(dir, "workspace"),
		bootapi.EnvCache+"="+filepath.Join(r.dataDir, "cache"),
	)
	if tunables.APIUpstream != "" {
		cmd.Env = append(cmd.Env, bootapi.EnvAPIUpstream+"="+tunables.APIUpstream)
	}

	started := time.Now()
	if err := cmd.Start(); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s is gone: build it with `make build`, or set `binary`: %w", tunables.Binary, err)
		}
		return nil, fmt.Errorf("starting %s: %w", tunables.Binary, capacity(err))
	}
	c := &child{
		runner: r, cmd: cmd, dir: dir, clientID: req.ClientID, started: started, done: make(chan struct{}),
		state: state{
			SessionID: req.SessionID, Epoch: req.Epoch, TokenHash: req.TokenHash, PID: cmd.Process.Pid,
			Process: processIdentity(cmd.Process.Pid), Address: addr.String(), Unsaved: unsaved,
		},
	}
	// Without its state nobody could keep a second container of this epoch from
	// being started, so without it there is none.
	if err := c.state.write(dir); err != nil {
		_ = cmd.Process.Kill() // not reaped yet, so it cannot fail
		_ = cmd.Wait()
		return nil, err
	}
	r.mu.Lock()
	r.children[req.SessionID] = c
	r.mu.Unlock()
	r.work.Go(c.wait)
	r.log.Info("container started", append(c.fields(), zap.String("address", c.state.Address))...)
	return c, nil
}

// capacity marks the errors which say that the machine has no room for more.
func capacity(err error) error {
	for _, full := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EADDRINUSE} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", sessions.ErrCapacity, err)
		}
	}
	return err
}
