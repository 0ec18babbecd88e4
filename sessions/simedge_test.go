package sessions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// simLease and the deadlines of an edge are as in production, but for a boot's.
const (
	simLease        = 15 * time.Second
	simBootDeadline = 2 * time.Minute
)

// simEdge is one process of an edge, until it crashes.
type simEdge struct {
	w      *simWorld
	name   string
	s      *sessions.Service
	client *http.Client

	mu      sync.Mutex
	crashed chan struct{} // closed when it crashes
	resumed chan struct{} // not nil: it is suspended until it is closed
	cut     map[string]bool
	unsure  time.Time // until when a start may act that was given up
	conns   map[net.Conn]struct{}
	closed  chan struct{} // closed when the service has ended
}

func newSimEdge(w *simWorld, name string) *simEdge {
	e := &simEdge{w: w, name: name, crashed: make(chan struct{}), cut: map[string]bool{}, conns: map[net.Conn]struct{}{}, closed: make(chan struct{})}
	e.client = &http.Client{Transport: &http.Transport{DialContext: e.dialProven, DisableKeepAlives: true, ResponseHeaderTimeout: 20 * time.Second}}
	e.s = sessions.New(sessions.Options{
		Registry: simStore{e}, Runner: simRunner{e}, EdgeID: name, Lease: simLease, BootDeadline: simBootDeadline, Logger: w.log,
		Client: func(_ context.Context, id string) (configstore.Client, error) {
			c, ok := w.clients[id]
			if !ok {
				return c, configstore.ErrNotFound
			}
			return c, nil
		},
	})
	sessions.SetDial(e.s, e.dial)
	e.s.Start()
	return e
}

// gate holds what the edge does while it is suspended, and for ever once it has crashed.
func (e *simEdge) gate(ctx context.Context) error {
	for {
		e.mu.Lock()
		resumed := e.resumed
		e.mu.Unlock()
		switch {
		case e.isCrashed():
			<-ctx.Done()
			return ctx.Err()
		case resumed == nil:
			return ctx.Err()
		}
		select {
		case <-resumed:
		case <-e.crashed:
		}
	}
}

func (e *simEdge) isCrashed() bool {
	select {
	case <-e.crashed:
		return true
	default:
		return false
	}
}

func (e *simEdge) isCut(to string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cut[to]
}

// cutFrom cuts the edge off, until it is mended.
func (e *simEdge) cutFrom(to string, cut bool) {
	e.mu.Lock()
	e.cut[to] = cut
	e.mu.Unlock()
	if cut && to == simToContainers {
		e.dropConns()
	}
}

func (e *simEdge) suspend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resumed == nil {
		e.resumed = make(chan struct{})
	}
}

func (e *simEdge) resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.resumed != nil {
		close(e.resumed)
		e.resumed = nil
	}
}

// crash ends the process: nothing that it does from now on reaches anybody.
func (e *simEdge) crash() {
	close(e.crashed)
	e.resume()
	e.dropConns()
	go e.close()
}

func (e *simEdge) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.s.Close(ctx); err != nil {
		e.w.breaks("%s does not end: %v", e.name, err)
	}
	close(e.closed)
}

func (e *simEdge) dropConns() {
	e.mu.Lock()
	conns := e.conns
	e.conns = map[net.Conn]struct{}{}
	e.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
}

// simConn is forgotten when it is closed.
type simConn struct {
	net.Conn
	e *simEdge
}

func (c *simConn) Close() error {
	c.e.mu.Lock()
	delete(c.e.conns, c)
	c.e.mu.Unlock()
	return c.Conn.Close()
}

// dial connects to a container, as fast as an edge has patience.
func (e *simEdge) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := e.gate(ctx); err != nil {
		return nil, err
	}
	if e.isCut(simToContainers) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if !simSleep(ctx, e.w.between(e.name+" dial", time.Millisecond, 10*time.Millisecond)) {
		return nil, ctx.Err()
	}
	raw, err := e.w.cluster.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	conn := &simConn{Conn: raw, e: e}
	e.mu.Lock()
	e.conns[conn] = struct{}{}
	e.mu.Unlock()
	if e.isCrashed() || e.isCut(simToContainers) {
		_ = conn.Close()
	}
	return conn, nil
}

type simRouteKey struct{}

// dialProven connects to the container of the route in ctx, as the edge's transport does.
func (e *simEdge) dialProven(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := e.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	route := ctx.Value(simRouteKey{}).(*sessions.Route)
	if err := bootapi.ProveConn(ctx, conn, bootapi.HashToken(route.Token)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// visit is a person who opens a session until it is there, or has waited for too long.
// With a write it is an editor who saves something: each try is a write of its own.
func (e *simEdge) visit(ctx context.Context, id string, write func() int) error {
	for {
		route, ok := e.s.Route(id)
		if !ok {
			if err := e.wake(ctx, id); err != nil {
				return err
			}
			continue
		}
		n := 0
		if write != nil {
			n = write()
		}
		page, code, err := e.ask(ctx, route, n)
		switch {
		case err == nil && code == http.StatusOK:
			if page.SessionID != id || page.ClientID != route.ClientID || page.Epoch != route.Epoch {
				e.w.breaks("%s: who asked for %.5s/%d of %s got %+v", e.name, id, route.Epoch, route.ClientID, page)
			}
			if n > 0 {
				e.w.acknowledge(id, n)
			}
			return nil
		case e.isCrashed() || ctx.Err() != nil:
			return ctx.Err()
		case err != nil, code == http.StatusMisdirectedRequest:
			e.s.Lost(route, fmt.Errorf("answered %d: %w", code, err))
		}
		if !simSleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

var errSimGone = errors.New("session does not exist")

// wake wakes a session and waits, as the handler of a document does, which then shows
// the page that asks again.
func (e *simEdge) wake(ctx context.Context, id string) error {
	_, before := e.w.records.now(id)
	_, err := e.s.Lookup(ctx, id)
	if err == nil {
		_, err = e.s.WakeNow(ctx, id)
	}
	if errors.Is(err, sessions.ErrNotFound) {
		if _, after := e.w.records.now(id); before && after {
			e.w.breaks("%s: session %.5s is there, and is said not to be", e.name, id)
		}
		return errSimGone
	}
	if err == nil {
		waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err = e.s.Wait(waiting, id)
		cancel()
	}
	if _, ok := e.s.Route(id); ok {
		return nil
	}
	if !simSleep(ctx, 2*time.Second) {
		return errors.Join(err, ctx.Err())
	}
	if e.isCrashed() {
		return errors.New("edge has crashed")
	}
	return nil
}

// ask sends one request by a route.
func (e *simEdge) ask(ctx context.Context, route *sessions.Route, write int) (simPage, int, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, simRouteKey{}, route), 30*time.Second)
	defer cancel()
	method, body := http.MethodGet, ""
	if write > 0 {
		method, body = http.MethodPost, strconv.Itoa(write)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+route.Address+route.Prefix+"/", bytes.NewReader([]byte(body)))
	if err != nil {
		return simPage{}, 0, err
	}
	req.Header.Set(bootapi.HeaderToken, route.Token)
	resp, err := e.client.Do(req)
	if err != nil {
		return simPage{}, 0, err
	}
	defer resp.Body.Close()
	if !bootapi.CheckResponse(resp.Header, bootapi.ResponseProof(route.Token, route.SessionID, route.Epoch)) {
		return simPage{}, resp.StatusCode, errors.New("response without its proof")
	}
	var page simPage
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(b, &page)
	}
	return page, resp.StatusCode, err
}
