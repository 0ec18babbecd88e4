package toolchain

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// astroNeed is what Astro asks for in the way of Node: it installs with any, and only
// then refuses to build. Nil where that is not known.
func (p *Project) astroNeed() *Need {
	version, node := p.lockedAstro()
	if node == "" {
		installedVersion, installedNode := p.InstalledAstro()
		if version == "" || version == installedVersion {
			version, node = installedVersion, installedNode
		}
	}
	if node == "" && version == "" {
		version = p.likelyAstro()
	}
	if node == "" {
		node = knownNeed(version)
	}
	return astroNeed(version, node)
}

func astroNeed(version, node string) *Need {
	if node == "" {
		return nil
	}
	n, err := newNeed(strings.TrimSpace("Astro "+version), node)
	if err != nil {
		return nil
	}
	return n
}

// InstalledAstro returns the version of Astro in node_modules, and which versions of
// Node it asks for; "" where there is none.
func (p *Project) InstalledAstro() (version, node string) {
	for _, dir := range []string{p.Site, p.Root} {
		data, err := p.Files.Read(path.Join(dir, "node_modules/astro/package.json"))
		if err != nil {
			continue
		}
		var m struct {
			Version string  `json:"version"`
			Engines engines `json:"engines"`
		}
		if json.Unmarshal(data, &m) == nil {
			return m.Version, m.Engines["node"]
		}
	}
	return "", ""
}

// knownNeed is the need of the versions that lock files say no more of.
func knownNeed(version string) string {
	v, err := semver.NewVersion(version)
	switch {
	case err != nil || v.Major() < 5:
		return ""
	case v.Major() == 5:
		return "^18.17.1 || ^20.3.0 || >=22.0.0"
	default:
		return ">=22.12.0"
	}
}

// wanted is the range of Astro in the site's package.json; "" for none.
func (p *Project) wanted() string {
	m, err := p.Files.manifest(p.Site)
	if err != nil {
		return ""
	}
	if v := m.Dependencies["astro"]; v != "" {
		return v
	}
	return m.DevDependencies["astro"]
}

var (
	// mentioned finds the versions in a range, as "7.0" in "~7.0"; its group is the major one.
	mentioned = regexp.MustCompile(`(\d+)\.[\dxX*]+`)
	distTag   = regexp.MustCompile(`^[a-z]+$`)
)

// newestAstro is the newest major version of Astro that is looked for in a range.
const newestAstro = 9

// likelyAstro is the version that would be installed for want of a lock file, as far as
// its need of Node is concerned.
func (p *Project) likelyAstro() string {
	wanted := p.wanted()
	if distTag.MatchString(wanted) { // "latest"
		return fmt.Sprintf("%d.0.0", newestAstro)
	}
	if is, err := semver.NewConstraint(wanted); err == nil && wanted != "" {
		for major := newestAstro; major >= 1; major-- {
			if is.Check(newest(major)) {
				return fmt.Sprintf("%d.0.0", major)
			}
		}
	}
	// One version, or the patches of one. Of a URL that says none nothing is known.
	all := mentioned.FindAllStringSubmatch(wanted, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1] + ".0.0"
}

// lockedAstro returns the version of Astro in the lock file and, where it says so, which
// versions of Node that asks for.
func (p *Project) lockedAstro() (version, node string) {
	if p.Lock == "" {
		return "", ""
	}
	data, err := p.Files.Read(path.Join(p.Root, p.Lock))
	if err != nil {
		return "", ""
	}
	switch p.Lock {
	case "pnpm-lock.yaml":
		return p.astroOfPNPM(string(data))
	case "yarn.lock":
		return p.astroOfYarn(string(data)), ""
	default:
		return p.astroOfNPM(data)
	}
}

func (p *Project) astroOfNPM(data []byte) (version, node string) {
	type locked struct {
		Version string  `json:"version"`
		Engines engines `json:"engines"`
	}
	var lock struct {
		Packages     map[string]locked `json:"packages"`
		Dependencies map[string]locked `json:"dependencies"` // of npm 6 and older
	}
	if json.Unmarshal(data, &lock) != nil {
		return "", ""
	}
	found, ok := lock.Packages[path.Join(p.siteInRoot(), "node_modules/astro")]
	if !ok {
		found, ok = lock.Packages["node_modules/astro"]
	}
	if !ok {
		found = lock.Dependencies["astro"]
	}
	return found.Version, found.Engines["node"]
}

var (
	pnpmAstro  = regexp.MustCompile(`(?m)^  '?/?astro[@/](\d[^:(']*)(?:\([^:]*)?'?:\n((?:    .*\n)+)`)
	pnpmNode   = regexp.MustCompile(`(?m)^    engines: \{(?:.*, )?node: '?([^',}]+)`)
	pnpmLinked = regexp.MustCompile(`(?m)^ +'?astro'?:(?: ([\d.]+)|\n +specifier: .*\n +version: ([^\s(]+))`)
	yarnAstro  = regexp.MustCompile(`(?m)^("?astro@[^\n]*):\n +version:? "?([^"\s]+)`)
)

func (p *Project) astroOfPNPM(lock string) (version, node string) {
	nodes := map[string]string{}
	for _, m := range pnpmAstro.FindAllStringSubmatch(lock, -1) {
		version = m[1]
		if n := pnpmNode.FindStringSubmatch(m[2]); n != nil {
			nodes[version] = strings.TrimSpace(n[1])
		}
	}
	// Of several in a workspace it is the one that the site is linked to.
	if _, importers, ok := strings.Cut(lock, "\nimporters:\n"); ok {
		if _, own, ok := strings.Cut("\n"+importers, "\n  "+p.siteInRoot()+":\n"); ok {
			if next := regexp.MustCompile(`(?m)^ {0,2}\S`).FindStringIndex(own); next != nil {
				own = own[:next[0]]
			}
			if m := pnpmLinked.FindStringSubmatch(own); m != nil {
				version = m[1] + m[2]
			}
		}
	}
	return version, nodes[version]
}

func (p *Project) astroOfYarn(lock string) string {
	var versions []string
	for _, m := range yarnAstro.FindAllStringSubmatch(lock, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			name = strings.TrimPrefix(strings.Trim(name, `" `), "astro@")
			if strings.TrimPrefix(name, "npm:") == p.wanted() {
				return m[2]
			}
		}
		versions = append(versions, m[2])
	}
	if versions = slices.Compact(versions); len(versions) == 1 {
		return versions[0]
	}
	return ""
}
