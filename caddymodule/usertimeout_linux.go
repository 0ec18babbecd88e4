package caddymodule

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// userTimeout is how long what was sent to a container may stay without a sign of life
// from its host. Otherwise a socket or download of which nobody waits for the answer's
// beginning outlives a host that vanished by a quarter of an hour. It is longer than a
// site may be too busy to read what is uploaded to it: then, too, nothing moves.
const userTimeout = time.Minute

// boundSilence has the kernel close a connection whose other side has vanished, also one
// on which nothing is sent: keep-alive asks then.
func boundSilence(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return // with a read or write timeout, which bounds it as well
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	// Where it is refused there is keep-alive alone, as before.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	})
}
