// Package docker runs session containers on a Docker Engine, by its API over a unix
// socket or TCP. The engine may be used by several edges of one deployment at a time,
// and its containers outlive all of them: an edge that starts finds those that run by
// their labels.
//
// # A container
//
// It has the image's containerboot as its entry point and first process, and nothing in its
// environment but ids, the hash of its token and what Tunables says. Its root file system is
// read-only. It keeps the capabilities CHOWN, DAC_OVERRIDE, KILL, SETGID and SETUID, by which
// containerboot runs a client's code as another user and cares for that user's files, and may
// gain no privilege beyond those. Memory, CPU time and processes are limited by its size, and
// its log to 10 MiB, which `docker logs` shows.
//
// # What is on the engine
//
// All of it carries the label com.webordinary.deployment. Names begin with the name of
// the deployment.
//
//	container  {deployment}-{session}        of the last epoch, until the next one starts
//	volume     {deployment}-{session}        at /session: workspace, git directory, home
//	volume     {deployment}-cache-{client}   at /cache
//	network    {prefix}{client}              while one of the client's containers runs
//
// The name of a session's container is what keeps two edges from starting two of them:
// the engine gives it to one container at a time. A container that has ended keeps it,
// as the record of its epoch and of how it ended, until the next epoch or Forget.
//
// Clients cannot reach each other's containers, as the engine separates the networks;
// they can reach whatever the engine's machine serves on all of its addresses.
package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/keylock"
	"github.com/webordinary/router/sessions"
)

// callTimeout bounds each call of the engine but those that wait for a container's end.
// On a busy machine the start of a container takes seconds.
const callTimeout = time.Minute

// Options are what a Runner is made of.
type Options struct {
	// Host is where the engine listens: unix:///path or tcp://host:port. Default: the
	// environment's DOCKER_HOST, else the engine's usual socket.
	Host string
	// TLS is for a tcp host: whoever reaches an engine without it owns its machine.
	// Default: what DOCKER_TLS_VERIFY and DOCKER_CERT_PATH of the environment say, if
	// Host is the environment's, too; else none.
	TLS *TLS
	// Deployment names what belongs together on the engine: edges that share a session
	// registry have the same name, any others another one. Required; see CheckName.
	Deployment string
	// Tunables are the first ones; see SetTunables.
	Tunables Tunables
	// StopGrace is how long a container has to save and end before it is killed.
	// It is counted in whole seconds. Default: bootapi.StopGrace.
	StopGrace time.Duration
	// Logger is for what happens to containers. Default: none.
	Logger *zap.Logger
}

// TLS are the PEM files of a connection to an engine: its authority's certificates, and
// this side's certificate and key.
type TLS struct{ CA, Cert, Key string }

// Runner is a sessions.Runner of Docker containers.
type Runner struct {
	cli        *client.Client
	host       string // as errors name it
	deployment string
	grace      time.Duration
	log        *zap.Logger
	tunables   atomic.Pointer[Tunables] // with all defaults

	// The version of the API is agreed on at the first call; see negotiate.
	negotiating chan struct{}
	negotiated  atomic.Bool

	life     context.Context // ends with Close
	end      context.CancelFunc
	underway sync.WaitGroup // what Close waits for; see enter

	busy keylock.Locks // by session, and by client; between processes names on the engine do it

	mu     sync.Mutex
	closed bool
	ending map[string]*ending // containers that are being stopped, by id
}

// New returns a runner. It asks nothing of the engine, which need not be there yet; in
// the background it logs what is missing. See Check.
func New(o Options) (*Runner, error) {
	if err := CheckName(o.Deployment); err != nil {
		return nil, fmt.Errorf("docker runner: deployment: %w", err)
	}
	if o.StopGrace <= 0 {
		o.StopGrace = bootapi.StopGrace
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	cli, err := connect(o.Host, o.TLS)
	if err != nil {
		return nil, fmt.Errorf("docker runner: %w", err)
	}
	r := &Runner{
		cli: cli, host: cli.DaemonHost(), deployment: o.Deployment, grace: (o.StopGrace + time.Second - 1).Truncate(time.Second), log: o.Logger,
		negotiating: make(chan struct{}, 1), ending: map[string]*ending{},
	}
	if err := r.SetTunables(o.Tunables); err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	r.life, r.end = context.WithCancel(context.Background())
	r.underway.Go(func() {
		if err := r.Check(r.life); err != nil && r.life.Err() == nil {
			r.log.Error("containers cannot be started yet", zap.Error(err))
		}
	})
	return r, nil
}

// connect makes a client, which connects when it is used.
func connect(host string, tls *TLS) (*client.Client, error) {
	var options []client.Opt
	if host == "" {
		host = os.Getenv(client.EnvOverrideHost)
		if host != "" && tls == nil {
			options = append(options, client.WithTLSClientConfigFromEnv())
		}
	}
	if host == "" {
		host = client.DefaultDockerHost
	}
	if err := CheckHost(host); err != nil {
		return nil, err
	}
	if tls != nil {
		options = append(options, client.WithTLSClientConfig(tls.CA, tls.Cert, tls.Key))
	}
	cli, err := client.NewClientWithOpts(append(options, client.WithHost(host))...)
	if err != nil {
		return nil, fmt.Errorf("preparing for the engine at %s: %w", host, err)
	}
	return cli, nil
}

// CheckHost reports what is wrong with a value of Options.Host.
func CheckHost(host string) error {
	scheme, rest, ok := strings.Cut(host, "://")
	switch {
	case scheme == "ssh":
		return errors.New("host: ssh is not supported: forward the socket (ssh -L /run/engine.sock:/var/run/docker.sock …) and name that")
	case !ok || rest == "" || scheme != "unix" && scheme != "tcp":
		return fmt.Errorf("host: must be unix:///path or tcp://host:port, got %q", host)
	case scheme == "unix" && !strings.HasPrefix(rest, "/"):
		return fmt.Errorf("host: a socket's path must be absolute (unix:///path), got %q", host)
	default:
		return nil
	}
}

// errClosed: what is on the engine may be another edge's business by now.
var errClosed = fmt.Errorf("the runner is closed: %w", sessions.ErrRunnerUnavailable)

// enter begins what Close waits for; leave must be called. The context ends at the
// latest with Close. errClosed once the runner is closed.
func (r *Runner) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, errClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.life, cancel)
	r.underway.Add(1)
	return ctx, func() {
		stop()
		cancel()
		r.underway.Done()
	}, nil
}

// Close waits for what is under way, or gives it up when ctx ends. The containers run on.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.underway.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r.end()
	<-done
	return r.cli.Close()
}

var _ sessions.Runner = (*Runner)(nil)
