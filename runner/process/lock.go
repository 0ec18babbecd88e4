//go:build unix

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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

// writePID writes into a lock whose it is.
func writePID(lock *os.File) error {
	err := lock.Truncate(0)
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return fmt.Errorf("writing into a lock: %w", err)
	}
	return nil
}

// inUse says which process holds the lock of a data folder, as well as it can be told, and
// what to do.
func inUse(path, dataDir string) string {
	other := "another edge uses " + dataDir + ": end it first"
	f, err := os.Open(path)
	if err != nil {
		return other
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return other
	}
	switch pid, err := strconv.Atoi(strings.TrimSpace(string(text))); {
	case err != nil:
		return other // it is about to write it
	case pid == os.Getpid():
		return "another configuration of this edge uses " + dataDir + ": restart the edge if its stores or its runner have changed"
	default:
		return fmt.Sprintf("another edge (pid %d) uses %s: end it first", pid, dataDir)
	}
}
