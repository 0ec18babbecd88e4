//go:build !linux

package tool

import "syscall"

// inGroup makes a child join a process group. That it dies with this process is the
// guard's work alone.
func inGroup(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group}
}
