package dynamodblocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout is for a machine under load; it takes 1.3 s on an idle one.
	startTimeout = 2 * time.Minute
	tries        = 3 // another process may take the port meanwhile
)

// watched runs a command until standard input ends, which it does with the process that
// holds the pipe's other end, and then ends its own process group.
const watched = `{ "$@" </dev/null; echo "exit status $?"; } & cat >/dev/null; kill -9 0`

// server is a running process.
type server struct {
	url   string
	alive *os.File // its closing ends the process; never closed on purpose
	log   *os.File
}

// start starts the DynamoDB Local in a folder and waits until it answers.
func start(folder string) (*server, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, errors.New("java is missing: please install Java 17 (Debian: apt-get install openjdk-17-jre-headless)")
	}
	var failures []error
	for range tries {
		s, err := startOnce(folder)
		if err == nil {
			return s, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func startOnce(folder string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	if s.log, err = os.CreateTemp("", "dynamodb-local-*.log"); err != nil {
		return nil, err
	}
	if err := os.Remove(s.log.Name()); err != nil { // only this process reads it
		return nil, err
	}
	stdin, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.alive = alive
	defer stdin.Close()

	command := exec.Command("sh", "-c", watched, "sh", "java", //nolint:noctx // it lives as long as the test binary
		"-Djava.library.path="+filepath.Join(folder, "DynamoDBLocal_lib"),
		"-jar", filepath.Join(folder, "DynamoDBLocal.jar"),
		"-inMemory", "-sharedDb", "-disableTelemetry", "-port", fmt.Sprint(port))
	command.Dir = folder
	command.Stdin, command.Stdout, command.Stderr = stdin, s.log, s.log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	if err := s.await(); err != nil {
		return nil, errors.Join(err, alive.Close())
	}
	return s, nil
}

func freePort() (int, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// await waits until the server answers anything, or has ended.
func (s *server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			return response.Body.Close()
		}
		if output := s.output(); strings.Contains(output, "exit status ") {
			return fmt.Errorf("it ended: %s", output)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not answer at %s after %s: %w: %s", s.url, startTimeout, err, s.output())
		case <-poll.C:
		}
	}
}

// output is the beginning of what the server printed.
func (s *server) output() string {
	text := make([]byte, 4096)
	n, _ := s.log.ReadAt(text, 0) // what there is, for a message
	return strings.TrimSpace(string(text[:n]))
}
