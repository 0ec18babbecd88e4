package worktree

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // git's own naming of objects
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// scanTries is how often files that change while they are read are read again.
	scanTries = 3
	// refusedLimit is how many files git may refuse before a save gives up.
	refusedLimit = 100
	// nestedDepth bounds how deep a repository inside the workspace is searched.
	nestedDepth = 64
)

// snapshot is the workspace's files as a git tree.
type snapshot struct {
	tree string
	// index belongs to the tree; it is a temporary file.
	index string
}

func (s snapshot) discard() { _ = os.Remove(s.index) }

// ContentKey identifies the files that would be built: the name of the git tree that
// Save would make of them. It is HEAD's tree where nothing is unsaved. Changes within
// submodules, which Save cannot push, make it another.
func (w *Worktree) ContentKey(ctx context.Context) (string, error) {
	if err := w.lock.take(ctx); err != nil {
		return "", err
	}
	defer w.lock.release()
	dirt, err := w.readDirt()
	if err != nil {
		return "", err
	}
	snap, err := w.snapshot(ctx, w.own(), "", dirt)
	if err != nil {
		return "", err
	}
	defer snap.discard()
	w.keyTree = snap.tree
	return w.withModules(ctx, snap.tree)
}

// withModules is a key of a tree and of what was changed within its submodules, whose
// commits the tree names.
func (w *Worktree) withModules(ctx context.Context, tree string) (string, error) {
	placed, err := readModules(w.cfg.GitDir)
	if err != nil {
		return "", err
	}
	changed, err := w.changedModules(ctx, placed)
	if err != nil || len(changed) == 0 {
		return tree, err
	}
	h := sha1.New() //nolint:gosec // as git names objects
	fmt.Fprintf(h, "%s\n", tree)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		fmt.Fprintf(h, "%s %q\n", changed[name], name)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// snapshot makes a tree of p.work: of base, where given, else of the index, brought up
// to date with the files but for those that are as the build left them. The git
// directory's own index is not touched. The caller discards the snapshot.
func (w *Worktree) snapshot(ctx context.Context, p place, base string, dirt dirt) (snapshot, error) {
	v, err := w.visit(p)
	if err != nil {
		return snapshot{}, err
	}
	defer v.end()
	if base != "" {
		if _, err := w.git(ctx, v.place, stdio{}, "read-tree", "--reset", base); err != nil {
			return snapshot{}, err
		}
	}
	kept, err := w.keptSubmodules(p)
	if err != nil {
		return snapshot{}, err
	}
	if err := w.updateIndex(ctx, v.place, dirt, kept); err != nil {
		return snapshot{}, err
	}
	tree, err := w.gitLine(ctx, v.place, "write-tree")
	if err != nil {
		return snapshot{}, err
	}
	if !isCommit(tree) {
		return snapshot{}, failed("reading the workspace", fmt.Errorf("%q is no tree", tree))
	}
	if err := w.takeObjects(ctx, v, tree); err != nil {
		return snapshot{}, err
	}
	snap := snapshot{tree: tree, index: aside(filepath.Join(p.git, "index"))}
	if err := v.takeIndex(snap.index); err != nil {
		snap.discard()
		return snapshot{}, err
	}
	return snap, nil
}

var refusedPath = regexp.MustCompile(`(?s)Unable to process path (.*)\n$`)

// updateIndex brings an index up to date with the files. A file that git refuses (of an
// impossible name, or which nobody may read) must not keep the others from being saved.
// Paths in kept stay as they are in the index.
func (w *Worktree) updateIndex(ctx context.Context, p place, dirt dirt, kept map[string]bool) error {
	skip := maps.Clone(kept)
	for tries := 1; ; {
		in, err := w.changedPaths(ctx, p, dirt, skip)
		if err != nil || in.Len() == 0 {
			return err
		}
		_, err = w.git(ctx, p, stdio{in: in, log: true}, "update-index", "-z", "--add", "--remove", "--replace", "--stdin")
		if err == nil || ctx.Err() != nil || diskIsFull(err) {
			return err
		}
		if tries < scanTries {
			tries++
			continue
		}
		e := (*Error)(nil)
		if !errors.As(err, &e) || len(skip) == len(kept)+refusedLimit {
			return err
		}
		m := refusedPath.FindStringSubmatch(e.Detail + "\n")
		if m == nil || skip[m[1]] {
			return err
		}
		skip[m[1]] = true
		w.cfg.Log(fmt.Sprintf("%q cannot be saved: %s", m[1], firstLine(e.Detail)))
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// changedPaths lists what differs between index and files but for skip, each path ended by NUL.
func (w *Worktree) changedPaths(ctx context.Context, p place, dirt dirt, skip map[string]bool) (*bytes.Buffer, error) {
	out, err := w.git(ctx, p, stdio{}, "ls-files", "-z", "--deleted", "--modified", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	in := new(bytes.Buffer)
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] && !skip[name] && w.savable(p.work, name, dirt) {
			in.WriteString(name + "\x00")
		}
		seen[name] = true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if dir, nested := strings.CutSuffix(name, "/"); nested {
			// Git would save a repository inside the workspace as the name of its
			// commit only, and one without commits not at all.
			files, err := w.nestedFiles(ctx, p, dir)
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				add(f)
			}
		} else if name != "" {
			add(name)
		}
	}
	return in, nil
}

// savable reports whether a changed path is of a kind that git knows and not as the build left it.
func (w *Worktree) savable(work, name string, dirt dirt) bool {
	info, err := os.Lstat(filepath.Join(work, name))
	if err == nil {
		switch info.Mode().Type() {
		case 0, fs.ModeSymlink, fs.ModeDir: // a folder in a file's place removes the file
		default:
			return false
		}
	}
	return !dirt.unchanged(work, name)
}

// nestedFiles lists the files of a repository inside the workspace that the workspace's
// .gitignore does not exclude, level by level so that ignored folders are not entered.
func (w *Worktree) nestedFiles(ctx context.Context, p place, dir string) ([]string, error) {
	var files []string
	level := []string{dir}
	for depth := 0; len(level) > 0 && depth < nestedDepth; depth++ {
		kinds := map[string]bool{} // path → is a folder
		var in bytes.Buffer
		for _, d := range level {
			entries, err := os.ReadDir(filepath.Join(p.work, d))
			if err != nil && !os.IsNotExist(err) {
				return nil, failed("listing a folder", err)
			}
			for _, e := range entries {
				if e.Name() != ".git" {
					kinds[path.Join(d, e.Name())] = e.IsDir()
					in.WriteString(path.Join(d, e.Name()) + "\x00")
				}
			}
		}
		level = nil
		out, err := w.git(ctx, p, stdio{in: &in}, "check-ignore", "-z", "--stdin", "--no-index")
		if exit := (*exitError)(nil); err != nil && (!errors.As(err, &exit) || exit.code != 1) {
			return nil, err
		}
		for ignored := range strings.SplitSeq(string(out), "\x00") {
			delete(kinds, ignored)
		}
		for name, isDir := range kinds {
			if isDir {
				level = append(level, name)
			} else {
				files = append(files, name)
			}
		}
	}
	return files, nil
}
