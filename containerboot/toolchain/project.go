package toolchain

import (
	"encoding/json"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

// Project is how a site in a working tree is installed.
type Project struct {
	Files Files
	// Site and Root are folders of the working tree, as paths with slashes, "." for all
	// of it: the site's, and the one of the workspace that it is installed at, mostly the same.
	Site, Root string
	// Manager installs the packages.
	Manager Manager
	// Lock is the name of the lock file in Root that Manager follows; "" for none.
	Lock string
	// Needs are the ranges that the version of Node must be in, at most three: what is
	// asked, and those of Astro and of the package manager.
	Needs []*Need
	// Notes say what was asked and is not followed, each in a sentence.
	Notes []string
}

// Options are the parts of the client's configuration that have a say.
type Options struct {
	NodeVersion string
	// OwnCommands: the configuration says both how to install and how to build, and the
	// site need not be one of Node's at all.
	OwnInstall, OwnCommand bool
}

// Inspect finds out how a site is installed. site is its folder, as a path with
// slashes; "" for all of the working tree. Errors are *Errors.
func Inspect(workspace, site string, o Options) (*Project, error) {
	p := &Project{Files: Files(workspace), Site: path.Clean(site)}
	p.Root = p.findRoot()
	if err := p.chooseManager(o.OwnInstall && o.OwnCommand, o.OwnInstall); err != nil {
		return nil, err
	}
	ask, err := p.asked(o.NodeVersion)
	if err != nil {
		return nil, err
	}
	for _, n := range []*Need{p.astroNeed(), p.Manager.need()} {
		if n != nil {
			p.Needs = append(p.Needs, n)
		}
	}
	if ask == nil {
		return p, nil
	}
	if err := compatible(append([]*Need{ask}, p.Needs...)); err != nil && ask.advice {
		p.Notes = append(p.Notes, strings.TrimSuffix(err.Error(), ".")+", which is followed.")
		return p, nil
	}
	p.Needs = append([]*Need{ask}, p.Needs...)
	return p, nil
}

// siteInRoot is the site's folder as the workspace's root has it.
func (p *Project) siteInRoot() string {
	if p.Root == "." {
		return p.Site
	}
	if p.Site == p.Root {
		return "."
	}
	return strings.TrimPrefix(p.Site, p.Root+"/")
}

// findRoot returns the folder to install at: the nearest above the site that has a lock
// file and counts the site among its workspace's packages, else the site's own.
func (p *Project) findRoot() string {
	if p.Site == "." {
		return "."
	}
	workspace := ""
	for dir := path.Dir(p.Site); ; dir = path.Dir(dir) {
		if p.holds(dir) {
			if len(p.locks(dir)) > 0 {
				return dir
			}
			workspace = dir
		}
		if dir == "." {
			break
		}
	}
	if workspace != "" && len(p.locks(p.Site)) == 0 {
		return workspace
	}
	return p.Site
}

// holds reports whether the workspace at a folder counts the site among its packages.
func (p *Project) holds(dir string) bool {
	q := Project{Site: p.Site, Root: dir}
	site := q.siteInRoot()
	in := false
	for _, pattern := range p.Files.packages(dir) {
		not := strings.HasPrefix(pattern, "!")
		if matches(path.Clean(strings.TrimPrefix(strings.TrimPrefix(pattern, "!"), "/")), site) {
			in = !not
		}
	}
	return in
}

// packages returns the patterns of a workspace's packages, as pnpm-workspace.yaml or
// package.json has them.
func (t Files) packages(dir string) []string {
	if data, err := t.Read(path.Join(dir, "pnpm-workspace.yaml")); err == nil {
		return yamlList(string(data), "packages")
	}
	m, err := t.manifest(dir)
	if err != nil {
		return nil
	}
	var list []string
	if json.Unmarshal(m.Workspaces, &list) == nil {
		return list
	}
	var yarns struct{ Packages []string }
	_ = json.Unmarshal(m.Workspaces, &yarns)
	return yarns.Packages
}

// yamlList reads a list of strings right under a key of a YAML file, in either of
// YAML's two ways to write one: nothing else of such a file is needed.
func yamlList(text, key string) []string {
	var list []string
	item := func(s string) {
		s, _, _ = strings.Cut(s, " #")
		if s = strings.Trim(strings.TrimSpace(s), `"'`); s != "" {
			list = append(list, s)
		}
	}
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \r\n")
		trimmed := strings.TrimSpace(line)
		rest, isKey := strings.CutPrefix(line, key+":")
		switch {
		case isKey:
			in = true
			rest, isFlow := strings.CutPrefix(strings.TrimSpace(rest), "[")
			if isFlow {
				for s := range strings.SplitSeq(strings.TrimSuffix(rest, "]"), ",") {
					item(s)
				}
			}
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case in && strings.HasPrefix(trimmed, "- "):
			item(trimmed[2:])
		case !strings.HasPrefix(line, " "):
			in = false
		}
	}
	return list
}

// matches reports whether a path is one that a pattern of a workspace names: * stands
// for a part of one folder's name, ** for any number of folders.
func matches(pattern, name string) bool {
	first, rest, more := strings.Cut(pattern, "/")
	if first == "**" {
		if !more || matches(rest, name) {
			return true
		}
		_, below, ok := strings.Cut(name, "/")
		return ok && matches(pattern, below)
	}
	folder, below, deeper := strings.Cut(name, "/")
	if ok, err := path.Match(first, folder); err != nil || !ok || more != deeper {
		return false
	}
	return !more || matches(rest, below)
}

// maxFolders bounds the search for the packages of a workspace.
const maxFolders = 20000

// Packages returns the folders of the packages that are installed together, Root first,
// as paths in the working tree.
func (p *Project) Packages() []string {
	found := []string{p.Root}
	if p.Site != p.Root {
		found = append(found, p.Site)
	}
	if len(p.Files.packages(p.Root)) == 0 {
		return found
	}
	top := filepath.Join(string(p.Files), filepath.FromSlash(p.Root))
	folders := 0
	// What cannot be read is no package.
	_ = filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case !d.IsDir():
			return nil
		case folders > maxFolders:
			return fs.SkipAll
		case file == top:
			return nil
		case d.Name() == "node_modules" || strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		}
		folders++
		below := strings.TrimPrefix(file, top+string(filepath.Separator))
		dir := path.Join(p.Root, filepath.ToSlash(below))
		q := Project{Files: p.Files, Site: dir, Root: p.Root}
		if dir != p.Site && p.Files.has(path.Join(dir, "package.json")) && q.holds(p.Root) {
			found = append(found, dir)
		}
		return nil
	})
	return found
}
