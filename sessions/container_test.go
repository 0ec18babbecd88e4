package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// container is a session container inside the test's process: a real HTTP server that
// speaks bootapi, and does what its script says.
type container struct {
	ref    string
	number int // in the order of the starts
	req    sessions.StartRequest
	script script
	server *http.Server
	addr   string
	ended  chan struct{}
	hung   atomic.Bool // it takes connections, and answers nothing

	mu      sync.Mutex
	claim   *bootapi.Claim
	status  bootapi.Status
	changed chan struct{}
	asked   []int64 // idleMillis of each quiesce
	paths   map[string]int
	idle    time.Duration
	drain   string // agreed to
	forced  bool
	drains  int // that were agreed to
	came    int // times that somebody was said to have come
	stops   int
	reason  string
	dead    bool
}

// script is how containers of a test behave. The zero value is ready at once.
type script struct {
	phases    []bootapi.Phase  // gone through after the claim, before ready
	gate      <-chan struct{}  // nil or closed: ready may come
	failure   *bootapi.Failure // instead of ready
	log       []string         // lines told while building
	saveError string           // why it does not agree to its stop
	saving    <-chan struct{}  // nil or closed: a stop may end
	stranger  bool             // proves itself wrongly
	silent    bool             // listens for nobody
	idle      time.Duration    // for how long nobody has used it, until that is set
	lived     time.Duration    // how long ago it was claimed
	busy      bool             // does not agree to its stop unless forced
	// committing: nil or closed: it may answer the question that ends it.
	committing <-chan struct{}
}

func newContainer(ref string, req sessions.StartRequest, s script) (*container, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &container{
		ref: ref, req: req, script: s, addr: ln.Addr().String(), ended: make(chan struct{}), paths: map[string]int{},
		changed: make(chan struct{}), status: bootapi.Status{Phase: bootapi.PhaseStarting}, idle: s.idle,
	}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: soon}
	if s.silent {
		return c, ln.Close()
	}
	go c.server.Serve(ln)
	return c, nil
}

func (c *container) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.paths[r.URL.Path]++
	c.mu.Unlock()
	if c.hung.Load() {
		select {
		case <-c.ended:
		case <-r.Context().Done():
		}
		return
	}
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch r.URL.Path {
	case bootapi.PathProof:
		var req bootapi.ProofRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		hash := c.req.TokenHash
		if c.script.stranger {
			hash = bootapi.HashToken("another")
		}
		proof, err := bootapi.MakeProof(hash, req.Nonce)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, bootapi.Proof{Proof: proof})
	case bootapi.PathClaim:
		var claim bootapi.Claim
		if json.NewDecoder(r.Body).Decode(&claim) != nil || !bootapi.TokenMatches(claim.Token, c.req.TokenHash) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		c.mu.Lock()
		first := c.claim == nil
		if first {
			c.claim = &claim
		}
		same := fmt.Sprint(*c.claim) == fmt.Sprint(claim)
		status := c.status
		c.mu.Unlock()
		if !same {
			w.WriteHeader(http.StatusConflict)
			return
		}
		if first {
			go c.boot()
		}
		answer(w, status)
	case bootapi.PathQuiesce:
		if !bootapi.TokenMatches(bearer, c.req.TokenHash) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		var req bootapi.QuiesceRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, c.quiesce(req))
	case bootapi.PathCommit, bootapi.PathRecall:
		if !bootapi.TokenMatches(bearer, c.req.TokenHash) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		if r.URL.Path == bootapi.PathRecall {
			answer(w, bootapi.RecallReply{Serves: c.come()})
			return
		}
		var req bootapi.CommitRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if c.script.committing != nil {
			<-c.script.committing
		}
		answer(w, c.commit(req))
	case bootapi.PathStatus:
		if !bootapi.TokenMatches(r.Header.Get(bootapi.HeaderToken), c.req.TokenHash) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		c.mu.Lock()
		status := c.status
		c.mu.Unlock()
		answer(w, status)
	case bootapi.PathEvents:
		if !bootapi.TokenMatches(r.Header.Get(bootapi.HeaderToken), c.req.TokenHash) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		c.events(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// boot goes through the script's phases.
func (c *container) boot() {
	for _, p := range append([]bootapi.Phase{bootapi.PhaseClaimed}, c.script.phases...) {
		c.set(bootapi.Status{Phase: p, Step: "doing " + string(p), Log: c.script.log})
	}
	if c.script.gate != nil {
		select {
		case <-c.script.gate:
		case <-c.ended:
			return
		}
	}
	if c.script.failure != nil {
		c.set(bootapi.Status{Phase: bootapi.PhaseFailed, Failure: c.script.failure})
		return
	}
	c.set(bootapi.Status{Phase: bootapi.PhaseReady, Reused: []string{"build"}})
}

func (c *container) set(s bootapi.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *container) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": hello\n\n")
	for _, line := range c.script.log {
		b, _ := json.Marshal(bootapi.LogLine{Phase: bootapi.PhaseBuilding, Line: line})
		fmt.Fprintf(w, "event: log\ndata: %s\n\n", b)
	}
	for {
		c.mu.Lock()
		status, changed := c.status, c.changed
		c.mu.Unlock()
		b, _ := json.Marshal(status)
		fmt.Fprintf(w, "event: status\ndata: %s\n\n", b)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-c.ended:
			return
		}
	}
}

