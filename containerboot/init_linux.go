package containerboot

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// exitBySignal is what a shell adds to the number of the signal that ended a child.
const exitBySignal = 128

// handedOn are the signals that init hands on to the process that does the work. A
// runtime's init hands on the same.
var handedOn = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// beInit is all that the first process of a process tree does: it starts this program once
// more, reaps whatever ends, for orphans become its children, hands signals on, and ends
// with the status of what it started. It reports false where this is not the first process.
//
// It is a process of its own because whoever waits for any child takes their statuses from
// those who wait for one. Files that were inherited are inherited once more: the kernel
// closes none of them, and what the Go runtime opened is closed in children.
func beInit(args, environ []string, stderr io.Writer) (code int, isInit bool) {
	if os.Getpid() != 1 {
		return 0, false
	}
	signals := make(chan os.Signal, len(handedOn))
	signal.Notify(signals, handedOn...)
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(stderr, "containerboot: finding the program itself:", err)
		return exitServer, true
	}
	child, err := syscall.ForkExec(self, append([]string{"containerboot"}, args...), &syscall.ProcAttr{
		Env: environ, Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		fmt.Fprintln(stderr, "containerboot: starting the process that does the work:", err)
		return exitServer, true
	}
	go func() {
		for s := range signals {
			_ = syscall.Kill(child, s.(syscall.Signal)) // it may have ended, and then so do we
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			fmt.Fprintln(stderr, "containerboot: waiting for the process that does the work:", err)
			return exitServer, true
		case pid != child:
		case status.Signaled():
			return exitBySignal + int(status.Signal()), true
		default:
			return status.ExitStatus(), true
		}
	}
}
