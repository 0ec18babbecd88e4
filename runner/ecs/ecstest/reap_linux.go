package ecstest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reap waits for a container's first process, and ends, as the end of a container does,
// all others: those of its session, and those whose home is in its folder, wherever they
// moved themselves. Only then is the process's id released.
func reap(cmd *exec.Cmd, dir string) error {
	leader := cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, leader, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	for deadline := time.Now().Add(5 * time.Second); killOthers(leader, dir) && time.Now().Before(deadline); {
		<-time.After(time.Millisecond) // what was being born is found the next time
	}
	return errors.Join(cmd.Wait(), os.RemoveAll(dir))
}

// killOthers kills a container's processes but the first, and reports whether there were any.
func killOthers(leader int, dir string) bool {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return false
	}
	found := false
	home := []byte("\x00HOME=" + dir + "/")
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == leader || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile(name + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		if fields[3] != strconv.Itoa(leader) {
			environ, err := os.ReadFile(name + "/environ")
			if err != nil || !bytes.Contains(append([]byte{0}, environ...), home) {
				continue
			}
		}
		found = true
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
	}
	return found
}
