package sessions_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// simBox is a container: what containerboot is to an edge, with work that can be lost.
type simBox struct {
	w       *simWorld
	ref     string
	by      string // the edge that started it
	late    bool   // it was started by a call that was given up, or long on its way
	req     sessions.StartRequest
	address string // where it will listen
	born    time.Time
	located time.Time     // from when the runner knows its address
	ended   chan struct{} // closed at its end
	server  *http.Server
	conns   chan net.Conn // that it has yet to accept

	mu       sync.Mutex
	claim    *bootapi.Claim
	status   bootapi.Status
	changed  chan struct{}
	hung     bool      // answers nothing, saves nothing
	wasHung  bool      // at any time
	failSave bool      // its work can go nowhere
	failPush bool      // its work can go no further than its bundle
	heard    time.Time // of an edge, last
	used     time.Time // by a person, last, or when it began
	visited  bool      // by a person
	drain    string    // what it prepares for, or has agreed to
	drains   int       // drains that there were
	asked    int       // how often it was asked whether it is idle
	forced   bool      // the drain is called off by nobody
	agreed   time.Time // to the drain
	unsaved  []int
	autosave *time.Timer
	stopping bool
	dead     bool
	died     time.Time
	abandons *time.Timer
}

// simDrainFor is as containerboot's drainFor.
const simDrainFor = 2 * time.Minute

// listen begins to serve. It is called when the container has come up.
func (b *simBox) listen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return
	}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: time.Minute}
	go b.server.Serve(b)
}

// Accept is that of the server's listener.
func (b *simBox) Accept() (net.Conn, error) {
	select {
	case conn := <-b.conns:
		return conn, nil
	case <-b.ended:
		return nil, net.ErrClosed
	}
}

func (b *simBox) Close() error   { return nil }
func (b *simBox) Addr() net.Addr { return &net.TCPAddr{} }

func (b *simBox) String() string {
	return fmt.Sprintf("%s (%.5s/%d)", b.ref, b.req.SessionID, b.req.Epoch)
}

func (b *simBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case bootapi.PathProof:
		b.prove(w, r)
		return
	case bootapi.PathClaim:
		b.take(w, r)
		return
	}
	token := r.Header.Get(bootapi.HeaderToken)
	if strings.HasPrefix(r.URL.Path, bootapi.PathPrivate) {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	if !bootapi.TokenMatches(token, b.req.TokenHash) {
		w.Header().Set(bootapi.HeaderRefused, "token")
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	b.mu.Lock()
	b.heard = time.Now()
	claimed := b.claim != nil
	b.mu.Unlock()
	if claimed {
		w.Header().Set(bootapi.HeaderProof, bootapi.ResponseProof(token, b.req.SessionID, b.req.Epoch))
	}
	switch {
	case !claimed:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == bootapi.PathQuiesce:
		var req bootapi.QuiesceRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, b.quiesce(r, req))
	case r.URL.Path == bootapi.PathCommit:
		var req bootapi.CommitRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, b.commit(req.Drain))
	case r.URL.Path == bootapi.PathRecall:
		answer(w, b.recall())
	case r.URL.Path == bootapi.PathStatus:
		b.mu.Lock()
		status := b.status
		b.mu.Unlock()
		answer(w, status)
	case r.URL.Path == bootapi.PathEvents:
		b.events(w, r)
	default:
		b.serveSite(w, r)
	}
}

