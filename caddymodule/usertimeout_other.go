//go:build !linux

package caddymodule

import "net"

// boundSilence does nothing here: a connection whose other side has vanished is closed
// when the system's own patience ends.
func boundSilence(net.Conn) {}
