//go:build unix

package ecstest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// addresses gives out the addresses of a network 127.x.0.0/16 in which nobody else
// listens at a port. It is used under the server's lock.
type addresses struct {
	port  int
	claim net.Listener // at 127.x.0.1: makes the network this server's
	block byte
	fresh int   // how many were ever given out
	freed []int // the last one at the end
}

func newAddresses(port int) (*addresses, error) {
	var errs []error
	for range 20 {
		block := byte(1 + rand.IntN(250)) //nolint:gosec // only to get out of the way of others
		claim, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, block, 0, 1), Port: port})
		if err == nil {
			return &addresses{port: claim.Addr().(*net.TCPAddr).Port, claim: claim, block: block}, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("ecstest: no network of 127.0.0.0/8 can be had with port %d: %w", port, errors.Join(errs...))
}

func (a *addresses) close() error { return a.claim.Close() }

// take returns an address that is nobody's.
func (a *addresses) take(reuse bool) string {
	var n int
	// A network interface keeps its address for itself for a while, unless one must be reused.
	const rest = 50
	switch {
	case len(a.freed) > 0 && reuse:
		n = a.freed[len(a.freed)-1]
		a.freed = a.freed[:len(a.freed)-1]
	case len(a.freed) > rest:
		n = a.freed[0]
		a.freed = a.freed[1:]
	default:
		a.fresh++
		n = a.fresh
	}
	return net.IPv4(127, a.block, byte(1+n/250), byte(1+n%250)).String() // 62,000 are more than any test needs
}

// free takes an address back.
func (a *addresses) free(address string) {
	ip := net.ParseIP(address).To4()
	a.freed = append(a.freed, (int(ip[2])-1)*250+int(ip[3])-1)
}
