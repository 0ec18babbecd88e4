package buildcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// leadsName is the folder of the locks of those who make an entry.
const leadsName = "leads"

// leadPoll is how often whoever waits for another's work looks whether that is done: a
// lock that is waited for cannot be given up, and works between machines only so.
const leadPoll = 100 * time.Millisecond

// Lead is the right to make the entry of a key: whoever else wants to make it waits. It
// ends with the process at the latest. The zero value keeps nobody waiting.
type Lead struct {
	// Waited: another had it before, and may have made the entry.
	Waited bool
	lock   *os.File
	queue  string
	once   sync.Once
}

// Lead waits until nobody else, in any process, makes the entry of a key. waiting, if not
// nil, is called once if it must wait. The caller must call Done. Errors are the context's
// cause, or of the filesystem.
func (c *Cache) Lead(ctx context.Context, key string, waiting func()) (*Lead, error) {
	dir := filepath.Join(c.dir, leadsName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache's folder: %w", err)
	}
	path := filepath.Join(dir, key)
	l := &Lead{queue: path + ".queue"}
	lock, err := tryLead(path)
	if errors.Is(err, errTaken) {
		l.Waited = true
		if waiting != nil {
			waiting()
		}
		lock, err = l.wait(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	l.lock = lock
	return l, nil
}

// wait stands in the queue until the lead is free.
func (l *Lead) wait(ctx context.Context, path string) (*os.File, error) {
	queue, err := os.OpenFile(l.queue, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("waiting for another: %w", err)
	}
	defer queue.Close()
	if err := lockShared(queue); err != nil {
		return nil, fmt.Errorf("waiting for another: %w", err)
	}
	tick := time.NewTicker(leadPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
		if lock, err := tryLead(path); !errors.Is(err, errTaken) {
			return lock, err
		}
	}
}

// errTaken: somebody else has a lock.
var errTaken = errors.New("taken")

// tryLead takes a lock if it is free, else errTaken.
func tryLead(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking a cache entry: %w", err)
	}
	if err = tryLockExclusive(f); err == nil {
		// Whoever had it before may have removed the file.
		have, err1 := f.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(have, there) {
			return f, nil
		}
		err = errTaken
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errTaken
	}
	return nil, fmt.Errorf("locking a cache entry: %w", err)
}

// Wanted reports whether anybody waits.
func (l *Lead) Wanted() bool {
	if l.lock == nil {
		return false
	}
	queue, err := os.Open(l.queue)
	if err != nil {
		return false
	}
	defer queue.Close()
	return tryLockExclusive(queue) != nil
}

// Done lets the next one lead. It may be called again.
func (l *Lead) Done() {
	l.once.Do(func() {
		if l.lock == nil {
			return
		}
		if !l.Wanted() {
			// Left behind they cost nothing but their names.
			_ = errors.Join(os.Remove(l.queue), os.Remove(l.lock.Name()))
		}
		l.lock.Close()
	})
}

// sweepLeads removes the locks of those who were killed.
func (c *Cache) sweepLeads() {
	dir := filepath.Join(c.dir, leadsName)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || (err == nil && c.now().Sub(info.ModTime()) < leadsAge) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if lock, err := tryLead(path); err == nil {
			_ = os.Remove(path)
			lock.Close()
		}
	}
}

// leadsAge is how old a lock must be to be swept: longer than anybody makes an entry.
const leadsAge = time.Hour
