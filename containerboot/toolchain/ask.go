package toolchain

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// asked returns what the repository, or the client's configuration, asks for in the way
// of Node: the first of build.nodeVersion, .nvmrc, .node-version, .tool-versions, and
// volta, devEngines and engines of package.json, each in the site's folder before the
// workspace's root. Nil where nothing is asked.
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
	for _, name := range []string{".nvmrc", ".node-version", toolVersions} {
		for _, dir := range dirs {
			n, err := p.fromFile(path.Join(dir, name))
			if n != nil || err != nil {
				return n, err
			}
		}
	}
	manifests := make([]manifest, len(dirs))
	for i, dir := range dirs {
		var err error
		if manifests[i], err = p.Files.manifest(dir); err != nil {
			return nil, err
		}
	}
	for _, field := range []struct {
		name string
		of   func(manifest) string
	}{
		{"volta", func(m manifest) string { return m.Volta["node"] }},
		{"devEngines", func(m manifest) string { return m.DevEngines.Runtime.Version }},
		{"engines", func(m manifest) string { return m.Engines["node"] }},
	} {
		for i, dir := range dirs {
			text := field.of(manifests[i])
			if text == "" {
				continue
			}
			// npm does not look at what it cannot read there.
			n, err := newNeed(path.Join(dir, "package.json")+" ("+field.name+")", text)
			if err == nil {
				n.advice = field.name == "engines" && !p.strict()
				return n, nil
			}
		}
	}
	return nil, nil
}

// strict reports whether an installation fails where engines of package.json are not met,
// of which the package managers only warn else.
func (p *Project) strict() bool {
	for _, name := range []string{".npmrc", "pnpm-workspace.yaml"} {
		if data, err := p.Files.Read(path.Join(p.Root, name)); err == nil && engineStrict.Match(data) {
			return true
		}
	}
	return false
}

var engineStrict = regexp.MustCompile(`(?m)^\s*(?:engine-strict\s*=|engineStrict:)\s*true\b`)

// toolVersions is the file of asdf and mise, which has a line for each tool.
const toolVersions = ".tool-versions"

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
		if path.Base(name) == toolVersions {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] != "nodejs" && fields[0] != "node" {
				continue
			}
			line = fields[1]
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
