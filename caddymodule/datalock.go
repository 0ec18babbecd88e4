package caddymodule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockData makes a data folder one edge's until the file is closed, or the process ends.
// Two edges with the same exclusive registry would take each other's sessions for left
// behind.
func lockData(dataDir string) (*os.File, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dataDir, "edge.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	for {
		if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = fmt.Errorf("another edge, or another configuration of this one, uses %s: end it first, or set another data folder", dataDir)
	default:
		err = fmt.Errorf("locking the data folder: %w", err)
	}
	return nil, errors.Join(err, lock.Close())
}
