//go:build unix

// Package process runs session containers as child processes of the edge: one
// containerboot for each session, on a port of the loopback interface. It needs no
// Docker and no cloud, and it isolates nothing: a client's code runs with the rights of
// the edge. It is for trusted sites only, and says so in the log.
//
// What a container starts ends with it, and a container ends with its edge: it holds
// the read end of a pipe whose write end only the edge has, saves its work when the
// edge is gone, and ends. An edge that comes after finds what is still saving by a lock
// that each container holds, and starts no second one beside it.
//
// A data folder is one Runner's at a time. Its layout:
//
//	runner.lock                    held by the process whose containers these are; its id
//	cache/                         containerboot's caches
//	sessions/{id}/workspace/       the client's working tree
//	sessions/{id}/container.log    what the container printed, at most 5 MiB
//	sessions/{id}/container.json   the last container: epoch, process, address, end
//	sessions/{id}/container.lock   held by the container
package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/keylock"
	"github.com/webordinary/router/sessions"
)

// Options are what a Runner is made of.
type Options struct {
	// DataDir is the folder of sessions and caches. It is made if it does not exist.
	DataDir string
	// Tunables are the first ones; see SetTunables.
	Tunables Tunables
	// StopGrace is how long a container has to save and end before it is killed.
	// Default: bootapi.StopGrace.
	StopGrace time.Duration
	// Logger is for what happens to containers. Default: none.
	Logger *zap.Logger
}

// Runner is a sessions.Runner of child processes.
type Runner struct {
	dataDir  string
	tunables atomic.Pointer[Tunables] // Binary is absolute
	grace    time.Duration
	log      *zap.Logger
	lock     *os.File // runner.lock

	// parentRead goes to every container; it reaches its end when parentWrite is
	// closed, which nobody but this process has.
	parentRead, parentWrite *os.File

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup

	underway sync.WaitGroup // what Close must wait for; see enter
	surveyed chan struct{}  // closed once former is complete

	mu       sync.Mutex
	closed   bool
	children map[string]*child // by session id, until they have ended
	former   map[string]state  // containers of an earlier process that still run
	busy     keylock.Locks     // by session
}

// New returns a runner, which starts no container by itself. It fails if another edge
// uses the data folder, for which an edge that was killed, and whose containers are
// still saving, does not count.
func New(o Options) (_ *Runner, err error) {
	if o.DataDir == "" {
		return nil, errors.New("process runner: data folder must be set")
	}
	dataDir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("process runner: finding the data folder: %w", err)
	}
	if o.StopGrace <= 0 {
		o.StopGrace = bootapi.StopGrace
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	run := &Runner{
		dataDir: dataDir, grace: o.StopGrace, log: o.Logger, surveyed: make(chan struct{}),
		children: map[string]*child{}, former: map[string]state{},
	}
	if err := run.SetTunables(o.Tunables); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dataDir, "sessions"), 0o700); err != nil {
		return nil, fmt.Errorf("process runner: making the data folder: %w", err)
	}
	if run.lock, err = own(dataDir); err != nil {
		return nil, fmt.Errorf("process runner: %w", err)
	}
	if run.parentRead, run.parentWrite, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("process runner: making the parent's pipe: %w", err), run.lock.Close())
	}
	run.life, run.end = context.WithCancel(context.Background())
	run.log.Warn("the process runner isolates nothing: it is for trusted sites only",
		zap.String("data", dataDir), zap.String("containerboot", run.tunables.Load().Binary))
	run.work.Go(func() {
		defer close(run.surveyed)
		run.survey()
	})
	run.work.Go(run.tendLogs)
	return run, nil
}

// own makes the data folder this process's until the file is closed, or the process ends.
func own(dataDir string) (*os.File, error) {
	path := filepath.Join(dataDir, "runner.lock")
	lock, err := tryLock(path)
	switch {
	case errors.Is(err, errLocked):
		return nil, fmt.Errorf("%s, or set another data folder", inUse(path, dataDir))
	case err != nil:
		return nil, err
	}
	if err := writePID(lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// errClosed: the folder may be another process's by now.
var errClosed = fmt.Errorf("the runner is closed: %w", sessions.ErrRunnerUnavailable)

// enter begins what Close has to wait for; leave must be called. errClosed once the
// runner is closed.
func (r *Runner) enter() (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errClosed
	}
	r.underway.Add(1)
	return r.underway.Done, nil
}

// usable returns an error once the runner is closed.
func (r *Runner) usable() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	return nil
}

// child returns the running container of a session that this process started, or nil.
func (r *Runner) child(sessionID string) *child {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.children[sessionID]
}

// Describe returns the state of a container: of the last one of each session also
// after its end. ErrNoContainer for any other.
func (r *Runner) Describe(_ context.Context, ref string) (sessions.Container, error) {
	id, epoch, err := parseRef(ref)
	if err != nil {
		return sessions.Container{}, err
	}
	if c := r.child(id); c != nil {
		if c.state.Epoch != epoch {
			return sessions.Container{}, fmt.Errorf("describing %q: %w", ref, sessions.ErrNoContainer)
		}
		return c.container(), nil
	}
	s, err := readState(r.dir(id))
	if errors.Is(err, os.ErrNotExist) || err == nil && (s.SessionID != id || s.Epoch != epoch) {
		return sessions.Container{}, fmt.Errorf("describing %q: %w", ref, sessions.ErrNoContainer)
	}
	if err != nil {
		return sessions.Container{}, fmt.Errorf("describing %q: %w", ref, err)
	}
	return s.formerContainer(), nil
}

// List returns the containers that run, those of an earlier process that are still
// ending among them.
func (r *Runner) List(ctx context.Context) ([]sessions.Container, error) {
	if err := r.usable(); err != nil {
		return nil, err
	}
	select {
	case <-r.surveyed:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]sessions.Container, 0, len(r.children)+len(r.former))
	for _, c := range r.children {
		list = append(list, c.container())
	}
	for id, s := range r.former {
		if _, replaced := r.children[id]; !replaced && s.alive() {
			list = append(list, s.formerContainer())
		}
	}
	return list, nil
}

// Close ends all containers of this process at once and returns when they have ended
// with all that they started. Those that are not done saving when ctx ends are killed.
// Containers of an earlier process end by themselves.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		r.work.Wait()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	r.underway.Wait()
	r.mu.Lock()
	children := slices.Collect(maps.Values(r.children))
	r.mu.Unlock()

	for _, c := range children {
		c.stop("the edge is closing")
	}
	for _, c := range children {
		select {
		case <-c.done:
		case <-ctx.Done():
			c.kill()
			<-c.done
		}
	}
	r.end()
	r.work.Wait()
	return errors.Join(r.parentWrite.Close(), r.parentRead.Close(), r.lock.Close())
}
