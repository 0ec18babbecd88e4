package toolchain

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// asked returns what the repository, or the client's configuration, asks for in the way
// of Node: the first of build.nodeVersion, .nvmrc, .node-version and engines, each in the
// site's folder before the workspace's root. Nil where nothing is asked.
func (p *Project) asked(nodeVersion string) (*Need, error) {
	if nodeVersion != "" {
		n, err := newNeed("build.nodeVersion", nodeVersion)
		if err != nil {
			return nil, fault(err, "The configuration's build.nodeVersion %q is no version of Node.", nodeVersion)
		}
		n.operator = true
		return n, nil
	}
	dirs := []string{p.Site}
	if p.Root != p.Site {
		dirs = append(dirs, p.Root)
	}
	for _, name := range []string{".nvmrc", ".node-version"} {
		for _, dir := range dirs {
			n, err := p.fromFile(path.Join(dir, name))
			if n != nil || err != nil {
				return n, err
			}
		}
	}
	for _, dir := range dirs {
		m, err := p.Files.manifest(dir)
		if err != nil {
			return nil, err
		}
		if m.Engines.Node == "" {
			continue
		}
		// npm does not look at what it cannot read there.
		if n, err := newNeed(path.Join(dir, "package.json")+" (engines)", m.Engines.Node); err == nil {
			return n, nil
		}
	}
	return nil, nil
}

// fromFile reads a version from the first line of a file that is no comment.
func (p *Project) fromFile(name string) (*Need, error) {
	data, err := p.Files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault(err, "The file %q of this repository cannot be read.", name)
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if line == "system" {
			return nil, nil
		}
		n, err := newNeed(name, line)
		if err != nil {
			return nil, fault(err, "The file %q of this repository asks for Node %q, which is no version of it.", name, line)
		}
		return n, nil
	}
	return nil, nil
}
