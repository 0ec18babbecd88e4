//go:build unix

package ecs

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/leaktest"
)

// TestMain lets the test's own program stand in for a container.
func TestMain(m *testing.M) {
	if os.Getenv(bootapi.EnvTokenHash) != "" {
		syscall.Exit(container()) // os.Exit would take a second more under -race
	}
	// Clients look for these, and for nothing else.
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	leaktest.VerifyTestMain(m)
}

// container stands in for containerboot. What it does is in its session's id:
//
//	stubborn  ends for nothing but SIGKILL
//	slow      takes a second and a half to save
//	dies      ends at once, with status 4
func container() int {
	id := os.Getenv(bootapi.EnvSessionID)
	if strings.HasPrefix(id, "dies") {
		return 4
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv(bootapi.EnvListen), os.Getenv(bootapi.EnvPort)))
	if err != nil {
		fmt.Println(err)
		return 3
	}
	go func() { _ = http.Serve(listener, http.HandlerFunc(prove)) }()
	<-stop
	switch {
	case strings.HasPrefix(id, "stubborn"):
		select {}
	case strings.HasPrefix(id, "slow"):
		<-time.After(1500 * time.Millisecond)
	}
	return 0
}

func prove(w http.ResponseWriter, r *http.Request) {
	var req bootapi.ProofRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	proof, err := bootapi.MakeProof(os.Getenv(bootapi.EnvTokenHash), req.Nonce)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(bootapi.Proof{Proof: proof})
}
