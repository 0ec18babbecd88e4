package containerboot_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// astroSite is a small site of Astro, with an image that has to be made smaller.
func astroSite(version, manager string) map[string]string {
	return map[string]string{
		".gitignore":             "dist/\nnode_modules/\n.astro/\n.yarn/\n.pnp.*\n",
		"package.json":           `{"name":"site","private":true,"type":"module",` + manager + `"scripts":{"build":"astro build"},"dependencies":{"astro":"` + version + `"}}`,
		"src/pages/index.astro":  "---\nconst node = process.version;\nconst agent = process.env.npm_config_user_agent;\n---\n<h1>{node} {agent}</h1>\n",
		"src/pages/about.md":     "# About\n",
		"astro.config.mjs":       "export default {};\n",
		"public/robots.txt":      "User-agent: *\n",
		"src/content.config.mjs": "export const collections = {};\n",
	}
}

// locked has the package manager itself make the lock file, as the site's owner does.
func locked(t *testing.T, site map[string]string, lock string, command ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range site {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "YARN_ENABLE_IMMUTABLE_INSTALLS=0", "YARN_CACHE_FOLDER="+dir+"/.cache", "HOME="+os.Getenv("HOME"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	data, err := os.ReadFile(filepath.Join(dir, lock))
	require.NoError(t, err)
	return with(site, map[string]string{lock: string(data)})
}

// TestAstroByEveryPackageManager installs and builds real sites, which takes minutes. None
// of what they need but Node and npm is on this machine.
func TestAstroByEveryPackageManager(t *testing.T) {
	if os.Getenv("TORTURE") != "1" {
		t.Log("TORTURE=1 runs it")
		return
	}
	npx := func(args ...string) []string { return append([]string{"npx", "--yes"}, args...) }
	cases := map[string]struct {
		version, pin, lock string
		make               []string
		extra              map[string]string
		agent              string
	}{
		"npm, Astro 7":          {"^7.0.0", "", "package-lock.json", []string{"npm", "install", "--package-lock-only", "--ignore-scripts"}, nil, "npm/"},
		"npm, Astro 5":          {"^5.0.0", "", "package-lock.json", []string{"npm", "install", "--package-lock-only", "--ignore-scripts"}, nil, "npm/"},
		"npm, no lock":          {"^7.0.0", "", "", nil, nil, "npm/"},
		"pnpm 9":                {"^7.0.0", `"packageManager":"pnpm@9.15.9",`, "pnpm-lock.yaml", npx("pnpm@9.15.9", "install", "--lockfile-only"), nil, "pnpm/9.15.9"},
		"pnpm 10 by its format": {"^7.0.0", "", "pnpm-lock.yaml", npx("pnpm@10", "install", "--lockfile-only"), nil, "pnpm/10."},
		"pnpm 11": {
			"^7.0.0", `"packageManager":"pnpm@11.1.1",`, "pnpm-lock.yaml", npx("-p", "node@22", "-p", "pnpm@11.1.1", "pnpm", "install", "--lockfile-only"),
			map[string]string{"pnpm-workspace.yaml": "enableGlobalVirtualStore: true\nallowBuilds:\n  esbuild: true\n  sharp: true\n"},
			"pnpm/11.1.1",
		},
		"Yarn 1": {"^7.0.0", "", "yarn.lock", npx("yarn@1.22.22", "install", "--ignore-scripts", "--ignore-engines"), nil, "yarn/1.22"},
		"Yarn 4": {
			"^7.0.0", `"packageManager":"yarn@4.9.2",`, "yarn.lock", npx("-p", "@yarnpkg/cli-dist@4.9.2", "yarn", "install", "--mode=update-lockfile"),
			map[string]string{".yarnrc.yml": "nodeLinker: node-modules\n"},
			"yarn/4.9.2",
		},
		"Yarn 4, no lock": {
			"^7.0.0", `"packageManager":"yarn@4.9.2",`, "", nil, map[string]string{".yarnrc.yml": "nodeLinker: node-modules\n"}, "npm/",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			site := with(astroSite(tc.version, tc.pin), tc.extra)
			if tc.lock != "" {
				site = locked(t, site, tc.lock, tc.make...)
			}
			w := newWorld(t, site)
			c, status := w.ready(w.claim("s1"))
			_, body := c.get("/")
			if tc.version == "^7.0.0" {
				assert.NotContains(t, body, "v20.", "Astro 7 does not build with Node 20")
			}
			assert.Contains(t, body, " "+tc.agent)
			if where := w.saved(c); where != "nothing" {
				t.Error("saved: ", w.git(w.remote, "diff", "main", "edit/s1"), status.Log)
			}
			if tc.lock == "" {
				for _, lock := range []string{"package-lock.json", "pnpm-lock.yaml", "yarn.lock"} {
					assert.NoFileExists(t, filepath.Join(w.workspace("s1"), lock))
				}
				return
			}
			c.await(func() bool {
				kept, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*/files/node_modules/astro")
				return err == nil && len(kept) == 1
			})
			require.Zero(t, c.stop())

			w.push(map[string]string{"src/pages/about.md": "# Changed\n"})
			c, status = w.ready(w.claim("s2"))
			assert.Equal(t, []string{"install"}, status.Reused)
			assert.NotContains(t, strings.Join(status.Log, "\n"), "install that runs before scripts")
			_, body = c.get("/about/")
			assert.Contains(t, body, "Changed")
			assert.Equal(t, "nothing", w.saved(c))
		})
	}
}
