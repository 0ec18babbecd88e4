package containerboot_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestBoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)
	w.hang("fetch")
	code, _ := c.post(bootapi.PathClaim, claim)
	require.Equal(t, http.StatusOK, code)
	w.hung("fetch")
	code, body := c.get(bootapi.PathHealth)
	require.Equal(t, http.StatusServiceUnavailable, code, body)
	events := c.events("/session/s1" + bootapi.PathEvents)
	w.goOn("fetch")

	seen := map[string]int{} // phase → its place
	var order []string
	var lines []string
	percents := map[bootapi.Phase]int{}
	for e := range events {
		if e.name == bootapi.EventLog {
			lines = append(lines, decode[bootapi.LogLine](t, e.data).Line)
			continue
		}
		status := decode[bootapi.Status](t, e.data)
		if status.Percent != nil {
			percents[status.Phase] = *status.Percent
		}
		phase := string(status.Phase)
		if _, ok := seen[phase]; !ok {
			seen[phase] = len(order)
			order = append(order, phase)
		}
		if phase == string(bootapi.PhaseReady) {
			break
		}
	}
	assert.Equal(t, "cloning installing building ready", strings.Join(order, " "))
	assert.Contains(t, lines, "built by node")
	assert.Equal(t, map[bootapi.Phase]int{bootapi.PhaseCloning: 100}, percents, "git's own")

	code, body = c.get("/session/s1/")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "<h1>hello</h1>", body)
	code, _ = c.get(bootapi.PathHealth)
	assert.Equal(t, http.StatusOK, code)
	s := c.status()
	assert.Equal(t, "s1", s.SessionID)
	assert.Equal(t, "edit/s1", s.Branch)
	assert.Equal(t, w.git(w.work, "rev-parse", "HEAD"), s.Commit)
	assert.Empty(t, s.Reused)
	assert.LessOrEqual(t, len(s.Log), 20)
	assert.Equal(t, "wake", s.ActivityKind)
	assert.Zero(t, c.stop())
	assert.NotContains(t, c.logged(), claim.Token)
}

