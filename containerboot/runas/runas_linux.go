package runas

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const supported = true

var errNotBecome = errors.New("the system refuses the user's rights to files")

// do changes what the kernel takes for the user of this thread's file accesses. With it
// go root's privileges over files, until it is changed back.
func (u *User) do(f func() error) error {
	runtime.LockOSThread()
	gid, uid := setFS(u.uid, u.gid)
	defer func() {
		if back, _ := setFS(uid, gid); back == u.gid && isFS(uid, gid) {
			runtime.UnlockOSThread()
		} // else the thread ends with its goroutine, and nobody else gets it
	}()
	if !isFS(u.uid, u.gid) {
		return errNotBecome
	}
	return f()
}

// setFS sets both and returns what they were. The group is first: root alone may.
func setFS(uid, gid int) (oldGID, oldUID int) {
	if uid == 0 { // and the last one where it becomes root
		oldUID, _ = unix.SetfsuidRetUid(uid)
		oldGID, _ = unix.SetfsgidRetGid(gid)
		return oldGID, oldUID
	}
	oldGID, _ = unix.SetfsgidRetGid(gid)
	oldUID, _ = unix.SetfsuidRetUid(uid)
	return oldGID, oldUID
}

// isFS reports what is set: -1 is nobody's number and changes nothing.
func isFS(uid, gid int) bool {
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	return nowUID == uid && nowGID == gid
}

// killTries is how often it is tried to kill the user's processes where there are too
// many to start one more: 5 s in all.
const killTries = 100

// killAll is done by a process that is the user in every respect, and so may signal
// nobody else: a thread of this one would keep root's right in one of its numbers, or lend
// the user a thread. The kernel signals all in one step: there is no moment in which one
// could make another, as there is between reading a list of processes and going through it.
func (u *User) killAll() {
	if u.uid == 0 || u.uid == os.Getuid() {
		return
	}
	for try := 1; ; try++ {
		cmd := exec.Command("/bin/sh", "-c", "kill -KILL -1") //nolint:noctx // it ends at once
		cmd.Dir, cmd.Env = "/", []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.Credential()}
		if err := cmd.Run(); !errors.Is(err, syscall.EAGAIN) || try == killTries {
			return // it fails where there is nobody to kill
		}
		<-time.After(time.Duration(try) * time.Millisecond)
	}
}
