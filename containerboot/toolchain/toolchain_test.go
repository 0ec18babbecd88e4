package toolchain

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tree makes a working tree: path → content.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

func needs(p *Project) string {
	var texts []string
	for _, n := range p.Needs {
		texts = append(texts, n.Who+": "+n.Text)
	}
	return strings.Join(texts, "; ")
}

func TestInspect(t *testing.T) {
	t.Parallel()
	const empty = `{}`
	cases := map[string]struct {
		files   map[string]string
		site    string
		options Options
		// root, manager (with version), lock, needs; or the beginning of the error
		want string
	}{
		"a plain site":       {map[string]string{"package.json": empty, "package-lock.json": empty}, "", Options{}, ". npm@ package-lock.json "},
		"without a lock":     {map[string]string{"package.json": empty}, "", Options{}, ". npm@  "},
		"pnpm by its lock":   {map[string]string{"package.json": empty, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, "", Options{}, ". pnpm@8 pnpm-lock.yaml "},
		"pnpm of the future": {map[string]string{"package.json": empty, "pnpm-lock.yaml": "lockfileVersion: '12.0'\n"}, "", Options{}, ". pnpm@latest pnpm-lock.yaml pnpm latest: >=22.13.0"},
		"classic Yarn":       {map[string]string{"package.json": empty, "yarn.lock": "# yarn lockfile v1\n"}, "", Options{}, ". yarn@1 yarn.lock "},
		"Yarn 4":             {map[string]string{"package.json": empty, "yarn.lock": "__metadata:\n  version: 8\n"}, "", Options{}, ". yarn@4 berry yarn.lock "},
		"pinned": {
			map[string]string{"package.json": `{"packageManager":"pnpm@9.1.0+sha512.abc"}`, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
			"",
			Options{},
			". pnpm@9.1.0 pnpm-lock.yaml ",
		},
		"pinned among several": {
			map[string]string{"package.json": `{"packageManager":"yarn@4.5.0"}`, "package-lock.json": empty, "yarn.lock": ""},
			"",
			Options{},
			". yarn@4.5.0 berry yarn.lock ",
		},
		"pinned, but locked by another": {
			map[string]string{"package.json": `{"packageManager":"yarn@4.5.0"}`, "package-lock.json": empty},
			"",
			Options{},
			". npm@ package-lock.json ",
		},
		"pinned to what is not supported": {
			map[string]string{"package.json": `{"packageManager":"bun@1.2.3"}`},
			"",
			Options{},
			"This site uses the package manager bun (package.json (packageManager)), which is not supported",
		},
		"pinned to no version": {map[string]string{"package.json": `{"packageManager":"pnpm"}`}, "", Options{}, ". pnpm@10  "},
		"pinned to an address": {map[string]string{"package.json": `{"packageManager":"yarn@https://example.com/yarn.tgz"}`, "yarn.lock": "__metadata:\n  version: 8\n"}, "", Options{}, ". yarn@4 berry yarn.lock "},
		"pinned by nonsense":   {map[string]string{"package.json": `{"packageManager":"the best"}`}, "", Options{}, ". npm@  "},
		"pinned by volta":      {map[string]string{"package.json": `{"volta":{"node":"20.1.0","yarn":"1.22.19"}}`}, "", Options{}, ". yarn@1.22.19  package.json (volta): 20.1.0"},
		"pinned by devEngines": {
			map[string]string{"package.json": `{"devEngines":{"packageManager":[{"name":"bun"},{"name":"pnpm","version":">=9"}],"runtime":{"name":"node","version":"^22.0.0"}},"engines":{"node":"18"}}`},
			"",
			Options{},
			". pnpm@10  package.json (devEngines): ^22.0.0",
		},
		"pinned to what needs a newer Node": {
			map[string]string{"package.json": `{"packageManager":"pnpm@11.1.0"}`}, "", Options{}, ". pnpm@11.1.0  pnpm 11.1.0: >=22.13.0",
		},
		"locked by bun": {
			map[string]string{"package.json": empty, "bun.lock": empty}, "", Options{}, "This site uses the package manager bun (bun.lock), which is not supported",
		},
		"locked by deno": {
			map[string]string{"package.json": empty, "deno.lock": empty}, "", Options{}, "This site uses the package manager deno (deno.lock), which is not supported",
		},
		"pinned to what is not supported, but locked by npm too": {
			map[string]string{"package.json": `{"packageManager":"bun@1.2.3"}`, "package-lock.json": empty, "bun.lock": empty},
			"",
			Options{},
			". npm@ package-lock.json ",
		},
		"no lock, and settings of pnpm": {map[string]string{"package.json": empty, "pnpm-workspace.yaml": "allowBuilds: {}\n"}, "", Options{}, ". pnpm@10  "},
		"no lock, and settings of Yarn": {map[string]string{"package.json": empty, ".yarnrc.yml": "nodeLinker: node-modules\n"}, "", Options{}, ". yarn@4 berry  "},
		"several locks, and settings": {
			map[string]string{"package.json": empty, "package-lock.json": empty, "yarn.lock": "", ".yarnrc": "", "pnpm-lock.yaml": ""},
			"",
			Options{},
			". yarn@1 yarn.lock ",
		},
		"several locks, one of them fits": {
			map[string]string{
				"package.json":      `{"dependencies":{"astro":"^5.1.0"}}`,
				"package-lock.json": `{"packages":{"":{"dependencies":{"astro":"^4.0.0"}},"node_modules/astro":{"version":"4.0.1"}}}`,
				"pnpm-lock.yaml":    "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      astro:\n        specifier: ^5.1.0\n        version: 5.1.0\n",
			},
			"",
			Options{},
			". pnpm@10 pnpm-lock.yaml Astro 5.1.0: ^18.17.1 || ^20.3.0 || >=22.0.0",
		},
		"engines of pnpm": {
			map[string]string{"package.json": `{"engines":{"pnpm":"9.x"}}`, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "", Options{}, ". pnpm@9 pnpm-lock.yaml ",
		},
		"engines of npm":         {map[string]string{"package.json": `{"engines":{"npm":"9.x"}}`}, "", Options{}, ". npm@  "},
		"engines of npm, strict": {map[string]string{"package.json": `{"engines":{"npm":"9.x"}}`, ".npmrc": "engine-strict=true\n"}, "", Options{}, ". npm@9  "},
		"not supported, but not needed": {
			map[string]string{"bun.lockb": ""}, "", Options{OwnInstall: true, OwnCommand: true}, ". npm@ bun.lockb ",
		},
		"an npm workspace": {
			map[string]string{"package.json": `{"workspaces":["sites/*"]}`, "package-lock.json": empty, "sites/www/package.json": empty},
			"sites/www",
			Options{},
			". npm@ package-lock.json ",
		},
		"a Yarn workspace, deep": {
			map[string]string{"a/package.json": `{"workspaces":{"packages":["./sites/**"]}}`, "a/yarn.lock": "", "a/sites/x/www/package.json": empty},
			"a/sites/x/www",
			Options{},
			"a yarn@1 yarn.lock ",
		},
		"outside of the workspace above": {
			map[string]string{"package.json": `{"workspaces":["packages/*"]}`, "package-lock.json": empty, "www/package.json": empty, "www/yarn.lock": ""},
			"www",
			Options{},
			"www yarn@1 yarn.lock ",
		},
		"taken out of the workspace": {
			map[string]string{"pnpm-workspace.yaml": "packages: ['*', '!www']\n", "pnpm-lock.yaml": "", "www/package.json": empty},
			"www",
			Options{},
			"www npm@  ",
		},
		"a lock file above that is another's": {
			map[string]string{"package-lock.json": empty, "package.json": empty, "www/package.json": empty},
			"www",
			Options{},
			"www npm@  ",
		},
		"Node of the configuration": {
			map[string]string{"package.json": `{"engines":{"node":"18"}}`, ".nvmrc": "20"},
			"",
			Options{NodeVersion: "22"},
			". npm@  build.nodeVersion: 22",
		},
		".nvmrc before the rest": {map[string]string{"package.json": `{"engines":{"node":"18"}}`, ".nvmrc": "# ours\n\nlts/jod\n", ".node-version": "20"}, "", Options{}, ". npm@  .nvmrc: lts/jod"},
		".node-version":          {map[string]string{"package.json": `{"engines":{"node":"18"}}`, ".node-version": "v20.1.0"}, "", Options{}, ". npm@  .node-version: v20.1.0"},
		"engines":                {map[string]string{"package.json": `{"engines":{"node":">=18 <23"}}`}, "", Options{}, ". npm@  package.json (engines): >=18 <23"},
		".tool-versions":         {map[string]string{"package.json": empty, ".tool-versions": "# ours\npython 3.12.0\nnodejs 20.1.0\n"}, "", Options{}, ". npm@  .tool-versions: 20.1.0"},
		"engines that Astro does not build with": {
			map[string]string{"package.json": `{"engines":{"node":"20.x"},"dependencies":{"astro":"^7.0.0"}}`},
			"",
			Options{},
			". npm@  Astro 7.0.0: >=22.12.0",
		},
		"the same, strict": {
			map[string]string{"package.json": `{"engines":{"node":"20.x"},"dependencies":{"astro":"^7.0.0"}}`, ".npmrc": "engine-strict = true"},
			"",
			Options{},
			". npm@  package.json (engines): 20.x; Astro 7.0.0: >=22.12.0",
		},
		"engines of long ago":         {map[string]string{"package.json": `{"engines":["node >= 0.8"]}`}, "", Options{}, ". npm@  "},
		"engines of no sense":         {map[string]string{"package.json": `{"engines":{"node":"the newest"}}`}, "", Options{}, ". npm@  "},
		".nvmrc of no sense":          {map[string]string{"package.json": empty, ".nvmrc": "the newest"}, "", Options{}, `The file ".nvmrc" of this repository asks for Node "the newest"`},
		"a package.json that is none": {map[string]string{"package.json": "<<<<<<< HEAD"}, "", Options{}, `The file "package.json" of this repository is not`},
		".nvmrc of the workspace": {
			map[string]string{"package.json": `{"workspaces":["www"]}`, ".nvmrc": "20", "www/package.json": `{"engines":{"node":"22"}}`},
			"www",
			Options{},
			". npm@  .nvmrc: 20",
		},
		"Astro by npm's lock": {
			map[string]string{"package.json": empty, "package-lock.json": `{"packages":{"node_modules/astro":{"version":"7.0.1","engines":{"node":">=22.12.0","npm":">=9"}}}}`},
			"",
			Options{},
			". npm@ package-lock.json Astro 7.0.1: >=22.12.0",
		},
		"Astro of the site in npm's workspace": {
			map[string]string{
				"package.json": `{"workspaces":["www"]}`, "www/package.json": empty,
				"package-lock.json": `{"packages":{"node_modules/astro":{"version":"7.0.1","engines":{"node":">=22.12.0"}},"www/node_modules/astro":{"version":"5.1.0","engines":{"node":"^18 || >=20"}}}}`,
			},
			"www",
			Options{},
			". npm@ package-lock.json Astro 5.1.0: ^18 || >=20",
		},
		"Astro by pnpm's lock": {
			map[string]string{
				"package.json": empty, "www/package.json": empty, "docs/package.json": empty, "pnpm-workspace.yaml": "packages:\n- www\n- docs\n",
				"pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nimporters:\n\n  docs:\n    dependencies:\n      astro:\n        specifier: ^5\n        version: 5.1.0(x@1)\n" +
					"  www:\n    dependencies:\n      astro:\n        specifier: ^7\n        version: 7.0.1(rollup@4.0.0)(typescript@5.0.0)\n\npackages:\n\n" +
					"  astro@5.1.0:\n    resolution: {integrity: sha512-x==}\n    engines: {node: ^18.17.1 || ^20.3.0 || >=22.0.0, npm: '>=9.6.5'}\n    hasBin: true\n\n" +
					"  astro@7.0.1:\n    resolution: {integrity: sha512-y==}\n    engines: {node: '>=22.12.0', npm: '>=9.6.5'}\n    hasBin: true\n\nsnapshots:\n\n" +
					"  astro@5.1.0(x@1):\n    dependencies:\n      acorn: 8.0.0\n\n  astro@7.0.1(rollup@4.0.0)(typescript@5.0.0):\n    dependencies:\n      acorn: 8.0.0\n",
			},
			"www",
			Options{},
			". pnpm@10 pnpm-lock.yaml Astro 7.0.1: >=22.12.0",
		},
		"Astro by Yarn's lock": {
			map[string]string{"package.json": `{"devDependencies":{"astro":"^6.0.0"}}`, "yarn.lock": "\"astro@npm:^5.0.0\":\n  version: 5.1.0\n\n\"astro@npm:^6.0.0\":\n  version: 6.2.0\n"},
			"",
			Options{},
			". yarn@1 yarn.lock Astro 6.2.0: >=22.12.0",
		},
		"Astro without a lock":   {map[string]string{"package.json": `{"dependencies":{"astro":"^7.1.0"}}`}, "", Options{}, ". npm@  Astro 7.0.0: >=22.12.0"},
		"Astro 5 without a lock": {map[string]string{"package.json": `{"dependencies":{"astro":"^5.1.0"}}`}, "", Options{}, ". npm@  Astro 5.0.0: ^18.17.1 || ^20.3.0 || >=22.0.0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Inspect(tree(t, tc.files), tc.site, tc.options)
			if err != nil {
				var e *Error
				require.ErrorAs(t, err, &e)
				assert.True(t, strings.HasPrefix(err.Error(), tc.want), err.Error())
				return
			}
			manager := p.Manager.Name + "@" + p.Manager.Spec
			if p.Manager.Berry {
				manager += " berry"
			}
			assert.Equal(t, tc.want, p.Root+" "+manager+" "+p.Lock+" "+needs(p))
		})
	}
}

// TestNothingOutsideIsRead has links lead out of the working tree.
func TestNothingOutsideIsRead(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"package.json": `{"packageManager":"pnpm@9.0.0"}`, "20": "20"})
	dir := tree(t, map[string]string{"x": ""})
	require.NoError(t, os.Symlink(filepath.Join(outside, "20"), filepath.Join(dir, ".nvmrc")))
	_, err := Inspect(dir, "", Options{})
	require.ErrorContains(t, err, `".nvmrc" of this repository cannot be read`)
}

