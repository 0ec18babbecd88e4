// Package freeport finds ports for servers that tests start. They stay free until then:
// they are not among those that the kernel gives to whoever asks for any.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
)

const (
	// lowest is above what well-known servers use.
	lowest = 10_000
	// ephemeral is where the kernel's ports begin where it does not say.
	ephemeral = 32_768
	// enough is how many ports there must be below the kernel's to find free ones.
	enough = 1_000
	tries  = 1_000
)

var (
	mu    sync.Mutex
	given = map[int]bool{} // to this process
)

// Find returns n ports of the loopback address that nothing listens on.
func Find(n int) ([]int, error) {
	mu.Lock()
	defer mu.Unlock()
	end := firstEphemeral()
	ports := make([]int, 0, n)
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		wanted := 0 // any
		if end-lowest >= enough {
			wanted = lowest + rand.IntN(end-lowest) //nolint:gosec // nothing secret depends on it
		}
		port, err := listen(wanted)
		if err != nil || given[port] {
			continue
		}
		given[port] = true
		ports = append(ports, port)
	}
	return nil, errors.New("no free port was found")
}

// listen reports that a port is free, by listening on it for a moment.
func listen(port int) (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// firstEphemeral is the first of the ports that the kernel gives out.
func firstEphemeral() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ephemeral // not on Linux, where they begin later
	}
	var first int
	if _, err := fmt.Sscan(string(text), &first); err != nil {
		return ephemeral
	}
	return first
}
