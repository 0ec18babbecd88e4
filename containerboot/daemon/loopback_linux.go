package daemon

import (
	"crypto/rand"
	"net"
)

// loopback is a random address of 127.0.0.0/8, all of which is the machine itself: the
// servers of two sessions on one machine do not meet at a port that both found free.
func loopback() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return net.IPv4(127, 1+b[0]%254, b[1], 1+b[2]%254).String()
}
