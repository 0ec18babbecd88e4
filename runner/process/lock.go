//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// errLocked: somebody else holds the lock.
var errLocked = errors.New("locked")

// tryLock opens and locks a file. The lock is held for as long as any process has the
// returned file, or a copy that it inherited, open. errLocked if somebody else has it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
}
