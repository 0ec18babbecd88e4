//go:build unix && !linux

package ecstest

import (
	"errors"
	"os"
	"os/exec"
)

// reap waits for a container's first process. What it leaves behind is not looked for.
func reap(cmd *exec.Cmd, dir string) error {
	return errors.Join(cmd.Wait(), os.RemoveAll(dir))
}
