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

// waitingBuild begins, tells so, and goes on once there is a file "go" beside the workspace.
const waitingBuild = `import fs from "node:fs";
fs.writeFileSync("../pid", String(process.pid));
while (!fs.existsSync("../go")) await new Promise((r) => setTimeout(r, 5));
`

// TestEditsDuringTheFirstBuild writes as an agent does that does not wait for it: the
// work is saved, and what was built with it is no other session's.
func TestEditsDuringTheFirstBuild(t *testing.T) {
	t.Parallel()
	imports := "import fs from \"node:fs\";\n"
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": waitingBuild + strings.TrimPrefix(plainSite["build.mjs"], imports),
	}))
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	awaitPid(t, filepath.Join(w.workspace("s1"), "../pid"))
	write(t, w.workspace("s1")+"/text.txt", "edited")
	write(t, w.workspace("s1")+"/new.txt", "new")
	write(t, filepath.Join(w.workspace("s1"), "../go"), "")
	require.Equal(t, bootapi.PhaseReady, c.settled().Phase)
	_, body := c.get("/")
	require.Equal(t, "<h1>edited</h1>", body)

	code, body := c.post(bootapi.PathSave, nil)
	require.Equal(t, http.StatusOK, code, body)
	assert.Equal(t, "A\tnew.txt\nM\ttext.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))
	assert.Zero(t, c.stop())

	require.NoError(t, os.MkdirAll(filepath.Dir(w.workspace("s2")), 0o755))
	write(t, filepath.Join(w.workspace("s2"), "../go"), "")
	c, status := w.ready(w.claim("s2"))
	assert.NotContains(t, status.Reused, "build")
	_, body = c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
}

// TestOutputEmptiedAfterTheBuild empties the output folder as soon as it is said that the
// build is being kept, as an agent's own build may.
func TestOutputEmptiedAfterTheBuild(t *testing.T) {
	t.Parallel()
	const pages = 3000
	w := newWorld(t, with(plainSite, map[string]string{"build.mjs": waitingBuild + fmt.Sprintf(`
fs.mkdirSync("dist", {recursive: true});
for (let i = 0; i < %d; i++) fs.writeFileSync("dist/" + i + ".html", "page");
fs.writeFileSync("dist/index.html", "home");
`, pages)}))
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)
	c.post(bootapi.PathClaim, claim)
	events := c.events(bootapi.PathEvents)
	write(t, filepath.Join(w.workspace("s1"), "../go"), "")
	for e := range events {
		if e.name == bootapi.EventStatus && decode[bootapi.Status](t, e.data).Step == "keeping the build" {
			break
		}
	}
	for i := pages - 1; i >= 0; i-- {
		_ = os.Remove(fmt.Sprintf("%s/dist/%d.html", w.workspace("s1"), i)) // there is none if all is well
	}
	_ = os.Remove(w.workspace("s1") + "/dist/index.html")
	require.Equal(t, bootapi.PhaseReady, c.settled().Phase)
	kept, err := filepath.Glob(w.dir + "/cache/amelia/dist/*/files/*.html")
	require.NoError(t, err)
	assert.Len(t, kept, pages+1)
}

// TestStaleOutput has a later build write nothing: the one before must not pass for it.
func TestStaleOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	assert.FileExists(t, w.workspace("s1")+"/dist/index.html")
	write(t, w.workspace("s1")+"/build.mjs", "console.log('nothing')")
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool { return c.status().Failure != nil })
	assert.Equal(t, `The build succeeded but left no folder "dist".`, c.status().Failure.Cause)

	write(t, w.workspace("s1")+"/build.mjs", "import fs from 'node:fs'; fs.mkdirSync('dist'); fs.writeFileSync('dist/about.html', '')")
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool { return strings.Contains(c.status().Failure.Cause, "index.html") })
	assert.Equal(t, `The build succeeded but left no index.html in the folder "dist", only about.html.`, c.status().Failure.Cause)
	_, body := c.get("/")
	assert.Equal(t, "<h1>hello</h1>", body)
}

// TestOutputThatTheRepositoryHas serves a folder with committed files: they are neither
// removed nor saved as removed, though a crash came while they were being copied.
func TestOutputThatTheRepositoryHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"public/index.html": "by hand"})
	claim := w.claim("s1")
	claim.Site.Output, claim.Site.Install, claim.Site.Command = "public", "true", "echo once >>public/log.txt"
	c, _ := w.ready(claim)
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool {
		_, body := c.get("/log.txt")
		return strings.Count(body, "once") == 2
	})
	require.NoError(t, c.cmd.Process.Kill())
	c.exited()
	require.NoError(t, os.Rename(w.workspace("s1")+"/public", filepath.Join(w.workspace("s1"), "../output")))

	c, _ = w.ready(claim)
	_, body := c.get("/")
	assert.Equal(t, "by hand", body)
	assert.FileExists(t, w.workspace("s1")+"/public/index.html")
	_, body = c.post(bootapi.PathSave, nil)
	assert.Equal(t, "nothing", decode[bootapi.SaveResult](t, body).Where)
}

// TestInstallThatReadsAnotherLockFile changes what a command of the client's own
// installs from.
func TestInstallThatReadsAnotherLockFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{
		".gitignore": "dist/\nnode_modules/\n", "package.json": `{"name":"site"}`, "pnpm-lock.yaml": "v1",
	})
	claim := w.claim("s1")
	claim.Site.Install = "mkdir -p node_modules && cp pnpm-lock.yaml node_modules/version"
	claim.Site.Command = "mkdir -p dist && cp node_modules/version dist/index.html"
	c, _ := w.ready(claim)
	_, body := c.get("/")
	require.Equal(t, "v1", body)
	w.push(map[string]string{"pnpm-lock.yaml": "v2"})
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool { _, body := c.get("/"); return body == "v2" })
}

// TestFilesOfVariables builds with a file that git ignores: the build is that session's only.
func TestFilesOfVariables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{
		".gitignore": "dist/\nnode_modules/\n.env*\n",
		"build.mjs": `import fs from "node:fs";
fs.mkdirSync("dist");
fs.writeFileSync("dist/index.html", fs.existsSync(".env.local") ? fs.readFileSync(".env.local", "utf8") : "plain");
`,
	}))
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	write(t, w.workspace("s1")+"/.env.local", "A=1")
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool { _, body := c.get("/"); return body == "A=1" })
	c2, _ := w.ready(w.claim("s2"))
	_, body := c2.get("/")
	assert.Equal(t, "plain", body)

	require.Zero(t, c.stop())
	c, status := w.ready(claim)
	assert.Contains(t, status.Reused, "build")
	_, body = c.get("/")
	assert.Equal(t, "A=1", body)
}