func TestSpecs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		needs []string
		fits  map[string]bool // versions of a machine's Node
		spec  string
		fault string
	}{
		"a major":             {[]string{"22"}, map[string]bool{"20.20.2": false, "22.1.0": true}, "22", ""},
		"from a minor on":     {[]string{">=22.12"}, map[string]bool{"22.11.0": false, "22.12.0": true, "24.0.0": true}, "22", ""},
		"a release":           {[]string{"v20.1.0"}, map[string]bool{"20.1.0": true, "20.1.1": false}, "v20.1.0", ""},
		"a minor":             {[]string{"~22.3"}, map[string]bool{"22.3.5": true, "22.4.0": false}, "~22.3", ""},
		"long-term support":   {[]string{"lts/*"}, map[string]bool{"20.20.2": false, "24.11.0": true, "25.0.0": false}, "22", ""},
		"only old ones":       {[]string{"^18 || ^20"}, map[string]bool{"22.0.0": false, "18.0.0": true}, "20", ""},
		"the site and Astro":  {[]string{">=18", ">=22.12.0"}, map[string]bool{"20.20.2": false, "22.12.0": true}, "22", ""},
		"a range with an end": {[]string{">=22.0.0 <22.15.0", ">=22.12.0"}, map[string]bool{"22.14.0": true}, ">=22.0.0 <22.15.0 >=22.12.0", ""},
		"a conflict":          {[]string{"20.x", ">=22.12.0"}, nil, "", "asker 0 asks for Node 20.x, but asker 1 needs Node >=22.12.0."},
		"a release too old":   {[]string{"22.11.0", ">=22.12.0"}, nil, "", "asker 0 asks for Node 22.11.0, but asker 1 needs Node >=22.12.0."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all []*Need
			for i, text := range tc.needs {
				n, err := newNeed("asker "+string(rune('0'+i)), text)
				require.NoError(t, err)
				all = append(all, n)
			}
			err := compatible(all)
			if tc.fault != "" {
				require.EqualError(t, err, tc.fault)
				return
			}
			require.NoError(t, err)
			for version, fits := range tc.fits {
				assert.Equal(t, fits, allowed(semver.MustParse(version), all), version)
			}
			assert.Equal(t, tc.spec, specFor(all))
		})
	}
}

