package toolchain

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// lifecycle are the scripts of a package that an installation runs.
var lifecycle = []string{
	"pnpm:devPreinstall", "preinstall", "install", "postinstall",
	"prepublish", "preprepare", "prepare", "postprepare",
}

var (
	localPackage = regexp.MustCompile(`"(file|link|portal):`)
	// localPath is such a package without that word.
	localPath = regexp.MustCompile(`^(?:~|\.{0,2})/`)
)

// patchFile finds patches that pnpm and Yarn are told to apply.
var patchFile = regexp.MustCompile(`(?:~/|\./)?([^\s"'#:]+\.patch)\b`)

// patchesElsewhere reports whether a settings file names a patch that is in none of the
// usual folders, of which all files are known to matter.
func patchesElsewhere(settings []byte) bool {
	for _, m := range patchFile.FindAllSubmatch(settings, -1) {
		if !bytes.HasPrefix(m[1], []byte("patches/")) && !bytes.HasPrefix(m[1], []byte(".yarn/patches/")) {
			return true
		}
	}
	return false
}

// harmless are commands of such scripts that leave in node_modules nothing but what the
// packages, package.json and the folder patches tell: git hooks, which are not run here,
// checks of the package manager, patches, and what is compiled anew.
var harmless = regexp.MustCompile(`^(?:(?:npx|pnpx|pnpm exec|pnpm|yarn) )?(?:` + strings.Join([]string{
	`husky(?: install(?: \.?[\w./-]+)?)?`, `is-ci`, `simple-git-hooks`, `lefthook install(?: -f)?`,
	`only-allow (?:npm|pnpm|yarn)`, `patch-package(?: --error-on-fail)?`, `npm rebuild(?: [\w@/.-]+)*(?: --force)?`,
	`echo [\w .,:!'"-]*`, `true`, `exit 0`, `:`,
}, "|") + `)$`)

// harmlessScript reports whether a script of a package consists of such commands.
func harmlessScript(script string) bool {
	for command := range strings.SplitSeq(strings.NewReplacer("&&", "\n", "||", "\n", ";", "\n").Replace(script), "\n") {
		if !harmless.MatchString(strings.Join(strings.Fields(command), " ")) {
			return false
		}
	}
	return true
}

// ReadsFiles reports whether the installation of packages, given by their folders, may
// depend on any file of the repository: on scripts of the site's own that are not known to
// do no such thing, or packages in it that are copied rather than linked.
func (p *Project) ReadsFiles(packages []string) bool {
	for _, dir := range packages {
		data, err := p.Files.Read(path.Join(dir, "package.json"))
		if err != nil {
			return true
		}
		var m struct {
			Scripts      map[string]any `json:"scripts"`
			Dependencies map[string]any `json:"dependencies"`
			Dev          map[string]any `json:"devDependencies"`
			Optional     map[string]any `json:"optionalDependencies"`
		}
		if json.Unmarshal(data, &m) != nil || localPackage.Match(data) || bytes.Contains(data, []byte(`"injected"`)) || patchesElsewhere(data) {
			return true
		}
		if data, err := p.Files.Read(path.Join(dir, "pnpm-workspace.yaml")); err == nil && patchesElsewhere(data) {
			return true
		}
		for _, packages := range []map[string]any{m.Dependencies, m.Dev, m.Optional} {
			for _, from := range packages {
				if path, _ := from.(string); localPath.MatchString(path) {
					return true
				}
			}
		}
		for _, name := range lifecycle {
			script, isText := m.Scripts[name].(string)
			if m.Scripts[name] != nil && (!isText || !harmlessScript(script)) {
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
