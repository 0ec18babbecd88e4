//go:build unix

package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Tunables are the settings of a Runner which may change while it runs.
type Tunables struct {
	// Binary is the path of containerboot. Default: "containerboot" in the folder
	// of the running program, else on PATH.
	Binary string
	// APIUpstream is the origin that gets the containers' /api/*; see
	// bootapi.CheckUpstream.
	// Default: none.
	APIUpstream string
}

// SetTunables changes what the next container is started with; those that run keep
// what they have. If there is no such binary, or the upstream is not valid, it returns
// an error, and changes nothing.
func (r *Runner) SetTunables(t Tunables) error {
	if t.APIUpstream != "" {
		if err := bootapi.CheckUpstream(t.APIUpstream); err != nil {
			return fmt.Errorf("process runner: API upstream: %w", err)
		}
	}
	binary, err := FindBinary(t.Binary)
	if err != nil {
		return fmt.Errorf("process runner: %w", err)
	}
	t.Binary = binary
	r.tunables.Store(&t)
	return nil
}

// FindBinary finds the binary of Tunables.Binary. It returns its absolute path, or an error
// that says what to do.
func FindBinary(path string) (string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = nil
		if self, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(self), "containerboot"))
		}
		candidates = append(candidates, "containerboot")
	}
	for _, c := range candidates {
		if found, err := exec.LookPath(c); err == nil {
			return filepath.Abs(found)
		}
	}
	if path == "" {
		path = "containerboot"
	}
	return "", fmt.Errorf("%s is not there or cannot be run: build it with `make build`, or set `binary`", path)
}
