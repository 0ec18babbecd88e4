package bootapi

import (
	"errors"
	"syscall"
)

// Exhausted reports whether an error says that the machine, or the process, that meant to
// ask a container has run out of what a connection needs: files, ports, buffers or
// memory. It says nothing of the container.
func Exhausted(err error) bool {
	for _, out := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
	} {
		if errors.Is(err, out) {
			return true
		}
	}
	return false
}
