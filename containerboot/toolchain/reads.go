package toolchain

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"

	"github.com/Masterminds/semver/v3"
)

// lifecycle are the scripts of a package that an installation runs.
var lifecycle = []string{
	"pnpm:devPreinstall", "preinstall", "install", "postinstall",
	"prepublish", "preprepare", "prepare", "postprepare",
}

var localPackage = regexp.MustCompile(`"(file|link|portal):`)

// ReadsFiles reports whether the installation of packages, given by their folders, may
// depend on any file of the repository: on scripts of the site's own, or packages in it
// that are copied rather than linked.
func (p *Project) ReadsFiles(packages []string) bool {
	for _, dir := range packages {
		data, err := p.Files.Read(path.Join(dir, "package.json"))
		if err != nil {
			return true
		}
		var m struct {
			Scripts map[string]any `json:"scripts"`
		}
		if json.Unmarshal(data, &m) != nil || localPackage.Match(data) || bytes.Contains(data, []byte(`"injected"`)) {
			return true
		}
		for _, name := range lifecycle {
			if m.Scripts[name] != nil {
				return true
			}
		}
	}
	return false
}

// PlugAndPlay reports whether Yarn installed without node_modules.
func (p *Project) PlugAndPlay() bool {
	return p.Files.has(path.Join(p.Root, ".pnp.cjs"))
}

// LockFiles are the names of all package managers' lock files.
func LockFiles() []string {
	names := make([]string, 0, len(lockFiles))
	for _, l := range lockFiles {
		names = append(names, l.name)
	}
	return names
}

// UnmetBy returns who asks for Node, where the Astro that is installed asks for another
// version than node; else "".
func UnmetBy(node, astroVersion, astroNode string) string {
	need := astroNeed(astroVersion, astroNode)
	have, err := semver.NewVersion(node)
	if need == nil || err != nil || need.allows(have) {
		return ""
	}
	return need.Who
}
