package process

import (
	"fmt"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// processIdentity tells a running process from any other that had or will have its id;
// "" if there is none or it is a zombie.
func processIdentity(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == zombie {
		return ""
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec)
}

// reap waits for a container's end and kills what is left of its process group. What its
// tools moved into groups of their own ends by containerboot's guards.
func reap(cmd *exec.Cmd, _ string) {
	_ = cmd.Wait()                                      // how it ended is in ProcessState
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nothing left is as good
}

// killLeftovers does nothing: a group whose leader was not seen to end may be another's.
func killLeftovers(int, string) {}
