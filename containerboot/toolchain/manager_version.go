package toolchain

import (
	"path"
	"regexp"
	"strconv"

	"github.com/Masterminds/semver/v3"
)

var (
	pnpmFormat  = regexp.MustCompile(`(?m)^lockfileVersion: '?(\d+)`)
	berryFormat = regexp.MustCompile(`(?m)^__metadata:\n +version: (\d+)`)
)

// The versions that are taken where a repository pins none: those that write its lock
// file's format, of several the one that most repositories have been written with.
var (
	pnpmSpecs  = map[string]string{"5": "7", "6": "8", "9": "10"}
	berrySpecs = map[string]string{"4": "2", "5": "3", "6": "3", "7": "4", "8": "4"}
)

func (p *Project) specOfLock() string {
	text := ""
	if p.Lock != "" && p.Manager.Name != NPM {
		data, err := p.Files.Read(path.Join(p.Root, p.Lock))
		if err == nil {
			text = string(data)
		}
	}
	format := func(r *regexp.Regexp) string {
		if m := r.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		return ""
	}
	spec := func(known map[string]string, format, without string) string {
		switch {
		case known[format] != "":
			return known[format]
		case format != "": // of the future
			return "latest"
		default:
			return without
		}
	}
	switch p.Manager.Name {
	case PNPM:
		return spec(pnpmSpecs, format(pnpmFormat), "10")
	case Yarn:
		without := "1"
		if p.Lock == "" && p.Files.has(path.Join(p.Root, ".yarnrc.yml")) {
			without = "4"
		}
		return spec(berrySpecs, format(berryFormat), without)
	default:
		return ""
	}
}

// heedEngines has the version be one that engines of package.json allow: pnpm and Yarn
// refuse to install with another, npm where it is told to be strict.
func (p *Project) heedEngines() {
	if p.Manager.Name == NPM && !p.strict() || p.Manager.Spec == "latest" {
		return
	}
	for _, dir := range []string{p.Root, p.Site} {
		m, err := p.Files.manifest(dir)
		wanted := m.Engines[p.Manager.Name]
		if err != nil || versionOf(wanted) == "" {
			continue
		}
		is, _ := semver.NewConstraint(wanted)
		major, err := strconv.Atoi(p.Manager.Spec)
		if err != nil || !is.Check(newest(major)) {
			p.Manager.Spec = preferred(p.Manager.Name, wanted)
			p.Manager.From = path.Join(dir, "package.json") + " (engines)"
		}
		return
	}
}

// preferredMajors are those of which one is taken where a range leaves the choice.
var preferredMajors = map[string][]int{NPM: {11, 10, 9}, PNPM: {10, 9, 8, 11}, Yarn: {4, 1, 3}}

// preferred is the spec of a version in a range.
func preferred(manager, wanted string) string {
	is, err := semver.NewConstraint(wanted)
	if err != nil {
		return wanted
	}
	for _, major := range preferredMajors[manager] {
		if is.Check(newest(major)) {
			return strconv.Itoa(major)
		}
	}
	return wanted
}

// managerNeeds are the versions of Node that newer package managers run on.
var managerNeeds = []struct {
	manager, node string
	from          int // the first major version
}{
	{PNPM, ">=22.13.0", 11},
	{NPM, "^22.22.2 || ^24.15.0 || >=26.0.0", 12},
}

var firstNumber = regexp.MustCompile(`\d+`)

// need is what the package manager asks for in the way of Node; nil where that is met by
// all that is asked else.
func (m Manager) need() *Need {
	major, err := strconv.Atoi(firstNumber.FindString(m.Spec))
	for _, n := range managerNeeds {
		if n.manager == m.Name && (m.Spec == "latest" || err == nil && major >= n.from) {
			if need, err := newNeed(m.Name+" "+m.Spec, n.node); err == nil {
				return need
			}
		}
	}
	return nil
}

// oldNPM are the versions of npm for versions of Node that this machine's does not work
// with.
var oldNPM = []struct{ node, npm string }{
	{"^18.17.0 || >=20.5.0", "10"},
	{"^14.17.0 || ^16.13.0 || >=18.0.0", "9"},
}

// npmFor names the version of npm to fetch for a version of Node that this machine's
// cannot run on.
func npmFor(node *semver.Version) string {
	for _, o := range oldNPM {
		if is, err := semver.NewConstraint(o.node); err == nil && is.Check(node) {
			return o.npm
		}
	}
	return "6"
}
