// Package dockerengine gives a test binary a real Docker Engine: the one that answers at
// DOCKER_HOST or the usual socket, or one of its own.
//
// One of its own takes Linux, root, and a dockerd, which is installed where that can be
// done. The tests then run in namespaces of their own: the binary runs itself again, with
// an engine beside it, in a network, a process tree and mounts that nobody else sees. So
// networks, mounts, rules and processes, the engine and its containers among them, are
// gone with the test binary, however it ends, and addresses of containers are those of
// hosts which exist in there alone. There is no other network in there.
//
// Where no engine can be had, tests that need one are skipped and say why; with CI=true
// they fail.
//
//	func TestMain(m *testing.M) {
//		dockerengine.Enter()
//		leaktest.VerifyTestMain(m)
//	}
package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

const (
	// insideEnv tells the binary that it runs in namespaces of its own: the value is the
	// folder of the engine's data.
	insideEnv = "DOCKERENGINE_INSIDE"
	// outerEnv is the process that made the namespaces, as the machine numbers it.
	outerEnv = "DOCKERENGINE_OUTER"
	// imageEnv is the folder of the image that was made before; see tools/testimage.sh.
	imageEnv = "DOCKERENGINE_IMAGE"
	// ownImageEnv names an image on the engine to be used instead of one that is made.
	ownImageEnv = "WEBORDINARY_TEST_IMAGE"
)

// Engine is a Docker Engine for tests.
type Engine struct {
	// Host is where it listens.
	Host string
	// Private: nobody else uses it, and all of it ends with the tests.
	Private bool
}

// What Enter has found.
var (
	engine    *Engine
	errEngine = errors.New("dockerengine.Enter was not called by TestMain")
)

// Enter looks for an engine, or starts one. It returns where the tests are to be run;
// in the outer one of two processes it never returns. Call it first in TestMain.
func Enter() {
	engine, errEngine = enter(context.Background())
}

func enter(ctx context.Context) (*Engine, error) {
	if data := os.Getenv(insideEnv); data != "" {
		host, err := startInside(ctx, data)
		if err != nil {
			return nil, fmt.Errorf("starting a Docker Engine: %w", err)
		}
		// For programs that the tests start.
		if err := os.Setenv(client.EnvOverrideHost, host); err != nil {
			return nil, err
		}
		return &Engine{Host: host, Private: true}, nil
	}
	host := os.Getenv(client.EnvOverrideHost)
	if host == "" {
		host = client.DefaultDockerHost
	}
	if answers(ctx, host) {
		return &Engine{Host: host}, nil
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	if err := possible(ctx, root); err != nil {
		return nil, fmt.Errorf("no Docker Engine answers at %s, and none can be started: %w", host, err)
	}
	image, err := makeImage(ctx, root) // while there is a network
	if err != nil {
		return nil, err
	}
	code, err := runInside(filepath.Join(root, ".cache", "docker"), image)
	if err != nil {
		return nil, fmt.Errorf("starting a Docker Engine: %w", err)
	}
	os.Exit(code)
	return nil, nil
}

// Need returns the engine, or skips the test, or in CI fails it.
func Need(t testing.TB) *Engine {
	t.Helper()
	if errEngine == nil {
		return engine
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs a Docker Engine: %v", errEngine)
	}
	t.Skipf("this test needs a Docker Engine: %v", errEngine) //nolint:forbidigo // in CI it fails
	return nil
}

// Client returns a client of the engine for the time of a test.
func (e *Engine) Client(t testing.TB) *client.Client {
	t.Helper()
	cli, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() }) // closes idle connections, and never fails
	cli.NegotiateAPIVersion(t.Context())  // which it does by itself, but with a race
	return cli
}

func (e *Engine) connect() (*client.Client, error) {
	return client.NewClientWithOpts(client.WithTLSClientConfigFromEnv(), client.WithHost(e.Host), client.WithAPIVersionNegotiation())
}

// answers reports whether an engine answers at a host.
func answers(ctx context.Context, host string) bool {
	cli, err := (&Engine{Host: host}).connect()
	if err != nil {
		return false
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = cli.Ping(ctx)
	return err == nil
}

// moduleRoot is the folder of go.mod.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module's folder: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// script runs a script of the module's tools folder and returns what it prints.
func script(ctx context.Context, root, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", append([]string{filepath.Join("tools", name)}, args...)...)
	cmd.Dir = root
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, lastLines(errs.String(), 2000))
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLines(s string, most int) string {
	s = strings.TrimSpace(s)
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}
