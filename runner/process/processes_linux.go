package process

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bootID tells this run of the machine from any other: ids and start times repeat.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(id))
})

// processIdentity tells a running process from any other that had or will have its id;
// "" if there is none or it is a zombie.
func processIdentity(pid int) string {
	p, ok := readProcess(pid)
	if !ok || p.dead() {
		return ""
	}
	return p.started + "@" + bootID()
}

// process is a line of the table of processes.
type process struct {
	pid     int
	state   string
	session int
	started string // clock ticks since the machine's start
}

func (p process) dead() bool { return p.state == "Z" || p.state == "X" }

func readProcess(pid int) (process, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, false
	}
	// The name stands in parentheses and may hold some, and spaces, itself.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return process{}, false
	}
	session, err := strconv.Atoi(fields[3])
	return process{pid: pid, state: fields[0], session: session, started: fields[19]}, err == nil
}

// reap waits for a container's end, ends what it leaves behind, and only then releases
// its process id: until then the id of its session can be nobody else's.
func reap(cmd *exec.Cmd, dir string) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	killLeftovers(cmd.Process.Pid, dir)
	_ = cmd.Wait() // how it ended is in ProcessState
}

// killLeftovers kills what a container has left behind and returns when it is gone:
// the processes of its session, which is known by the leader's id as long as that is
// not reaped (0: not known any more), and those whose home is in the session's folder,
// which no process has but a container's tools, wherever they moved themselves.
func killLeftovers(leader int, dir string) {
	home := []byte("\x00HOME=" + dir + string(filepath.Separator))
	for deadline := time.Now().Add(killWait); time.Now().Before(deadline); {
		found := false
		for _, pid := range allProcesses() {
			p, ok := readProcess(pid)
			if !ok || p.dead() || pid == leader || pid == os.Getpid() {
				continue
			}
			if (leader == 0 || p.session != leader) && !hasInEnviron(pid, home) {
				continue
			}
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
		}
		if !found {
			return
		}
		// What was being born as it was looked for is found the next time.
		<-time.After(time.Millisecond)
	}
}

func allProcesses() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// hasInEnviron reports whether a process was started with a variable that begins so.
// Other users' environments cannot be read and are nobody's we started.
func hasInEnviron(pid int, variable []byte) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && bytes.Contains(append([]byte{0}, environ...), variable)
}
