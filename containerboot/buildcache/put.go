package buildcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PutOptions say how a folder is taken into the cache.
type PutOptions struct {
	// Replace makes this the entry that Get returns from now on. Without, the first
	// writer wins: where the key has an entry already, that one is returned.
	Replace bool
	// Links keeps symbolic links as they are. Without, a relative link to a file
	// inside the folder becomes that file, and any other is left out: what is served
	// must not lead out of its folder.
	Links bool
	// Only, if not empty, are the folders to take, as paths with slashes below the one
	// that is put; those that are not there are left out.
	Only []string
	// Below, if not empty, is a folder that the one which is put lies in: no link leads out
	// of it, whoever else writes there.
	Below string
}

// Put copies a folder into the cache and returns it as an entry in use. It ends early,
// leaving nothing, when ctx ends.
func (c *Cache) Put(ctx context.Context, key, src string, o PutOptions) (*Entry, error) {
	if key == "" || strings.ContainsAny(key, "./") {
		return nil, fmt.Errorf("cache key %q must be one word", key)
	}
	aside, err := c.aside()
	if err != nil {
		return nil, err
	}
	e, err := c.make(ctx, aside, key, src, o)
	if err != nil {
		_ = os.RemoveAll(aside)
		return nil, fmt.Errorf("copying into the cache: %w", err)
	}
	kept, err := c.commit(e, o.Replace)
	if err != nil {
		e.Release()
		_ = os.RemoveAll(aside)
		return nil, err
	}
	return kept, nil
}

// make builds an entry aside, complete with its marker.
func (c *Cache) make(ctx context.Context, aside, key, src string, o PutOptions) (*Entry, error) {
	lock, err := os.OpenFile(filepath.Join(aside, lockName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	e := &Entry{dir: aside, lock: lock, mark: marker{Key: key}}
	fail := func(err error) (*Entry, error) {
		e.Release()
		return nil, err
	}
	if err := lockShared(lock); err != nil {
		return fail(err)
	}
	if err := copyParts(ctx, e.Dir(), src, o); err != nil {
		return fail(err)
	}
	if e.mark.content, err = measure(e.Dir()); err != nil {
		return fail(err)
	}
	data, err := json.Marshal(e.mark)
	if err != nil {
		return fail(err)
	}
	if err := writeSynced(filepath.Join(aside, markerName), data); err != nil {
		return fail(err)
	}
	if err := os.Chmod(aside, 0o755); err != nil {
		return fail(err)
	}
	return e, nil
}

// commit renames an entry into its place, or discards it for one that was there first.
func (c *Cache) commit(e *Entry, replace bool) (*Entry, error) {
	order, err := os.OpenFile(filepath.Join(c.dir, asideName+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	defer order.Close()
	if err := lockExclusive(order); err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	if !replace {
		first, err := c.Get(e.mark.Key)
		if err == nil {
			e.Release()
			_ = os.RemoveAll(e.dir)
			return first, nil
		}
		if !errors.Is(err, ErrMiss) {
			return nil, err
		}
	}
	to := filepath.Join(c.dir, fmt.Sprintf("%s.%016x", e.mark.Key, c.stamp(e.mark.Key)))
	if err := os.Rename(e.dir, to); err != nil {
		return nil, fmt.Errorf("putting a folder into the cache: %w", err)
	}
	e.dir = to
	return e, syncDir(c.dir)
}

// stamp orders the entries of a key: the time, but always after the newest there is.
func (c *Cache) stamp(key string) int64 {
	now := c.now().UnixNano()
	names, err := c.names(key)
	if err != nil || len(names) == 0 {
		return now
	}
	var last int64
	if _, err := fmt.Sscanf(names[len(names)-1], key+".%x", &last); err == nil && last >= now {
		return last + 1
	}
	return now
}

// writeSynced writes a file that survives a crash of the machine if its name does.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes a rename in a folder survive a crash of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing the cache: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the cache: %w", err)
	}
	return nil
}
