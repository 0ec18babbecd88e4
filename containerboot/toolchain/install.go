package toolchain

import (
	"path"
	"slices"
)

// Install is an installation by a package manager.
type Install struct {
	// Name is what it is called in messages; Args are the program and its arguments.
	Name string
	Args []string
}

// quiet are the flags of every installation by npm.
var quiet = []string{"--no-audit", "--no-fund", "--no-progress", "--prefer-offline"}

// Frozen is the installation of exactly what the lock file says, which fails where that
// does not fit; of a site without a lock file the one which leaves none behind.
func (p *Project) Frozen() Install {
	with := func(args ...string) Install { return p.install(args...) }
	switch {
	case p.Manager.Name == PNPM && p.Lock == "":
		return with("install", "--no-lockfile")
	case p.Manager.Name == PNPM:
		return with("install", "--frozen-lockfile")
	case p.Manager.Berry && p.Lock == "":
		return with("install", "--no-immutable")
	case p.Manager.Berry:
		return with("install", "--immutable")
	case p.Manager.Name == Yarn && p.Lock == "":
		return with("install", "--no-lockfile")
	case p.Manager.Name == Yarn:
		return with("install", "--frozen-lockfile")
	case p.Lock == "":
		return with("install", "--no-package-lock")
	default:
		return with("ci")
	}
}

// Loose is the installation that follows the lock file as far as it goes. It may rewrite
// the lock file.
func (p *Project) Loose() Install {
	switch {
	case p.Manager.Name == PNPM:
		return p.install("install", "--no-frozen-lockfile")
	case p.Manager.Berry:
		return p.install("install", "--no-immutable")
	case p.Manager.Name == Yarn:
		return p.install("install", "--pure-lockfile")
	default:
		// --no-save keeps npm from writing the lock file in the first place.
		return p.install("install", "--no-save")
	}
}

func (p *Project) install(args ...string) Install {
	i := Install{Name: p.Manager.Name + " " + args[0], Args: slices.Concat([]string{p.Manager.Name}, args)}
	switch {
	case p.Manager.Name == PNPM:
		// Whether node_modules may be made anew must not be asked of nobody. Packages that
		// are linked from a store of the session's would be missing in the next one.
		i.Args = append(i.Args, "--prefer-offline", "--config.confirmModulesPurge=false", "--config.enableGlobalVirtualStore=false")
		// A workspace above is another's. Its own file may hold settings and no packages.
		if p.Root == p.Site && !p.Files.has(path.Join(p.Root, "pnpm-workspace.yaml")) {
			i.Args = append(i.Args, "--ignore-workspace")
		}
	case p.Manager.Berry:
	case p.Manager.Name == Yarn:
		i.Args = append(i.Args, "--non-interactive", "--no-progress", "--prefer-offline")
	default:
		i.Args = append(i.Args, quiet...)
	}
	return i
}
