// Package daemon keeps a client's own server up: it starts it at an address of its own,
// waits until it listens, and starts it again, later each time, where it ends by itself.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/tool"
)

const (
	// dialEvery is how often a server that starts is asked whether it listens.
	dialEvery = 25 * time.Millisecond
	// firstDelay is how long a server that ended is left alone at first; each further
	// end doubles it, up to lastDelay, until one has been up for steady.
	firstDelay = 250 * time.Millisecond
	lastDelay  = 30 * time.Second
	steady     = time.Minute
	// portTries is how often a start is repeated whose address somebody else took first.
	portTries = 3
)

// Errors of a server.
var (
	// ErrSilent: it did not listen in time.
	ErrSilent = errors.New("it did not listen in time")
	// ErrEnded: it ended without saying that anything was wrong.
	ErrEnded = errors.New("it ended by itself")
	// ErrStopped: it was stopped, and is not coming back.
	ErrStopped = errors.New("it was stopped")
)

// Config says what to keep up.
type Config struct {
	// Command returns the server that listens at a host and port of loopback.
	Command func(host, port string) tool.Command
	// Host is the address of loopback at which it listens. Default: a random one each time,
	// at which no other server of this machine is.
	Host string
	// StartTimeout is how long it may take until it listens.
	StartTimeout time.Duration
	// Ended is told each time it ended by itself, and how soon it is started again. Nil: nobody.
	Ended func(err error, again time.Duration)
	// Up is told each time it listens again after that. Nil: nobody.
	Up func()
}

// Daemon is a server that is kept up. Make one with Start; its methods are safe for
// concurrent use.
type Daemon struct {
	cfg    Config
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing runs any more
	again  chan struct{} // capacity 1: a restart is asked for

	mu      sync.Mutex
	addr    string        // "" while it is down
	changed chan struct{} // closed at each change of these
	failed  error         // why it is not coming back
	ups     int           // how often it has come to listen
	ends    int           // how often it ended by itself
	lastEnd error
}

// Start starts a server and returns when it listens. Its error is an *tool.Error where
// the server ended before it did; nothing runs then, as where ctx ended before.
func Start(ctx context.Context, cfg Config) (*Daemon, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &Daemon{cfg: cfg, cancel: cancel, done: make(chan struct{}), again: make(chan struct{}, 1), changed: make(chan struct{})}
	go d.keepUp(life)
	if _, err := d.Wait(ctx); err != nil {
		cancel()
		<-d.done
		return nil, err
	}
	return d, nil
}

// Wait returns the address ("127.0.0.1:4321") at which the server listens, as soon as it
// does. It returns ctx's cause where that ends before, ErrStopped after Stop.
func (d *Daemon) Wait(ctx context.Context) (string, error) {
	for {
		d.mu.Lock()
		addr, changed, failed := d.addr, d.changed, d.failed
		d.mu.Unlock()
		switch {
		case failed != nil:
			return "", failed
		case addr != "":
			return addr, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// Restart ends the server and starts it at once. It returns when it listens again, with
// the error where it ended instead (it is tried again), or with ctx's cause.
func (d *Daemon) Restart(ctx context.Context) error {
	d.mu.Lock()
	ups, ends := d.ups, d.ends
	d.mu.Unlock()
	select {
	case d.again <- struct{}{}:
	default:
	}
	for {
		d.mu.Lock()
		changed, failed := d.changed, d.failed
		up, ended, last := d.ups > ups, d.ends > ends, d.lastEnd
		d.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case up:
			return nil
		case ended:
			return last
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// IsUp reports whether the server listens.
func (d *Daemon) IsUp() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addr != ""
}

// Stop ends the server, with SIGTERM first, and waits for its end or that of ctx.
func (d *Daemon) Stop(ctx context.Context) {
	d.cancel()
	select {
	case <-d.done:
	case <-ctx.Done():
	}
}

// errRestart is why a server is ended that is to be started again at once.
var errRestart = errors.New("it is started again")

// keepUp runs the server again and again, until ctx ends or its first start fails.
func (d *Daemon) keepUp(ctx context.Context) {
	defer close(d.done)
	delay := firstDelay
	for tries, everUp := 1, false; ; {
		began := time.Now()
		up, err := d.run(ctx, everUp)
		everUp = everUp || up
		switch {
		case ctx.Err() != nil:
			d.change(func() { d.failed = ErrStopped })
			return
		case errors.Is(err, errRestart):
			delay = firstDelay
			continue
		case !up && addressTaken(err) && tries < portTries:
			tries++
			continue
		case !everUp:
			d.change(func() { d.failed = err })
			return
		}
		tries = 1
		if time.Since(began) >= steady {
			delay = firstDelay
		}
		if d.cfg.Ended != nil {
			d.cfg.Ended(err, delay)
		}
		d.change(func() { d.ends, d.lastEnd = d.ends+1, err })
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
			delay = min(2*delay, lastDelay)
		case <-d.again:
			delay = firstDelay
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// run runs the server once, to its end, and reports whether it ever listened.
func (d *Daemon) run(ctx context.Context, again bool) (up bool, err error) {
	host, port, err := freeAddress(ctx, cmp.Or(d.cfg.Host, loopback()))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		err := tool.Run(ctx, d.cfg.Command(host, port))
		if err == nil {
			err = ErrEnded
		}
		ended <- err
	}()
	addr := net.JoinHostPort(host, port)
	late := time.NewTimer(d.cfg.StartTimeout)
	defer late.Stop()
	tick := time.NewTicker(dialEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			d.change(func() { d.addr = "" })
			return up, err
		case <-late.C:
			cancel(ErrSilent)
		case <-d.again:
			d.change(func() { d.addr = "" })
			cancel(errRestart)
		case <-tick.C:
			if up || ctx.Err() != nil || !listens(ctx, addr) {
				continue
			}
			up = true
			tick.Stop()
			late.Stop()
			d.change(func() { d.addr, d.ups = addr, d.ups+1 })
			if again && d.cfg.Up != nil {
				d.cfg.Up()
			}
		}
	}
}

// change changes what Wait and Restart look at, and wakes them.
func (d *Daemon) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	close(d.changed)
	d.changed = make(chan struct{})
}

func listens(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// addressTaken reports whether a server found its address taken: between the moment in
// which it was free and that in which the server listens it is anybody's.
func addressTaken(err error) bool {
	run := (*tool.Error)(nil)
	if !errors.As(err, &run) {
		return false
	}
	for _, line := range run.Lines {
		if strings.Contains(line, "EADDRINUSE") {
			return true
		}
	}
	return false
}

// freeAddress returns a port of a host at which nothing listens.
func freeAddress(ctx context.Context, at string) (host, port string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(at, "0"))
	if err != nil {
		return "", "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return net.SplitHostPort(l.Addr().String())
}
