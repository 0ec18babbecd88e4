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
	{"deno.lock", "deno"},
}

// supported reports whether a package manager's installations can be made here.
func supported(manager string) bool { return manager == NPM || manager == PNPM || manager == Yarn }

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

var pinned = regexp.MustCompile(`^([a-z]+)(?:@v?([^+\s]+)(?:\+\S*)?)?$`)

// pin is the package manager that the workspace, or the site, names: packageManager,
// devEngines or volta of package.json. version is "" where it names none that can be read,
// which the package managers themselves overlook.
func (p *Project) pin() (name, version, from string, err error) {
	for _, dir := range []string{p.Root, p.Site} {
		m, err := p.Files.manifest(dir)
		if err != nil {
			return "", "", "", err
		}
		from := func(field string) string { return path.Join(dir, "package.json") + " (" + field + ")" }
		if parts := pinned.FindStringSubmatch(m.PackageManager); parts != nil {
			return parts[1], versionOf(parts[2]), from("packageManager"), nil
		}
		if e := m.DevEngines.PackageManager; e.Name != "" {
			return e.Name, versionOf(e.Version), from("devEngines"), nil
		}
		for _, name := range []string{PNPM, Yarn, NPM} {
			if m.Volta[name] != "" {
				return name, versionOf(m.Volta[name]), from("volta"), nil
			}
		}
	}
	return "", "", "", nil
}

// versionOf is a version or a range as npm understands one; "" for anything else.
func versionOf(text string) string {
	if _, err := semver.NewConstraint(text); err != nil {
		return ""
	}
	return text
}

// chooseManager sets Manager and Lock: what the repository names if there is a lock file of
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
	if slices.ContainsFunc(locks, func(l string) bool { return supported(managerOf(l)) }) && !supported(name) {
		name = ""
	}
	if name != "" && (len(locks) == 0 || of(name) != "") {
		p.Manager, p.Lock = Manager{Name: name, Spec: version, From: from}, of(name)
	} else {
		p.Manager = Manager{Name: NPM}
		if p.Lock = p.likelyLock(locks); p.Lock != "" {
			p.Manager.Name = managerOf(p.Lock)
			p.Manager.From = path.Join(p.Root, p.Lock)
		} else if t := slices.IndexFunc(telling, p.hasTelling); t >= 0 {
			p.Manager = Manager{Name: telling[t].manager, From: path.Join(p.Root, telling[t].name)}
		}
	}
	if needless {
		p.Manager = Manager{Name: NPM}
	}
	if !supported(p.Manager.Name) {
		if ownInstall {
			p.Manager, p.Lock = Manager{Name: NPM}, ""
			return nil
		}
		return fault(nil, "This site uses the package manager %s (%s), which is not supported: npm, pnpm and Yarn are.", p.Manager.Name, p.Manager.From)
	}
	if p.Manager.Spec == "" {
		p.Manager.Spec = p.specOfLock()
		p.heedEngines()
	} else if _, err := semver.NewVersion(p.Manager.Spec); err != nil {
		p.Manager.Spec = preferred(p.Manager.Name, p.Manager.Spec)
	}
	if p.Manager.Name == Yarn {
		p.Manager.Berry = !strings.HasPrefix(p.Manager.Spec, "1.") && p.Manager.Spec != "1"
	}
	return nil
}

type tellingFile struct{ name, manager string }

func (p *Project) hasTelling(t tellingFile) bool { return p.Files.has(path.Join(p.Root, t.name)) }

// telling are files that only one package manager reads.
var telling = []tellingFile{
	{"pnpm-workspace.yaml", PNPM},
	{".pnpmfile.cjs", PNPM},
	{".yarnrc.yml", Yarn},
	{".yarnrc", Yarn},
}

// likelyLock is the lock file to follow of several; "" for none. Some are left from
// another package manager that was used once.
func (p *Project) likelyLock(locks []string) string {
	if len(locks) < 2 {
		return strings.Join(locks, "")
	}
	m, err := p.Files.manifest(p.Root)
	for _, lock := range locks {
		manager := managerOf(lock)
		tells := err == nil && manager != NPM && m.Engines[manager] != ""
		for _, t := range telling {
			tells = tells || t.manager == manager && p.hasTelling(t)
		}
		if tells {
			return lock
		}
	}
	for _, lock := range locks {
		if data, err := p.Files.Read(path.Join(p.Root, lock)); err == nil && p.locksAstro(managerOf(lock), string(data)) {
			return lock
		}
	}
	return locks[0]
}

// locksAstro reports whether a lock file was written for the range of Astro that the site
// asks for: one that is out of date mostly was not.
func (p *Project) locksAstro(manager, text string) bool {
	wanted := p.wanted()
	switch manager {
	case NPM:
		return strings.Contains(text, `"astro": "`+wanted+`"`)
	case PNPM:
		return regexp.MustCompile(`astro'?:\s+(?:specifier: )?'?` + regexp.QuoteMeta(wanted) + `'?\s`).MatchString(text)
	case Yarn:
		return strings.Contains(text, "astro@"+wanted) || strings.Contains(text, "astro@npm:"+wanted)
	default:
		return false
	}
}

// pkg is the npm package that the manager is in.
func (m Manager) pkg() string {
	if m.Berry {
		return "@yarnpkg/cli-dist"
	}
	return m.Name
}
