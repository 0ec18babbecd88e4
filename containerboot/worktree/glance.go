package worktree

import (
	"hash/maphash"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// glanceDepth bounds how deep folders are looked into.
const glanceDepth = 100

// glanceSeed makes glances of one process comparable.
var glanceSeed = maphash.MakeSeed()

// Glance is what the workspace looks like without reading a file: two that are equal, of
// the same process, are of the same files and the same commit checked out in the
// workspace's own git, as far as names, sizes, times and modes tell.
type Glance uint64

// Glance looks at the workspace, but for folders that are never saved (node_modules,
// Config.Exclude), and returns the latest time of a file or folder too. It waits for nobody
// and runs no git. Files that vanish meanwhile are as if they had not been there.
func (w *Worktree) Glance() (Glance, time.Time, error) {
	root, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return 0, time.Time{}, err
	}
	defer root.Close()
	g := glancer{skip: map[string]bool{}}
	for _, pattern := range *w.exclude.Load() {
		if dir, ok := strings.CutPrefix(pattern, "/"); ok {
			g.skip[strings.TrimSuffix(dir, "/")] = true
		}
	}
	g.sum = Glance(maphash.String(glanceSeed, w.readClientHead().commit))
	if err := g.folder(root, "", 0); err != nil {
		return 0, time.Time{}, err
	}
	return g.sum, g.newest, nil
}

type glancer struct {
	skip   map[string]bool
	sum    Glance // commutative: folders are listed in no particular order
	newest time.Time
}

func (g *glancer) folder(root *os.Root, dir string, depth int) error {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if e.Name() == ".git" || e.Name() == "node_modules" || g.skip[name] {
			continue
		}
		info, err := root.Lstat(e.Name())
		if err != nil {
			continue
		}
		if info.ModTime().After(g.newest) {
			g.newest = info.ModTime()
		}
		if !info.IsDir() {
			g.file(name, info)
			continue
		}
		if depth == glanceDepth {
			continue
		}
		sub, err := root.OpenRoot(e.Name())
		if err != nil {
			continue
		}
		err = g.folder(sub, name, depth+1)
		sub.Close()
		if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) {
			return err
		}
	}
	return nil
}

func (g *glancer) file(name string, info fs.FileInfo) {
	g.sum += Glance(maphash.Comparable(glanceSeed, struct {
		name           string
		size, modified int64
		mode           fs.FileMode
	}{name, info.Size(), info.ModTime().UnixNano(), info.Mode()}))
}