func (c *container) quiesce(req bootapi.QuiesceRequest) bootapi.QuiesceReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, req.IdleMillis)
	reply := bootapi.QuiesceReply{IdleMillis: c.idle.Milliseconds(), ActivityKind: "document", LivedMillis: c.script.lived.Milliseconds()}
	reply.Expired = req.MaxLifetimeMillis > 0 && reply.LivedMillis >= req.MaxLifetimeMillis
	switch {
	case c.status.Phase == bootapi.PhaseStopping:
		reply.Ending = true
	case c.script.busy && req.IdleMillis > 0 && !reply.Expired:
		reply.Busy, reply.Reason = true, "busy: building"
	case c.script.saveError != "":
		reply.SaveFailed, reply.Reason = true, "save failed: "+c.script.saveError
	case reply.IdleMillis < req.IdleMillis && !reply.Expired:
		reply.Reason = "active: document"
	default:
		c.drains++
		c.drain, c.forced = fmt.Sprint("drain-", c.drains), req.IdleMillis == 0 || reply.Expired
		reply.Agreed, reply.Drain, reply.Save = true, c.drain, &bootapi.SaveResult{Where: "remote"}
	}
	return reply
}

// come is somebody's visit: it calls a drain off, unless the container ends.
func (c *container) come() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came++
	if c.status.Phase == bootapi.PhaseStopping {
		return false
	}
	c.idle = 0
	if !c.forced {
		c.drain = ""
	}
	return true
}

func (c *container) commit(req bootapi.CommitRequest) bootapi.CommitReply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain == "" || req.Drain != c.drain {
		return bootapi.CommitReply{Reason: "somebody came", ActivityKind: "document", Committed: c.status.Phase == bootapi.PhaseStopping}
	}
	c.status = bootapi.Status{Phase: bootapi.PhaseStopping}
	return bootapi.CommitReply{Committed: true}
}

// visits is how often somebody came.
func (c *container) visits() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.came
}

func (c *container) setIdle(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = d
}

func (c *container) questions() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]int64(nil), c.asked...)
}

// requests is how often each path was asked for.
func (c *container) requests() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.paths)
}

func (c *container) claimed() *bootapi.Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.claim
}

func (c *container) stopReason() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason
}

// kill ends the container as kill -9 does.
func (c *container) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.dead = true
		close(c.ended)
		_ = c.server.Close()
	}
}

// stop ends the container as SIGTERM does: after its save.
func (c *container) stop(ctx context.Context, reason string) error {
	c.mu.Lock()
	c.stops++
	c.reason = reason
	c.mu.Unlock()
	if c.script.saving != nil {
		select {
		case <-c.script.saving:
		case <-c.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	c.kill()
	return nil
}

func (c *container) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead
}
