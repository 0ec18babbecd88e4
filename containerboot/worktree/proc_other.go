//go:build unix && !linux

package worktree

import "syscall"

// processAttributes give a git process a group of its own.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
