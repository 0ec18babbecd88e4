//go:build unix

package process

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/leaktest"
)

// TestMain lets the test's own program stand in for a container, and for an edge that
// can be killed.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(bootapi.EnvTokenHash) != "":
		syscall.Exit(container()) // os.Exit would take a second more under -race
	case os.Getenv(edgeEnv) != "":
		os.Exit(edgeProcess())
	}
	leaktest.VerifyTestMain(m)
}

// container stands in for containerboot. What it does is in its session's id:
//
//	stubborn  ends for nothing but SIGKILL
//	slow      takes its time to save: until the test calls release
//	dies      ends at once, with status 3
//	brood     starts processes in groups and sessions of their own; what leaves the
//	          session has its home in the session's folder, as a client's tools do
//	brood-at-home  the same, and all have
//	environ   writes down its environment
//
// It writes a line to "starts" in its session's folder when it starts, to "asked" when it
// is to end, to "saves" when it has saved, and to "doubles" if another one of its session
// runs.
func container() int {
	for _, name := range []string{bootapi.EnvParentFD, bootapi.EnvLockFD, bootapi.EnvListenFD} {
		syscall.CloseOnExec(descriptor(name))
	}
	dir := filepath.Dir(os.Getenv(bootapi.EnvWorkspace))
	id := os.Getenv(bootapi.EnvSessionID)
	alone, err := tryLock(filepath.Join(dir, "alone"))
	if err != nil {
		note(dir, "doubles")
	} else {
		defer alone.Close()
	}
	if strings.HasPrefix(id, "dies") {
		note(dir, "starts")
		return 3
	}
	if strings.HasPrefix(id, "environ") {
		_ = os.WriteFile(filepath.Join(dir, "environ"), []byte(strings.Join(os.Environ(), "\n")+"\n"), 0o600)
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(uintptr(descriptor(bootapi.EnvParentFD)), "parent"))
		stop <- syscall.SIGTERM
	}()
	listener, err := net.FileListener(os.NewFile(uintptr(descriptor(bootapi.EnvListenFD)), "socket"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	go func() { _ = http.Serve(listener, http.HandlerFunc(prove)) }()
	if strings.HasPrefix(id, "brood") {
		for _, attr := range []*syscall.SysProcAttr{{}, {Setpgid: true}, {Setsid: true}} {
			child := exec.Command("sleep", "600")
			child.SysProcAttr = attr
			if attr.Setsid || strings.HasPrefix(id, "brood-at-home") {
				child.Env = append(os.Environ(), "HOME="+filepath.Join(dir, "home"))
			}
			if err := child.Start(); err != nil {
				fmt.Println(err)
				return 1
			}
			note(dir, "brood "+strconv.Itoa(child.Process.Pid))
		}
	}
	note(dir, "starts")
	fmt.Println("a line of output")
	<-stop
	note(dir, "asked")
	switch {
	case strings.HasPrefix(id, "stubborn"):
		select {}
	case strings.HasPrefix(id, "slow"):
		for deadline := time.Now().Add(2 * patience); !released(dir); <-time.After(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				return 4 // its test has failed
			}
		}
	}
	note(dir, "saves")
	return 0
}

// released reports whether a slow container may end.
func released(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "released"))
	return err == nil
}

func descriptor(name string) int {
	fd, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		panic(err)
	}
	return fd
}

// note appends a line to a file of the session: its name, then what follows a space.
func note(dir, line string) {
	name, rest, _ := strings.Cut(line, " ")
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(f, rest)
	_ = f.Close()
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
