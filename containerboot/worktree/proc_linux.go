package worktree

import "syscall"

// processAttributes give a git process a group of its own, and its end with this
// process's: a git that outlives a killed containerboot could hold a dead remote for ever.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
