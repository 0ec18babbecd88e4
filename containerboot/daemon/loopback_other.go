//go:build !linux

package daemon

// loopback is the only address of loopback that every system has.
func loopback() string { return "127.0.0.1" }
