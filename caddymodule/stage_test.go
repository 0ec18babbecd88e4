package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// stage is a runner whose containers are HTTP servers of the test's own process, at
// addresses which a test may give to others. Register it with "runner stage".
type stage struct {
	mu    sync.Mutex
	site  http.HandlerFunc // what containers serve; nil: a page
	place func(a *actor)   // told of each start, before it listens; may be nil
	cast  []*actor
}

// stageKey is the client's deploy key.
const stageKey = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"

// theStage is the one that the configuration's module opens.
var theStage *stage

// newStage makes the stage of a test.
func newStage(t *testing.T, site http.HandlerFunc) *stage {
	t.Helper()
	theStage = &stage{site: site}
	t.Cleanup(func() {
		for _, a := range theStage.actors() {
			a.end()
		}
	})
	return theStage
}

// actor is one container.
type actor struct {
	req     sessions.StartRequest
	ln      net.Listener
	address string
	site    http.HandlerFunc
	server  *http.Server
	heard   *recording // all that came by its connections

	mu    sync.Mutex
	claim *bootapi.Claim
	paths map[string]int
	ended bool
}

// listen begins to serve, as the container that was asked for, at a listener.
func (a *actor) listen(ln net.Listener) {
	server := &http.Server{Handler: a, ReadHeaderTimeout: patience}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ln, a.server = ln, server
	go func() { _ = server.Serve(recordedListener{ln, a.heard}) }()
}

// recordedListener records what its connections receive.
type recordedListener struct {
	net.Listener
	to *recording
}

func (l recordedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return partingConn{recordedConn{conn, l.to}}, nil
}

// partingConn waits, when it is closed, until the other side has closed it as well: then
// nothing is sent on it any more, which could not be told from what was carried out.
type partingConn struct{ recordedConn }

func (c partingConn) Close() error {
	if half, ok := c.Conn.(*net.TCPConn); ok && half.CloseWrite() == nil {
		_ = half.SetReadDeadline(time.Now().Add(patience))
		_, _ = io.Copy(io.Discard, half)
	}
	return c.Conn.Close()
}

// end ends it as kill -9 does.
func (a *actor) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended = true
		if a.server != nil {
			_ = a.server.Close()
		}
		_ = a.ln.Close()
	}
}

func (a *actor) container() sessions.Container {
	a.mu.Lock()
	defer a.mu.Unlock()
	return sessions.Container{Ref: a.ref(), SessionID: a.req.SessionID, Epoch: a.req.Epoch, Address: a.address, Running: !a.ended}
}

func (a *actor) ref() string { return fmt.Sprintf("%s/%d", a.req.SessionID, a.req.Epoch) }

// claimed returns the claim that it took; nil before.
func (a *actor) claimed() *bootapi.Claim {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.claim
}

// asked is how often a path was.
func (a *actor) asked(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paths[path]
}

func (a *actor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.paths[r.URL.Path]++
	claim := a.claim
	a.mu.Unlock()
	switch {
	case r.URL.Path == bootapi.PathProof:
		proofOfHash(w, r, a.req.TokenHash)
		return
	case r.URL.Path == bootapi.PathClaim:
		var c bootapi.Claim
		if json.NewDecoder(r.Body).Decode(&c) != nil || !bootapi.TokenMatches(c.Token, a.req.TokenHash) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		a.mu.Lock()
		a.claim = &c
		a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(bootapi.Status{Phase: bootapi.PhaseReady})
		return
	case r.URL.Path == bootapi.PathQuiesce:
		_ = json.NewEncoder(w).Encode(bootapi.QuiesceReply{Agreed: true, Save: &bootapi.SaveResult{Where: "nothing"}})
		return
	case claim == nil || r.Header.Get(bootapi.HeaderToken) != claim.Token:
		w.Header().Set(bootapi.HeaderRefused, "token")
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	w.Header().Set(bootapi.HeaderProof, bootapi.ResponseProof(claim.Token, claim.SessionID, claim.Epoch))
	switch {
	case r.URL.Path == bootapi.PathStatus:
		_ = json.NewEncoder(w).Encode(bootapi.Status{Phase: bootapi.PhaseReady})
	case r.URL.Path == bootapi.PathEvents:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: status\ndata: {\"phase\":\"ready\"}\n\n")
	case a.site != nil:
		a.site(w, r)
	default:
		fmt.Fprintf(w, "It works. Epoch %d.", claim.Epoch)
	}
}

// proofOfHash answers a ProofRequest as the container with a token's hash does.
func proofOfHash(w http.ResponseWriter, r *http.Request, hash string) {
	var req bootapi.ProofRequest
	if json.NewDecoder(r.Body).Decode(&req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	proof, err := bootapi.MakeProof(hash, req.Nonce)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(bootapi.Proof{Proof: proof})
}

func (s *stage) actors() []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*actor(nil), s.cast...)
}

