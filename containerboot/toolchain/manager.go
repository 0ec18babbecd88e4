package toolchain

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// The package managers.
const (
	NPM  = "npm"
	PNPM = "pnpm"
	Yarn = "yarn"
)

// Manager is a package manager.
type Manager struct {
	Name string
	// Spec names its version, as npm understands one; "" for npm's of this machine.
	Spec string
	// From says where Spec comes from.
	From string
	// Berry: Yarn 2 or newer, which is another program.
	Berry bool
}

// lockFiles of the package managers, in the order in which they are looked for.
var lockFiles = []struct{ name, manager string }{
	{"npm-shrinkwrap.json", NPM},
	{"package-lock.json", NPM},
	{"pnpm-lock.yaml", PNPM},
	{"yarn.lock", Yarn},
	{"bun.lock", "bun"},
	{"bun.lockb", "bun"},
}

// locks are the lock files of a folder.
func (p *Project) locks(dir string) []string {
	var found []string
	for _, l := range lockFiles {
		if p.Files.has(path.Join(dir, l.name)) {
			found = append(found, l.name)
		}
	}
	return found
}

func managerOf(lock string) string {
	for _, l := range lockFiles {
		if l.name == lock {
			return l.manager
		}
	}
	return ""
}

var pinned = regexp.MustCompile(`^([a-z]+)@v?([^+\s]+)(?:\+\S*)?$`)

// pin is the packageManager of the workspace, or of the site.
func (p *Project) pin() (name, version, from string, err error) {
	for _, dir := range []string{p.Root, p.Site} {
		m, err := p.Files.manifest(dir)
		if err != nil {
			return "", "", "", err
		}
		if m.PackageManager == "" {
			continue
		}
		from := path.Join(dir, "package.json") + " (packageManager)"
		parts := pinned.FindStringSubmatch(m.PackageManager)
		if parts == nil {
			return "", "", "", fault(nil, "This site's packageManager %q does not name a package manager and its version.", m.PackageManager)
		}
		if _, err := semver.NewConstraint(parts[2]); err != nil {
			return "", "", "", fault(err, "This site's packageManager %q does not name a version.", m.PackageManager)
		}
		return parts[1], parts[2], from, nil
	}
	return "", "", "", nil
}

// chooseManager sets Manager and Lock: what packageManager says if there is a lock file of
// that one, or none at all; else what the lock file is of; else npm. Where nothing is
// run by a manager (needless), or not the installation (ownInstall), none is refused.
func (p *Project) chooseManager(needless, ownInstall bool) error {
	name, version, from, err := p.pin()
	if err != nil {
		return err
	}
	locks := p.locks(p.Root)
	of := func(manager string) string {
		i := slices.IndexFunc(locks, func(l string) bool { return managerOf(l) == manager })
		if i < 0 {
			return ""
		}
		return locks[i]
	}
	if name != "" && (len(locks) == 0 || of(name) != "") {
		p.Manager, p.Lock = Manager{Name: name, Spec: version, From: from}, of(name)
	} else {
		p.Manager = Manager{Name: NPM}
		if len(locks) > 0 {
			p.Lock = locks[0]
			p.Manager.Name = managerOf(p.Lock)
			p.Manager.From = path.Join(p.Root, p.Lock)
		}
	}
	if needless {
		p.Manager = Manager{Name: NPM}
	}
	switch p.Manager.Name {
	case NPM, PNPM, Yarn:
	default:
		if ownInstall {
			p.Manager, p.Lock = Manager{Name: NPM}, ""
			return nil
		}
		return fault(nil, "This site uses the package manager %s (%s), which is not supported: npm, pnpm and Yarn are.", p.Manager.Name, p.Manager.From)
	}
	if p.Manager.Spec == "" {
		p.Manager.Spec = p.specOfLock()
	}
	if p.Manager.Name == Yarn {
		p.Manager.Berry = !strings.HasPrefix(p.Manager.Spec, "1.") && p.Manager.Spec != "1"
	}
	return nil
}

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
		return spec(berrySpecs, format(berryFormat), "1")
	default:
		return ""
	}
}

// pkg is the npm package that the manager is in.
func (m Manager) pkg() string {
	if m.Berry {
		return "@yarnpkg/cli-dist"
	}
	return m.Name
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
