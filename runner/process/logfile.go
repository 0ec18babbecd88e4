//go:build unix

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

const (
	logName = "container.log"
	// maxLog is how large a container's log may grow, keptLog what is kept of it then.
	maxLog  = 5 << 20
	keptLog = 2 << 20
	// logCheck is how often logs are looked at.
	logCheck = 2 * time.Second
)

// openLog opens a container's log to be written to. Containers write to the file
// itself and not through this process, so that they can go on when it is gone.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// tendLogs keeps the logs of running containers within their bounds.
func (r *Runner) tendLogs() {
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.life.Done():
			return
		}
		r.mu.Lock()
		dirs := make([]string, 0, len(r.children))
		for _, c := range r.children {
			dirs = append(dirs, c.dir)
		}
		r.mu.Unlock()
		for _, dir := range dirs {
			path := filepath.Join(dir, logName)
			if err := trimLog(path, maxLog, keptLog); err != nil {
				r.log.Warn("shortening a container's log failed", zap.String("path", path), zap.Error(err))
			}
		}
	}
}

// trimLog shortens a log that is longer than limit to its newest whole lines, at most
// keep bytes of them. It does so in place, as a container has the file open: what is
// written in that very moment may be lost.
func trimLog(path string, limit, keep int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() <= limit {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a log's size: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("opening a log: %w", err)
	}
	tail := make([]byte, keep)
	n, err := f.ReadAt(tail, info.Size()-keep)
	tail = tail[:n]
	if err == nil {
		if _, whole, ok := bytes.Cut(tail, []byte("\n")); ok {
			tail = whole
		}
		if err = f.Truncate(0); err == nil {
			_, err = f.Write(tail)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("shortening a log: %w", err)
	}
	return nil
}
