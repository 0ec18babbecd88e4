package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// envUpstream names the file into which the container writes where it listens, and by
// which token it is opened, so that a proxy without a router can reach it.
const envUpstream = "BENCH_UPSTREAM"

type upstream struct {
	Address string `json:"address"`
	Token   string `json:"token"`
}

var kilobyte = []byte(strings.Repeat("k", 1024))

// serveUpstream is a container which costs as little as it can: it proves itself, takes
// its claim, is ready at once, and answers every request that has the token with a
// kilobyte. It returns an exit status.
func serveUpstream() int {
	told, hash := os.Getenv(envUpstream), os.Getenv(bootapi.EnvTokenHash)
	fd, err := strconv.Atoi(os.Getenv(bootapi.EnvListenFD))
	if err != nil {
		fmt.Fprintln(os.Stderr, bootapi.EnvListenFD, err)
		return 1
	}
	listener, err := net.FileListener(os.NewFile(uintptr(fd), "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	address := listener.Addr().String()
	status := bootapi.Status{SessionID: os.Getenv(bootapi.EnvSessionID), Phase: bootapi.PhaseReady}
	proof := new(atomic.Pointer[[]string])
	proof.Store(new([]string))
	mux := http.NewServeMux()
	mux.HandleFunc(bootapi.PathProof, func(w http.ResponseWriter, r *http.Request) {
		var req bootapi.ProofRequest
		if json.NewDecoder(r.Body).Decode(&req) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		proof, err := bootapi.MakeProof(hash, req.Nonce)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, bootapi.Proof{Proof: proof})
	})
	mux.HandleFunc(bootapi.PathClaim, func(w http.ResponseWriter, r *http.Request) {
		var claim bootapi.Claim
		if json.NewDecoder(r.Body).Decode(&claim) != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		text, err := json.Marshal(upstream{Address: address, Token: claim.Token})
		if err == nil {
			err = os.WriteFile(told, text, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		proof.Store(&[]string{bootapi.ResponseProof(claim.Token, claim.SessionID, claim.Epoch)})
		writeJSON(w, status)
	})
	mux.HandleFunc(bootapi.PathQuiesce, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, bootapi.QuiesceReply{Busy: true, Reason: "busy: measuring"})
	})
	mux.HandleFunc(bootapi.PathEvents, func(w http.ResponseWriter, r *http.Request) {
		data, err := json.Marshal(status)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", bootapi.EventStatus, data)
		_ = http.NewResponseController(w).Flush() // the reader is gone if it fails
		<-r.Context().Done()
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if !bootapi.TokenMatches(r.Header.Get(bootapi.HeaderToken), hash) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		w.Header()[bootapi.HeaderProof] = *proof.Load()
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(kilobyte) // the reader may be gone
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		_ = server.Close() // it ends either way
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader may be gone
}