func (b *simBox) prove(w http.ResponseWriter, r *http.Request) {
	var req bootapi.ProofRequest
	if json.NewDecoder(r.Body).Decode(&req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	proof, err := bootapi.MakeProof(b.req.TokenHash, req.Nonce)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer(w, bootapi.Proof{Proof: proof})
}

func (b *simBox) take(w http.ResponseWriter, r *http.Request) {
	var claim bootapi.Claim
	if json.NewDecoder(r.Body).Decode(&claim) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !bootapi.TokenMatches(claim.Token, b.req.TokenHash) {
		b.w.breaks("the claim of %.5s/%d went to %s", claim.SessionID, claim.Epoch, b)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if claim.SessionID != b.req.SessionID || claim.Epoch != b.req.Epoch {
		b.w.breaks("%s was claimed for %.5s/%d", b, claim.SessionID, claim.Epoch)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = time.Now()
	switch {
	case b.stopping || b.dead:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case b.claim != nil && !reflect.DeepEqual(*b.claim, claim):
		w.WriteHeader(http.StatusConflict)
		return
	case b.claim == nil:
		b.claim = &claim
		b.set(bootapi.PhaseClaimed, nil)
		b.boot()
		if after := time.Duration(claim.AbandonAfterSeconds) * time.Second; after > 0 {
			b.abandons = time.AfterFunc(after, func() { b.watch(after) })
		}
	}
	answer(w, b.status)
}

// boot goes through the phases, in time. b.mu is held.
func (b *simBox) boot() {
	took := b.w.between("boot", 300*time.Millisecond, 20*time.Second)
	fails, hangs := false, false
	if b.w.moods.FailBoots && !b.w.isHealthy() {
		fails, hangs = b.w.chance("boot fails", 15), b.w.chance("boot hangs", 5)
	}
	time.AfterFunc(took/2, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.stopping && !b.dead && !b.hung {
			b.set(bootapi.PhaseBuilding, nil)
		}
	})
	if hangs {
		return
	}
	time.AfterFunc(took, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.stopping || b.dead || b.hung:
		case fails:
			b.set(bootapi.PhaseFailed, &bootapi.Failure{Phase: bootapi.PhaseBuilding, Cause: "The site could not be built."})
		default:
			b.set(bootapi.PhaseReady, nil)
		}
	})
}

// set makes a phase the present one. b.mu is held.
func (b *simBox) set(phase bootapi.Phase, failure *bootapi.Failure) {
	b.status = bootapi.Status{SessionID: b.req.SessionID, Epoch: b.req.Epoch, Phase: phase, Failure: failure}
	close(b.changed)
	b.changed = make(chan struct{})
}

// watch ends a container of which no edge wants to know anything.
func (b *simBox) watch(after time.Duration) {
	b.mu.Lock()
	left := after - time.Since(b.heard)
	if left > 0 && !b.stopping && !b.dead {
		b.abandons.Reset(left)
	}
	b.mu.Unlock()
	if left <= 0 {
		b.w.note("%s is abandoned", b)
		if b.w.isHealthy() && b.w.fits(b.req) {
			b.w.breaks("%s heard of no edge, though there are some", b)
		}
		b.end()
	}
}

func (b *simBox) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	alive := time.NewTicker(15 * time.Second)
	defer alive.Stop()
	for {
		b.mu.Lock()
		status, changed, hung := b.status, b.changed, b.hung
		b.mu.Unlock()
		if hung {
			<-b.ended
			return
		}
		body, _ := json.Marshal(status)
		fmt.Fprintf(w, "event: status\ndata: %s\n\n", body)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-alive.C:
		case <-r.Context().Done():
			return
		case <-b.ended:
			return
		}
	}
}

// serveSite answers visitors: a document, or a write of which the body is the number.
func (b *simBox) serveSite(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.dead || b.hung:
		panic(http.ErrAbortHandler)
	case b.status.Phase != bootapi.PhaseReady:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case b.stopping, !b.takes(r.Method != http.MethodGet):
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	b.used, b.visited = time.Now(), true
	if r.Method != http.MethodGet {
		n, err := strconv.Atoi(string(body))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.unsaved = append(b.unsaved, n)
		if b.autosave != nil {
			b.autosave.Stop()
		}
		b.autosave = time.AfterFunc(simAutosave, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if !b.dead && !b.hung {
				b.save()
			}
		})
	}
	answer(w, simPage{SessionID: b.req.SessionID, ClientID: b.req.ClientID, Epoch: b.req.Epoch})
}

// simPage is what a visitor sees.
type simPage struct {
	SessionID, ClientID string
	Epoch               int64
}
