package buildcache

import (
	"os"
	"syscall"
)

// Locks belong to an open file, end with the process however it ends, and work
// between the machines that share a network filesystem.

func lockShared(f *os.File) error    { return flock(f, syscall.LOCK_SH) }
func lockExclusive(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// tryLockExclusive fails at once where anybody holds the lock.
func tryLockExclusive(f *os.File) error { return flock(f, syscall.LOCK_EX|syscall.LOCK_NB) }

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			return err
		}
	}
}
