package containerboot

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
)

const (
	maxClaim   = 1 << 20 // bytes of a claim: configuration, key and an instruction
	maxMessage = 4 << 10 // bytes of any other request to us
)

// server is the container's HTTP side: it lets in who knows the token, takes the
// claim, and hands everything else to the session.
type server struct {
	tokenHash string // "" standalone
	sessionID string // "" if any session may claim
	board     *progress.Board
	// start makes the session of a claim. It is called once.
	start func(bootapi.Claim) (*session, error)

	claiming sync.Mutex
	claim    *bootapi.Claim // under claiming
	ending   bool           // under claiming
	session  atomic.Pointer[session]

	born     time.Time
	heard    atomic.Int64 // when an edge was last heard of, in nanoseconds since born
	inFlight atomic.Int64
	patience atomic.Int64 // how long no edge may be heard of, in nanoseconds
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case bootapi.PathProof:
		s.serveProof(w, r)
		return
	case bootapi.PathClaim:
		s.serveClaim(w, r)
		return
	}

	private := strings.HasPrefix(r.URL.Path, bootapi.PathPrivate)
	if !s.admits(r, private) {
		w.Header().Set(bootapi.HeaderRefused, bootapi.RefusedToken)
		refuse(w, http.StatusMisdirectedRequest, "this is another session's container")
		return
	}
	s.inFlight.Add(1)
	s.hear()
	defer func() {
		s.hear()
		s.inFlight.Add(-1)
	}()

	session := s.session.Load()
	if session == nil {
		unavailable(w, "not claimed yet")
		return
	}
	if s.tokenHash != "" {
		signed := &signedWriter{ResponseWriter: w, proof: session.proof}
		defer signed.begin()
		w = signed
	}
	activity := r.Header.Get(bootapi.HeaderActivity)
	for name := range r.Header {
		if strings.HasPrefix(name, bootapi.HeaderPrefix) {
			delete(r.Header, name)
		}
	}
	switch {
	case r.URL.Path == bootapi.PathQuiesce && s.tokenHash != "":
		session.serveQuiesce(w, r)
	case r.URL.Path == bootapi.PathCommit && s.tokenHash != "":
		session.serveCommit(w, r)
	case r.URL.Path == bootapi.PathRecall && s.tokenHash != "":
		session.serveRecall(w, r)
	case private:
		refuse(w, http.StatusNotFound, "no such path")
	default:
		if activity != "" {
			r.Header.Set(bootapi.HeaderActivity, activity)
		}
		session.ServeHTTP(w, r)
	}
}

// admits reports whether a request carries the token where it must. Standalone there is none.
func (s *server) admits(r *http.Request, private bool) bool {
	if s.tokenHash == "" {
		return true
	}
	token := r.Header.Get(bootapi.HeaderToken)
	if private {
		scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return false
		}
		token = credential
	}
	if session := s.session.Load(); session != nil {
		// The token is known by now, and need not be hashed for each request.
		return subtle.ConstantTimeCompare([]byte(token), []byte(session.claim.Token)) == 1
	}
	return bootapi.TokenMatches(token, s.tokenHash)
}

// hear notes that an edge was heard of. Clocks that are set do not matter to it.
func (s *server) hear() { s.heard.Store(int64(time.Since(s.born))) }

// abandonAfter sets for how long no edge may be heard of before the container ends.
func (s *server) abandonAfter(d time.Duration) { s.patience.Store(int64(d)) }

// silence is how long no edge has been heard of. A request being served is an edge's.
func (s *server) silence() time.Duration {
	if s.inFlight.Load() > 0 {
		return 0
	}
	return time.Since(s.born) - time.Duration(s.heard.Load())
}

// serveProof shows that this container was started with the token's hash. It asks
// for no credential: the answer is of no use to who does not know the hash.
func (s *server) serveProof(w http.ResponseWriter, r *http.Request) {
	if s.tokenHash == "" {
		refuse(w, http.StatusNotFound, "no such path")
		return
	}
	var req bootapi.ProofRequest
	if !readPost(w, r, maxMessage, &req) {
		return
	}
	proof, err := bootapi.MakeProof(s.tokenHash, req.Nonce)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, bootapi.Proof{Proof: proof})
}

// readPost decodes the JSON body of a POST, or refuses the request.
func readPost(w http.ResponseWriter, r *http.Request, limit int64, into any) bool {
	if !allow(w, r, http.MethodPost) {
		return false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	if err := decoder.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "body must be JSON of the right shape and size")
		return false
	}
	if decoder.More() {
		refuse(w, http.StatusBadRequest, "body must be one JSON value")
		return false
	}
	return true
}

// allow reports whether a request has one of the methods, or refuses it.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	refuse(w, http.StatusMethodNotAllowed, "method not allowed")
	return false
}

func answer(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // the reader may be gone; nobody else to tell
}

func refuse(w http.ResponseWriter, code int, why string) {
	answer(w, code, struct {
		Error string `json:"error"`
	}{why})
}

// unavailable refuses for now: whoever asks again in a moment may be served.
func unavailable(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", "2")
	refuse(w, http.StatusServiceUnavailable, why)
}

// ending refuses for good: the session is somewhere else from now on.
func ending(w http.ResponseWriter) {
	if signed, ok := w.(*signedWriter); ok {
		signed.refused = bootapi.RefusedEnding
	}
	unavailable(w, "the session is being put to sleep")
}