// TestClientsCodeGetsNoSecrets has a build print all that it can see.
func TestClientsCodeGetsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": `import fs from "node:fs";
fs.mkdirSync("dist", {recursive: true});
let fds = [];
try { fds = fs.readdirSync("/proc/self/fd").map((fd) => { try { return fs.readlinkSync("/proc/self/fd/" + fd) } catch { return "" } }) } catch {}
fs.writeFileSync("dist/index.html", JSON.stringify({env: process.env, fds}));
console.log("token " + process.env.TOLD);
`,
	}))
	claim := w.claim("s1")
	claim.Site.Env = map[string]string{"TOLD": claim.Token, "SITE_URL": "https://amelia.example"}
	c, status := w.ready(claim)
	_, body := c.get("/")
	seen := decode[struct {
		Env map[string]string
		Fds []string
	}](t, body)
	assert.Equal(t, "https://amelia.example", seen.Env["SITE_URL"])
	assert.Equal(t, filepath.Join(w.dir, "sessions/s1/home"), seen.Env["HOME"])
	assert.Equal(t, filepath.Join(w.dir, "sessions/s1/npm"), seen.Env["npm_config_cache"])
	for name := range seen.Env {
		assert.False(t, strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "WEBORDINARY_") || name == "SESSION_ID", name)
	}
	for _, fd := range seen.Fds {
		assert.NotContains(t, fd, "socket:", "the client's code must not have our socket")
	}
	assert.Contains(t, strings.Join(status.Log, "\n"), "token [secret]")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	build := func(script string) map[string]string {
		return with(plainSite, map[string]string{"build.mjs": script})
	}
	cases := map[string]struct {
		site   map[string]string
		claim  func(*bootapi.Claim)
		phase  bootapi.Phase
		cause  string
		detail string
		exit   int
	}{
		"no repository": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.RepositoryURL += "-not" },
			phase: bootapi.PhaseCloning, cause: "does not exist", exit: 11,
		},
		"no branch": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Branch = "nope" },
			phase: bootapi.PhaseCloning, cause: "branch", exit: 11,
		},
		"a mode of the future": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Mode = "turbo" },
			phase: bootapi.PhaseCloning, cause: `build.mode "turbo", which is not known`, exit: 11,
		},
		"no Node version": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.NodeVersion = "newest" },
			phase: bootapi.PhaseInstalling, cause: `build.nodeVersion "newest" is no version of Node`, exit: 12,
		},
		"no package.json": {
			site:  map[string]string{"README.md": "x"},
			phase: bootapi.PhaseInstalling, cause: "This repository has no package.json in its root folder.", exit: 12,
		},
		"no package.json in the folder": {
			site: with(plainSite, map[string]string{"site/x": "x"}), claim: func(c *bootapi.Claim) { c.Site.Directory = "site" },
			phase: bootapi.PhaseInstalling, cause: `This repository has no package.json in the folder "site".`, exit: 12,
		},
		"no such folder": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Directory = "site" },
			phase: bootapi.PhaseInstalling, cause: `This repository has no folder "site".`, exit: 12,
		},
		"a package manager that is not supported": {
			site:  map[string]string{"bun.lock": "{}", "package.json": plainSite["package.json"]},
			phase: bootapi.PhaseInstalling, cause: "This site uses the package manager bun (bun.lock), which is not supported: npm, pnpm and Yarn are.", exit: 12,
		},
		"Node too old for Astro": {
			site: with(plainSite, map[string]string{
				".nvmrc":            "18",
				"package-lock.json": `{"lockfileVersion":3,"packages":{"node_modules/astro":{"version":"7.0.1","engines":{"node":">=22.12.0"}}}}`,
			}),
			phase: bootapi.PhaseInstalling, cause: ".nvmrc asks for Node 18, but Astro 7.0.1 needs Node >=22.12.0.", exit: 12,
		},
		"an install that fails": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Install = "echo 'Error: no flour'; exit 3" },
			phase: bootapi.PhaseInstalling, cause: "Installing the packages failed: Error: no flour", detail: "exit status 3", exit: 12,
		},
		"a build that fails": {
			site:  build("console.log('so far so good')\nthrow new Error('the oven is cold')"),
			phase: bootapi.PhaseBuilding, cause: "The build failed: build.mjs line 2: Error: the oven is cold", detail: "so far so good", exit: 13,
		},
		"a package.json that leads to something without end": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Install = "ln -sf /dev/zero package.json" },
			phase: bootapi.PhaseBuilding, cause: "This repository has no package.json in its root folder.", exit: 13,
		},
		"a package.json that keeps its reader waiting": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.Install = "rm package.json && mkfifo package.json" },
			phase: bootapi.PhaseBuilding, cause: "This repository has no package.json in its root folder.", exit: 13,
		},
		"no build script": {
			site:  with(plainSite, map[string]string{"package.json": `{"name":"site"}`}),
			phase: bootapi.PhaseBuilding, cause: `The package.json in its root folder has no "build" script.`, exit: 13,
		},
		"no output": {
			site:  build("console.log('nothing')"),
			phase: bootapi.PhaseBuilding, cause: `The build succeeded but left no folder "dist".`, exit: 13,
		},
		"output that leads away": {
			site:  build("import fs from 'node:fs'; fs.symlinkSync('/etc', 'dist')"),
			phase: bootapi.PhaseBuilding, cause: `The build succeeded but left no folder "dist".`, exit: 13,
		},
		"a full disk, as the build sees it": {
			site:  build("console.error(\"Error: ENOSPC: no space left on device, write\"); process.exit(1)"),
			phase: bootapi.PhaseBuilding, cause: "The disk is full.", exit: 13,
		},
		"a build that is killed for want of memory": {
			site:  build("process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)"),
			phase: bootapi.PhaseBuilding, cause: "There was not enough memory", exit: 13,
		},
		"a host that does not answer": {
			site:  build("await fetch('http://cms.invalid/posts')"),
			phase: bootapi.PhaseBuilding, cause: "the host cms.invalid on the network does not answer", exit: 13,
		},
		"a site that is not healthy": {
			site: plainSite, claim: func(c *bootapi.Claim) { c.Site.HealthPath = "/healthy" },
			phase: bootapi.PhaseReady, cause: "The site was built but answers 404 for /healthy.", exit: 14,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.site)
			claim := w.claim("s1")
			if tc.claim != nil {
				tc.claim(&claim)
			}
			c, status := w.boot(claim)
			require.Equal(t, bootapi.PhaseFailed, status.Phase)
			assert.Equal(t, tc.phase, status.Failure.Phase)
			assert.Contains(t, status.Failure.Cause, tc.cause)
			assert.Contains(t, status.Failure.Detail, tc.detail)
			assert.NotContains(t, status.Failure.Cause, w.workspace("s1"))

			code, body := c.get(bootapi.PathHealth)
			assert.Equal(t, http.StatusServiceUnavailable, code)
			assert.Equal(t, status.Failure, decode[bootapi.Status](t, body).Failure)
			if tc.phase != bootapi.PhaseReady {
				code, _ = c.get("/")
				assert.Equal(t, http.StatusServiceUnavailable, code)
			}
			code, _ = c.post(bootapi.PathRebuild, nil)
			assert.Equal(t, http.StatusServiceUnavailable, code)
			c.says(`"boot failed"`)
			assert.Equal(t, 1, strings.Count(c.logged(), "boot failed"), "surfaced once")
			assert.Equal(t, tc.exit, c.stop())
		})
	}
}

// TestWakeOfAnUnchangedSession boots twice: the second time nothing is run but a few
// questions to git.
func TestWakeOfAnUnchangedSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	first := w.called()
	assert.Contains(t, first, "npm ci")
	assert.Contains(t, first, "npm run build")
	require.Zero(t, c.stop())

	w.called()
	claim.Epoch++
	c, status := w.ready(claim)
	calls := w.called()
	assert.NotContains(t, calls, "npm")
	assert.NotContains(t, calls, "node")
	assert.NotContains(t, calls, "clone")
	assert.Equal(t, []string{"clone", "install", "build"}, status.Reused)
	assert.Equal(t, int64(2), status.Epoch)
	_, body := c.get("/session/s1/")
	assert.Equal(t, "<h1>hello</h1>", body)
}

// TestCachesOfAClient boots a second session of the client, and one of another client.
func TestCachesOfAClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	w.ready(w.claim("s1"))
	w.called()

	_, status := w.ready(w.claim("s2"))
	assert.Equal(t, []string{"install", "build"}, status.Reused)
	calls := w.called()
	assert.NotContains(t, calls, "npm ")
	assert.NotContains(t, calls, "node")

	stranger := w.claim("s3")
	stranger.ClientID = "bramble"
	_, status = w.ready(stranger)
	assert.Empty(t, status.Reused, "nothing of another client's")

	other := w.claim("s4")
	other.Site.Env = map[string]string{"A": "b"}
	_, status = w.ready(other)
	assert.Empty(t, status.Reused, "the environment is an input of the build")
}

// TestModulesAreReused changes the text, not the dependencies.
func TestModulesAreReused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	entries := func() []string {
		names, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*")
		require.NoError(t, err)
		return names
	}
	c.await(func() bool { return len(entries()) == 2 }) // the entry, and the lock beside it
	require.Zero(t, c.stop())

	w.push(map[string]string{"text.txt": "new"})
	w.called()
	c, status := w.ready(w.claim("s2"))
	assert.Equal(t, []string{"install"}, status.Reused)
	calls := w.called()
	assert.NotContains(t, calls, "npm ci")
	assert.Contains(t, calls, "npm run build")
	_, body := c.get("/")
	assert.Equal(t, "<h1>new</h1>", body)
	assert.FileExists(t, w.workspace("s2")+"/node_modules/.webordinary-installed")

	w.push(map[string]string{"package.json": strings.Replace(plainSite["package.json"], "site", "renamed", 1)})
	_, status = w.ready(w.claim("s3"))
	assert.Empty(t, status.Reused)

	w.push(map[string]string{"patches/@studio/words+1.0.0.patch": "a patch of one of a scope"})
	_, status = w.ready(w.claim("s4"))
	assert.Empty(t, status.Reused)
}

// TestDamagedCache cuts a cached file short, as a crash of the machine could.
func TestDamagedCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	require.Zero(t, c.stop())
	cached, err := filepath.Glob(w.dir + "/cache/amelia/dist/*/files/index.html")
	require.NoError(t, err)
	require.Len(t, cached, 1)
	require.NoError(t, os.Truncate(cached[0], 0))

	c, status := w.ready(claim)
	assert.NotContains(t, status.Reused, "build")
	_, body := c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
}

// TestLockFileThatNpmRefuses is what npm 11 makes of its own lock files. What it says of
// that goes on for hundreds of lines.
func TestLockFileThatNpmRefuses(t *testing.T) {
	t.Parallel()
	libs := `"lib":"file:lib"`
	for i := range 200 {
		libs += fmt.Sprintf(`,"lib%d":"file:lib"`, i)
	}
	site := with(plainSite, map[string]string{
		"package.json":     `{"name":"site","private":true,"scripts":{"build":"node build.mjs"},"dependencies":{` + libs + `}}`,
		"lib/package.json": `{"name":"lib","version":"1.0.0"}`,
	})
	w := newWorld(t, site)
	c, status := w.ready(w.claim("s1"))
	assert.Contains(t, strings.Join(status.Log, "\n"), "npm ci refuses package-lock.json (EUSAGE)")
	lock, err := os.ReadFile(w.workspace("s1") + "/package-lock.json")
	require.NoError(t, err)
	assert.Equal(t, site["package-lock.json"], string(lock))
	assert.FileExists(t, w.workspace("s1")+"/node_modules/lib/package.json")
	code, body := c.post(bootapi.PathSave, nil)
	require.Equal(t, http.StatusOK, code, body)
	assert.Equal(t, "nothing", decode[bootapi.SaveResult](t, body).Where)
}

func TestNoLockFileLeavesNone(t *testing.T) {
	t.Parallel()
	site := with(plainSite, nil)
	delete(site, "package-lock.json")
	w := newWorld(t, site)
	w.ready(w.claim("s1"))
	assert.NoFileExists(t, w.workspace("s1")+"/package-lock.json")
	assert.Contains(t, w.called(), "npm install --no-package-lock")
}

func TestOwnCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"web/page.html": "<p>no node here</p>", ".gitignore": "public/\n"})
	claim := w.claim("s1")
	claim.Site.Directory, claim.Site.Output = "web", "public/site"
	claim.Site.Install, claim.Site.Command = "true", "mkdir -p public/site && cp page.html public/site/index.html"
	c, _ := w.ready(claim)
	_, body := c.get("/")
	assert.Equal(t, "<p>no node here</p>", body)
}

// TestKilledDuringBuild kills the container while the site is built: nothing of the
// build lives on, and the next boot is a good one.
func TestKilledDuringBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{"build.mjs": `import fs from "node:fs";
if (fs.existsSync("` + "../slow" + `")) { fs.mkdirSync("dist", {recursive: true}); fs.writeFileSync("dist/index.html", "half"); fs.writeFileSync("../pid", String(process.pid)); setInterval(() => {}, 1000); }
else {` + plainSite["build.mjs"][strings.Index(plainSite["build.mjs"], "\n"):] + `}
`}))
	claim := w.claim("s1")
	slow, pidFile := filepath.Join(w.workspace("s1"), "../slow"), filepath.Join(w.workspace("s1"), "../pid")
	require.NoError(t, os.MkdirAll(filepath.Dir(slow), 0o755))
	write(t, slow, "")
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	pid := awaitPid(t, pidFile)
	require.NoError(t, c.cmd.Process.Kill())
	c.exited()
	awaitEnd(t, pid)

	require.NoError(t, os.Remove(slow))
	c, status := w.ready(claim)
	assert.Equal(t, []string{"clone", "install"}, status.Reused)
	_, body := c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
}
