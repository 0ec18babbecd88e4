package caddymodule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

const (
	// proveTimeout is how long a container may take to prove itself on a new
	// connection: containerboot answers that at once, whatever its site is doing.
	proveTimeout = 3 * time.Second
	// silentFor is how long an answer may stay away before its container is asked
	// for a proof on another connection, and askAgain after how long again.
	silentFor = 3 * time.Second
	askAgain  = 10 * time.Second
)

// pools has the connections to all containers.
type pools struct {
	base    *http.Transport
	byRoute sync.Map   // *sessions.Route → *pool
	making  sync.Mutex // held while byRoute changes
}

// of returns the connections of a route, which are closed when it is dropped.
func (ps *pools) of(route *sessions.Route) *pool {
	if p, ok := ps.byRoute.Load(route); ok {
		return p.(*pool)
	}
	ps.making.Lock()
	defer ps.making.Unlock()
	if p, ok := ps.byRoute.Load(route); ok {
		return p.(*pool)
	}
	made := newPool(ps.base, route)
	made.leave = route.OnDrop(func() {
		ps.making.Lock() // it may be dropped already, before there is what to delete
		defer ps.making.Unlock()
		ps.byRoute.CompareAndDelete(route, made)
		made.close()
	})
	ps.byRoute.Store(route, made)
	return made
}

// close forgets all pools, and closes the connections that are not in use.
func (ps *pools) close() {
	ps.making.Lock()
	defer ps.making.Unlock()
	ps.byRoute.Range(func(route, p any) bool {
		ps.byRoute.Delete(route)
		p.(*pool).leave()
		p.(*pool).close()
		return true
	})
}

// pool holds the connections to one container, of one session and epoch: at an address
// that was reused no connection of an earlier container is ever found.
type pool struct {
	http  *http.Transport
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	hash  string      // of the container's token
	leave func() bool // stops listening for the route's end

	asking sync.Mutex
	asked  time.Time // under asking
	err    error     // under asking: what came of it
}

// newPool makes the pool of a route, with the settings of a transport.
func newPool(base *http.Transport, route *sessions.Route) *pool {
	p := &pool{http: base.Clone(), dial: base.DialContext, hash: bootapi.HashToken(route.Token)}
	p.http.DialContext = p.dialProven
	return p
}

// close closes the connections that nobody uses, and each other one when its request
// has been answered.
func (p *pool) close() { p.http.CloseIdleConnections() }

// dialProven opens a connection, on which the container has proved that it is the
// session's: before that neither the token nor anything of a visitor's leaves the edge.
// Its error is a lostError, unless it is a fault of the edge's own.
func (p *pool) dialProven(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := p.dial(ctx, network, address)
	if err != nil {
		return nil, dialError(err)
	}
	boundSilence(conn)
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	if err := bootapi.ProveConn(ctx, conn, p.hash); err != nil {
		_ = conn.Close()
		return nil, dialError(err)
	}
	return conn, nil
}

// dialError says that there is no connection to the container. An edge that has run out
// of files or ports knows nothing of any container, and must not take it for gone.
func dialError(err error) error {
	if bootapi.Exhausted(err) {
		return err
	}
	return &lostError{error: err, unsent: true}
}

// ask finds out whether the container still answers, on a connection of its own, unless
// that was asked a moment ago; many requests may wait for the same container. Its error
// is a lostError if it does not.
func (p *pool) ask(ctx context.Context, address string) error {
	p.asking.Lock()
	defer p.asking.Unlock()
	if p.asked.IsZero() || time.Since(p.asked) >= silentFor {
		// It is asked for all who wait, whether or not this one leaves.
		conn, err := p.dialProven(context.WithoutCancel(ctx), "tcp", address)
		if err == nil {
			_ = conn.Close()
		} else {
			err = fmt.Errorf("container is silent: %w", err)
		}
		p.asked, p.err = time.Now(), err
	}
	return p.err
}
