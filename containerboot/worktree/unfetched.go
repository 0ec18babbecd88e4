package worktree

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	// lfsSizeLimit is more than the file has that stands for one in Git LFS, in bytes.
	lfsSizeLimit = 1024
	lfsPrefix    = "version https://git-lfs.github.com/spec/"
	// attributesLimit bounds what is read of .gitattributes and .gitmodules, in bytes.
	attributesLimit = 1 << 20
	// namedFiles is how many files a warning names.
	namedFiles = 10
)

// unfetched is what of a commit is not in the workspace: paths, as git names them.
type unfetched struct {
	Submodules []string `json:"submodules,omitempty"`
	// Why says of each of Submodules, and of those that are not as they should be, why.
	Why map[string]string `json:"why,omitempty"`
	// Listed are those of Submodules that .gitmodules named.
	Listed []string `json:"listed,omitempty"`
	LFS    []string `json:"lfs,omitempty"`
}

// warnings says it to an editor.
func (u unfetched) warnings() []string {
	var list []string
	if len(u.Submodules) > 0 {
		list = append(list, "The repository includes other repositories (submodules) that could not be fetched, so these folders are empty: "+
			u.explain(u.Submodules)+".")
	}
	old := slices.DeleteFunc(slices.Sorted(maps.Keys(u.Why)), func(name string) bool { return slices.Contains(u.Submodules, name) })
	if len(old) > 0 {
		list = append(list, "These folders are other repositories (submodules), and not at the version that is wanted: "+u.explain(old)+".")
	}
	if len(u.LFS) > 0 {
		list = append(list, "Some files are kept in Git LFS, which is not supported here yet: the site gets placeholders in place of "+
			enumerate(u.LFS)+".")
	}
	return list
}

func enumerate(paths []string) string { return unfetched{}.explain(paths) }

// explain lists paths, each with its reason if there is one.
func (u unfetched) explain(paths []string) string {
	var names []string
	for _, p := range paths[:min(len(paths), namedFiles)] {
		name := printable(p)
		if why := u.Why[p]; why != "" {
			name += " (" + why + ")"
		}
		names = append(names, name)
	}
	text := strings.Join(names, ", ")
	if more := len(paths) - namedFiles; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// noteUnfetched finds what of a commit that was just checked out to p.work is missing
// there, logs and records it. The session works without the record, so a failure is only
// logged.
func (w *Worktree) noteUnfetched(ctx context.Context, p place, commit string, modules []submodule) unfetched {
	u, err := w.findUnfetched(ctx, p, commit, modules)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(u); err == nil {
			err = updateFile(filepath.Join(p.git, unfetchedFile), data)
		}
	}
	if err != nil {
		w.cfg.Log("Whether the repository has submodules or files in Git LFS could not be found out: " + err.Error())
	}
	for _, warning := range u.warnings() {
		w.cfg.Log(warning)
	}
	return u
}

func readUnfetched(gitDir string) (unfetched, error) {
	var u unfetched
	data, err := os.ReadFile(filepath.Join(gitDir, unfetchedFile))
	if os.IsNotExist(err) {
		return u, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err != nil {
		return unfetched{}, failed("reading what was not fetched", err)
	}
	return u, nil
}

func (w *Worktree) findUnfetched(ctx context.Context, p place, commit string, modules []submodule) (u unfetched, err error) {
	out, err := w.git(ctx, p, stdio{}, "ls-tree", "-r", "-l", "-z", commit)
	if err != nil {
		return u, err
	}
	work, err := os.OpenRoot(p.work)
	if err != nil {
		return u, failed("opening the workspace", err)
	}
	defer work.Close()
	usesLFS := false
	var small []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		// "100644 blob <object>     130\t<path>"
		facts, name, _ := strings.Cut(entry, "\t")
		f := strings.Fields(facts)
		if len(f) != 4 {
			continue
		}
		if f[1] == "commit" {
			continue
		}
		if filepath.Base(name) == ".gitattributes" && !usesLFS {
			data, err := readSmall(work, name, attributesLimit)
			usesLFS = err == nil && bytes.Contains(data, []byte("filter=lfs"))
		}
		if len(f[3]) < len("1000") {
			small = append(small, name)
		}
	}
	if usesLFS {
		u.LFS = slices.DeleteFunc(small, func(name string) bool {
			data, err := readSmall(work, name, lfsSizeLimit)
			return err != nil || !bytes.HasPrefix(data, []byte(lfsPrefix))
		})
	}
	for _, m := range modules {
		if m.fault == "" {
			continue
		}
		if u.Why == nil {
			u.Why = map[string]string{}
		}
		u.Why[m.path] = m.fault
		if isVacant(work, m.path) {
			u.Submodules = append(u.Submodules, m.path)
		}
	}
	if len(u.Submodules) > 0 {
		listed := listedSubmodules(work)
		u.Listed = slices.DeleteFunc(slices.Clone(u.Submodules), func(name string) bool { return !listed[name] })
	}
	return u, nil
}

// isVacant reports whether there is an empty folder or nothing.
func isVacant(work *os.Root, name string) bool {
	f, err := work.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return os.IsNotExist(err)
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) == 0
}

// listedSubmodules returns the paths that .gitmodules names, but for those of odd
// characters, which need quotes there.
func listedSubmodules(work *os.Root) map[string]bool {
	listed := map[string]bool{}
	data, err := readSmall(work, ".gitmodules", attributesLimit)
	if err != nil {
		return listed
	}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(line, "=")
		if ok && strings.EqualFold(strings.TrimSpace(key), "path") {
			listed[strings.TrimSpace(value)] = true
		}
	}
	return listed
}

// keptSubmodules returns the submodules whose missing folder is nobody's deletion: it was
// empty from the beginning, and git keeps no empty folders. Who takes .gitmodules' entry
// away as well means it.
func (w *Worktree) keptSubmodules(p place) (map[string]bool, error) {
	kept := map[string]bool{}
	u, err := readUnfetched(p.git)
	if err != nil || len(u.Submodules) == 0 {
		return kept, err
	}
	work, err := os.OpenRoot(p.work)
	if err != nil {
		return nil, failed("opening the workspace", err)
	}
	defer work.Close()
	listed := listedSubmodules(work)
	for _, name := range u.Submodules {
		if _, err := work.Lstat(name); os.IsNotExist(err) && (listed[name] || !slices.Contains(u.Listed, name)) {
			kept[name] = true
		}
	}
	return kept, nil
}
