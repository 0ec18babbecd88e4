// Package buildcache keeps folders by the key of what they were made from: built
// sites and installed dependencies, of one client.
//
// Many containers may use a cache at once, and any of them may be killed at any
// moment. A folder is copied aside, on the same filesystem, and renamed into place
// whole; a marker in it says how many files, links and bytes it must hold, so that what a
// crash of the machine cut short is found out and never used. Whoever uses an entry
// holds a shared lock on a file in it, and only entries that nobody holds are removed.
// Whoever wants what another is about to make can wait for it: see Lead.
package buildcache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// ErrMiss: the cache has no whole entry for a key.
var ErrMiss = errors.New("not in the cache")

const (
	markerName = "whole.json"
	lockName   = "lock"
	filesName  = "files"
	// asideName is where new entries are made, and where old ones go by rename
	// before they are removed.
	asideName = "aside"
	// orphanAge is how old a folder aside that nobody locks must be to be nobody's:
	// longer than it takes to make and lock the file in it.
	orphanAge = time.Minute
)

// Limits bound a cache; what was used least recently goes first.
type Limits struct {
	Entries int
	Bytes   int64
}

// Cache is a folder of entries. Make one with New; its methods are safe for
// concurrent use, also by several processes.
type Cache struct {
	dir    string
	limits Limits
	now    func() time.Time
}

// New returns the cache in a folder, which is made when it is needed.
func New(dir string, limits Limits) *Cache {
	return &Cache{dir: dir, limits: limits, now: time.Now}
}

// marker tells a whole entry from anything else.
type marker struct {
	Key string `json:"key"`
	content
}

// content is what a folder holds.
type content struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	Links int   `json:"links,omitempty"` // symbolic ones
}

// Entry is a cached folder in use: it stays until Release.
type Entry struct {
	dir  string
	mark marker
	lock *os.File
	once sync.Once
}

// Dir is the folder. It must not be written to.
func (e *Entry) Dir() string { return filepath.Join(e.dir, filesName) }

// Release lets the entry go. It may be called again.
func (e *Entry) Release() {
	e.once.Do(func() { e.lock.Close() })
}

// Get returns the newest whole entry for a key, or ErrMiss. The caller must Release
// it. An entry that turns out not to be whole is removed.
func (c *Cache) Get(key string) (*Entry, error) {
	names, err := c.names(key)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Backward(names) {
		e, err := c.open(filepath.Join(c.dir, name), key)
		if err != nil {
			continue // it was evicted meanwhile, or is broken and removed
		}
		// Only the order of eviction depends on it.
		_ = os.Chtimes(filepath.Join(e.dir, markerName), time.Time{}, c.now())
		return e, nil
	}
	return nil, ErrMiss
}

// open takes an entry into use, if it is whole.
func (c *Cache) open(dir, key string) (*Entry, error) {
	lock, err := openLock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	e := &Entry{dir: dir, lock: lock}
	if err := e.verify(key); err != nil {
		e.Release()
		if !errors.Is(err, fs.ErrNotExist) {
			c.remove(dir)
		}
		return nil, err
	}
	return e, nil
}

// openLock opens and shares the lock of an entry which is still in its place.
func openLock(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := lockShared(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking a cache entry: %w", err)
	}
	have, err1 := f.Stat()
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(have, there) {
		f.Close()
		return nil, fs.ErrNotExist
	}
	return f, nil
}

// errBroken: an entry does not hold what its marker says.
var errBroken = errors.New("cache entry is not whole")

func (e *Entry) verify(key string) error {
	// What lies behind a link is not what was put here.
	for name, kind := range map[string]fs.FileMode{"": fs.ModeDir, filesName: fs.ModeDir, markerName: 0, lockName: 0} {
		if info, err := os.Lstat(filepath.Join(e.dir, name)); err != nil || info.Mode().Type() != kind {
			return errBroken
		}
	}
	data, err := os.ReadFile(filepath.Join(e.dir, markerName))
	if err != nil || json.Unmarshal(data, &e.mark) != nil || e.mark.Key != key {
		return errBroken
	}
	if is, err := measure(e.Dir()); err != nil || is != e.mark.content {
		return errBroken
	}
	return nil
}

// measure counts what is below a folder.
func measure(dir string) (c content, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Type() == fs.ModeSymlink:
			c.Links++
		case d.Type().IsRegular():
			info, err := d.Info()
			if err != nil {
				return err
			}
			c.Files, c.Bytes = c.Files+1, c.Bytes+info.Size()
		}
		return nil
	})
	return c, err
}

// names returns the entries of a key, oldest first.
func (c *Cache) names(key string) ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), key+".") {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

// Sweep removes what killed processes left behind, and the entries beyond the
// limits, the least recently used first, but none in use.
func (c *Cache) Sweep() error {
	c.sweepAside()
	c.sweepLeads()
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the cache: %w", err)
	}
	type used struct {
		dir   string
		at    time.Time
		bytes int64
	}
	var all []used
	for _, e := range entries {
		if e.Name() == asideName || e.Name() == leadsName || !e.IsDir() {
			continue
		}
		dir := filepath.Join(c.dir, e.Name())
		path := filepath.Join(dir, markerName)
		u := used{dir: dir}
		var m marker
		if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &m) == nil {
			u.bytes = m.Bytes
			if info, err := os.Stat(path); err == nil {
				u.at = info.ModTime()
			}
		}
		all = append(all, u)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].at.After(all[j].at) })
	var bytes int64
	for i, u := range all {
		bytes += u.bytes
		// The newest stays whatever its size: it is the one that the next boot needs.
		if i >= c.limits.Entries || (bytes > c.limits.Bytes && i > 0) {
			c.remove(u.dir)
		}
	}
	return nil
}

// remove takes an entry out of the cache, unless somebody uses it.
func (c *Cache) remove(dir string) {
	lock, err := os.Open(filepath.Join(dir, lockName))
	switch {
	case err == nil:
		defer lock.Close()
		if tryLockExclusive(lock) != nil {
			return
		}
	case !errors.Is(err, fs.ErrNotExist):
		return
	}
	aside, err := c.aside()
	if err != nil {
		return
	}
	target := filepath.Join(aside, filesName)
	if os.Rename(dir, target) == nil {
		_ = os.RemoveAll(aside)
		return
	}
	_ = os.Remove(aside)
}

// aside makes a folder of its own on the cache's filesystem.
func (c *Cache) aside() (string, error) {
	parent := filepath.Join(c.dir, asideName)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("making the cache's folder: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return "", fmt.Errorf("making a folder in the cache: %w", err)
	}
	return dir, nil
}

// sweepAside removes folders whose maker is dead: nobody locks them.
func (c *Cache) sweepAside() {
	parent := filepath.Join(c.dir, asideName)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		info, err := e.Info()
		if err != nil || c.now().Sub(info.ModTime()) < orphanAge {
			continue
		}
		lock, err := os.Open(filepath.Join(dir, lockName))
		switch {
		case err == nil:
			if tryLockExclusive(lock) == nil {
				_ = os.RemoveAll(dir)
			}
			lock.Close()
		case errors.Is(err, fs.ErrNotExist):
			_ = os.RemoveAll(dir)
		}
	}
}
