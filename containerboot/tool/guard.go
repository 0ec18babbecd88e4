package tool

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// guardScript waits for the end of a pipe that this process holds open, and then
// kills its group. The kernel's signal at a parent's death reaches children only;
// npm's own children would live on, and write into a workspace that the next
// containerboot is building in.
const guardScript = `trap "" HUP INT TERM; read -r _ <&3; kill -KILL 0`

// guard is the leader of a program's process group.
type guard struct {
	cmd  *exec.Cmd
	hold *os.File // write end
	once sync.Once
}

func startGuard() (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript) //nolint:noctx // it ends with what it guards
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &guard{cmd: cmd, hold: w}, nil
}

func (g *guard) group() int { return g.cmd.Process.Pid }

// end kills whatever is left of the group, the guard included. It may be called again.
func (g *guard) end() {
	g.once.Do(func() {
		_ = syscall.Kill(-g.group(), syscall.SIGKILL) // fails only if nothing is left
		_ = g.cmd.Wait()                              // killed, as told
		g.hold.Close()
	})
}
