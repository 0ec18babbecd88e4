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
// A data folder is one process's at a time. Its layout:
//
//	runner.lock                    held by the process whose containers these are
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
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// DefaultStopGrace is how long a container has to end by itself: a save may take 20 s.
const DefaultStopGrace = 25 * time.Second

// Options are what a Runner is made of.
type Options struct {
	// Binary is the path of containerboot. Default: "containerboot" in the folder
	// of the running program, else on PATH.
	Binary string
	// DataDir is the folder of sessions and caches. It is made if it does not exist.
	DataDir string
	// APIUpstream is the origin (http://host:port) that gets the containers' /api/*.
	// Default: none.
	APIUpstream string
	// StopGrace is how long a container has to save and end before it is killed.
	// Default: DefaultStopGrace.
	StopGrace time.Duration
	// Logger is for what happens to containers. Default: none.
	Logger *zap.Logger
}

// Runner is a sessions.Runner of child processes.
type Runner struct {
	binary   string
	dataDir  string
	upstream string
	grace    time.Duration
	log      *zap.Logger

	// parentRead goes to every container; it reaches its end when parentWrite is
	// closed, which nobody but this process has.
	parentRead, parentWrite *os.File

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup

	launching sync.WaitGroup // starts that Close must wait for

	mu       sync.Mutex
	closed   bool
	lock     *os.File                 // runner.lock; nil while another process has it
	children map[string]*child        // by session id, until they have ended
	former   map[string]state         // containers of an earlier process that still run
	surveyed chan struct{}            // closed once former is complete; nil before lock
	busy     map[string]chan struct{} // sessions in a critical section; see exclusive
}

// New returns a runner. It starts nothing; errors are those of its options.
func New(o Options) (*Runner, error) {
	if o.DataDir == "" {
		return nil, errors.New("process runner: data folder must be set")
	}
	dataDir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("process runner: finding the data folder: %w", err)
	}
	binary, err := findBinary(o.Binary)
	if err != nil {
		return nil, fmt.Errorf("process runner: %w", err)
	}
	if o.StopGrace <= 0 {
		o.StopGrace = DefaultStopGrace
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if err := os.MkdirAll(filepath.Join(dataDir, "sessions"), 0o700); err != nil {
		return nil, fmt.Errorf("process runner: making the data folder: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("process runner: making the parent's pipe: %w", err)
	}
	run := &Runner{
		binary: binary, dataDir: dataDir, upstream: o.APIUpstream, grace: o.StopGrace, log: o.Logger,
		parentRead: r, parentWrite: w,
		children: map[string]*child{}, former: map[string]state{}, busy: map[string]chan struct{}{},
	}
	run.life, run.end = context.WithCancel(context.Background())
	run.log.Warn("the process runner isolates nothing: it is for trusted sites only",
		zap.String("data", dataDir), zap.String("containerboot", binary))
	// Another process may be using the folder: that matters to Start, not to who
	// only loads a configuration.
	if err := run.own(); err != nil && !errors.Is(err, sessions.ErrRunnerUnavailable) {
		return nil, errors.Join(err, run.Close(context.Background()))
	}
	run.work.Go(run.tendLogs)
	return run, nil
}

// findBinary finds containerboot and says what to do where there is none.
func findBinary(path string) (string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = nil
		if self, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(self), "containerboot"))
		}
		candidates = append(candidates, "containerboot")
	}
	for _, c := range candidates {
		if found, err := exec.LookPath(c); err == nil {
			return filepath.Abs(found)
		}
	}
	if path == "" {
		path = "containerboot"
	}
	return "", fmt.Errorf("%s is not there or cannot be run: build it with `make build`, or set `binary`", path)
}

// own makes the data folder this process's and looks for what an earlier one left.
// ErrRunnerUnavailable if another process has it.
func (r *Runner) own() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fmt.Errorf("the runner is closed: %w", sessions.ErrRunnerUnavailable)
	}
	if r.lock != nil {
		return nil
	}
	lock, err := tryLock(filepath.Join(r.dataDir, "runner.lock"))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("another runner, of this or of another process, uses %s: %w", r.dataDir, sessions.ErrRunnerUnavailable)
	}
	if err != nil {
		return fmt.Errorf("process runner: %w", err)
	}
	r.lock, r.surveyed = lock, make(chan struct{})
	r.work.Go(func() {
		defer close(r.surveyed)
		r.survey()
	})
	return nil
}

// exclusive lets one caller at a time deal with a session; unlock must be called.
func (r *Runner) exclusive(ctx context.Context, sessionID string) (unlock func(), err error) {
	for {
		r.mu.Lock()
		ahead, taken := r.busy[sessionID]
		if !taken {
			mine := make(chan struct{})
			r.busy[sessionID] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				delete(r.busy, sessionID)
				r.mu.Unlock()
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-ahead:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
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
	if err := r.own(); err != nil {
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
	r.launching.Wait()
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
	errs := []error{r.parentWrite.Close(), r.parentRead.Close()}
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(errs...)
}