// of returns the container of a session's path which was started last.
func (s *stage) of(path string) *actor {
	id := strings.Split(path, "/")[2]
	var last *actor
	for _, a := range s.actors() {
		if a.req.SessionID == id {
			last = a
		}
	}
	return last
}

// Start implements sessions.Runner.
func (s *stage) Start(_ context.Context, r sessions.StartRequest) (sessions.Container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.cast {
		if a.req.SessionID == r.SessionID && a.req.Epoch == r.Epoch {
			return a.container(), nil
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return sessions.Container{}, err
	}
	a := &actor{req: r, ln: ln, address: ln.Addr().String(), site: s.site, heard: new(recording), paths: map[string]int{}}
	s.cast = append(s.cast, a)
	if s.place != nil {
		s.place(a)
	} else {
		a.listen(ln)
	}
	return a.container(), nil
}

// Describe implements sessions.Runner.
func (s *stage) Describe(_ context.Context, ref string) (sessions.Container, error) {
	for _, a := range s.actors() {
		if a.ref() == ref {
			return a.container(), nil
		}
	}
	return sessions.Container{}, sessions.ErrNoContainer
}

// Stop implements sessions.Runner.
func (s *stage) Stop(_ context.Context, ref, _ string) error {
	for _, a := range s.actors() {
		if a.ref() == ref {
			a.end()
		}
	}
	return nil
}

// List implements sessions.Runner.
func (s *stage) List(context.Context) ([]sessions.Container, error) {
	var all []sessions.Container
	for _, a := range s.actors() {
		if c := a.container(); c.Running {
			all = append(all, c)
		}
	}
	return all, nil
}

// Forget implements sessions.Runner.
func (*stage) Forget(context.Context, string) error { return nil }

// Kept implements sessions.Runner.
func (*stage) Kept(context.Context) ([]string, error) { return nil, nil }

// Close implements sessions.Runner.
func (*stage) Close(context.Context) error { return nil }

// stageModule opens theStage.
type stageModule struct{}

func init() { caddy.RegisterModule(stageModule{}) }

func (stageModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: namespaceRunners + ".stage", New: func() caddy.Module { return new(stageModule) }}
}

func (*stageModule) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*stageModule) Local() bool { return true }

func (*stageModule) Identity(dataDir string) string { return "stage " + dataDir }

func (*stageModule) OpenRunner(string, *zap.Logger) (sessions.Runner, error) { return theStage, nil }

func (*stageModule) Reconfigure(sessions.Runner) error { return nil }

// startStaged starts an edge on a stage, for as many sessions as a test likes.
func startStaged(t *testing.T, site http.HandlerFunc) (*testEdge, *stage) {
	t.Helper()
	s := newStage(t, site)
	e := startEdge(t, "runner stage")
	e.put(fmt.Sprintf(`{
		"clientId": "acme",
		"domains": {"production": "acme.example", "edit": "edit.acme.test"},
		"repository": {"url": "ssh://git@git.example.com/acme.git", "branch": "main", "deployKey": %q},
		"settings": {"containerSize": "small", "idleTimeoutMinutes": 10, "maxConcurrentSessions": 100}
	}`, stageKey))
	require.Eventually(t, func() bool {
		r, _ := e.live().table.Lookup("edit.acme.test")
		return r.Settings.MaxConcurrentSessions == 100
	}, patience, 5*time.Millisecond)
	return e, s
}

// awake makes a session, waits until it is served, and returns its path.
func (e *testEdge) awake() string {
	created := e.do(http.MethodPost, "edit.acme.test", "/new", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}})
	require.Equal(e.t, http.StatusSeeOther, created.status, created.body)
	path := created.header.Get("Location")
	require.Eventually(e.t, func() bool {
		_, ok := e.live().service.Route(strings.Split(path, "/")[2])
		return ok
	}, patience, 5*time.Millisecond)
	return path
}

// takeAddress ends a container and has something else listen at its address.
func (a *actor) takeAddress(t *testing.T) net.Listener {
	t.Helper()
	a.end()
	var ln net.Listener
	require.Eventually(t, func() bool {
		var err error
		ln, err = net.Listen("tcp", a.address)
		return err == nil
	}, patience, 5*time.Millisecond)
	return ln
}