func TestPackages(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"package.json": `{"workspaces":["packages/*","sites/www"]}`, "packages/a/package.json": "{}", "packages/b/README": "",
		"packages/a/node_modules/x/package.json": "{}", "other/package.json": "{}", "sites/www/package.json": "{}",
	})
	p, err := Inspect(dir, "sites/www", Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{".", "sites/www", "packages/a"}, p.Packages())
}

// TestPNPMSettings: pnpm reads its settings from the file of the workspace, also of one
// that lists no packages.
func TestPNPMSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files  map[string]string
		site   string
		ignore bool
	}{
		"none":     {map[string]string{"package.json": "{}"}, "", true},
		"settings": {map[string]string{"package.json": "{}", "pnpm-workspace.yaml": "overrides:\n  sharp: ^0.34.5\n"}, "", false},
		"above, of others": {
			map[string]string{"pnpm-workspace.yaml": "packages: [libs/*]\n", "www/package.json": "{}", "www/pnpm-lock.yaml": ""}, "www", true,
		},
	} {
		c.files["pnpm-lock.yaml"] = "lockfileVersion: '9.0'\n"
		p, err := Inspect(tree(t, c.files), c.site, Options{})
		require.NoError(t, err, name)
		assert.Equal(t, c.ignore, slices.Contains(p.Frozen().Args, "--ignore-workspace"), name)
	}
}

// TestNodeWithoutALock: what will be installed is told by package.json alone.
func TestNodeWithoutALock(t *testing.T) {
	t.Parallel()
	const old, recent = "^18.17.1 || ^20.3.0 || >=22.0.0", ">=22.12.0"
	for wanted, node := range map[string]string{
		"^7.0.0": recent, "7.0.4": recent, "~7.0.4": recent, "7.1.x": recent, ">=7.0.0 <7.1.0": recent, "6.0.1 || 6.0.2": recent,
		"latest": recent, "*": recent, "npm:astro@7.0.4": recent,
		"^5.0.0": old, "5.2.1": old, "~5.2": old, "5.x": old,
		"4.16.0": "", "https://example.com/astro.tgz": "", "withastro/astro": "",
	} {
		p, err := Inspect(tree(t, map[string]string{"package.json": `{"dependencies":{"astro":"` + wanted + `"}}`}), "", Options{})
		require.NoError(t, err)
		got := ""
		for _, n := range p.Needs {
			got = n.Text
		}
		assert.Equal(t, node, got, wanted)
	}
}
