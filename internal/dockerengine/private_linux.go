package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// slots is how many engines may keep their data at a time; images are kept in it.
const slots = 4

// possible reports what an engine of one's own lacks.
func possible(ctx context.Context, root string) error {
	if os.Geteuid() != 0 {
		return errors.New("that takes root")
	}
	if _, err := exec.LookPath("dockerd"); err == nil {
		return nil
	}
	_, err := script(ctx, root, "need.sh", "dockerd", "docker.io")
	return err
}

// runInside runs this binary again in namespaces of its own and returns its exit status.
// Data of engines is in the folder.
func runInside(folder, image string) (int, error) {
	slot, lock, err := takeSlot(folder)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	sweepCgroups()
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	args := append([]string{self}, os.Args[1:]...)
	// Process 1 of the new tree, which takes in the orphans of containers' shims.
	if init, err := exec.LookPath("docker-init"); err == nil {
		args = append([]string{init, "--"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it is this process, in another place
	cmd.Env = append(os.Environ(), insideEnv+"="+slot, imageEnv+"="+image, outerEnv+"="+strconv.Itoa(os.Getpid()))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{lock} // held until the last process has gone
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // which is the parent as the kernel sees it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err = cmd.Wait()
	sweepCgroups()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 1, nil // a signal
}

// takeSlot returns the first folder that no other engine uses, and what keeps it ours.
func takeSlot(folder string) (slot string, lock *os.File, err error) {
	for n := range slots {
		slot = filepath.Join(folder, strconv.Itoa(n+1))
		if err := os.MkdirAll(slot, 0o700); err != nil {
			return "", nil, err
		}
		lock, err := os.OpenFile(filepath.Join(slot, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return "", nil, err
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return slot, lock, nil
		}
		if err := errors.Join(lock.Close()); err != nil {
			return "", nil, err
		}
	}
	return "", nil, fmt.Errorf("%d other engines use %s", slots, folder)
}

// cgroupPrefix begins the names of control groups of engines; the process that started
// one follows.
const cgroupPrefix = "webordinary-test-"

// sweepCgroups removes the control groups of engines that ended: they are all that
// outlives the namespaces.
func sweepCgroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + cgroupPrefix + "*") // the pattern is well formed
		for _, dir := range found {
			pid, err := strconv.Atoi(filepath.Base(dir)[len(cgroupPrefix):])
			if err == nil && (pid == os.Getpid() || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)) {
				removeCgroup(dir)
			}
		}
	}
}

// removeCgroup removes a control group with those below it; one with a process stays.
func removeCgroup(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	_ = unix.Rmdir(dir) // tried again by the next
}
