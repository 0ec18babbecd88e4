package containerboot_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// sayingSite is a site whose build says what Astro says, and writes to a folder.
func sayingSite(folder string) map[string]string {
	return with(plainSite, map[string]string{
		".gitignore": "node_modules/\n",
		"build.mjs": `import fs from "node:fs"; import path from "node:path";
const out = path.resolve("` + folder + `");
console.log("12:00:00 [build] output: \"static\"\n12:00:00 [build] directory: " + out + "/\n12:00:00 [build] Complete!");
fs.mkdirSync(out, {recursive: true});
fs.writeFileSync(path.join(out, "index.html"), fs.readFileSync("text.txt"));
`,
	})
}

// TestOutputThatAstroNames is found where the site's configuration of Astro moves it, and
// is no more saved than the usual one.
func TestOutputThatAstroNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sayingSite("public html"))
	c, _ := w.ready(w.claim("s1"))
	_, body := c.get("/session/s1/")
	assert.Equal(t, "hello", body)
	assert.Equal(t, "nothing", w.saved(c))
	require.Zero(t, c.stop())

	c, status := w.ready(w.claim("s1"))
	assert.Contains(t, status.Reused, "build", "woken, it is built from the same")
	assert.Equal(t, "nothing", w.saved(c))
	write(t, filepath.Join(w.workspace("s1"), "text.txt"), "changed")
	code, _ := c.post(bootapi.PathRebuild, nil)
	require.Equal(t, http.StatusAccepted, code)
	c.await(func() bool { _, body := c.get("/session/s1/"); return body == "changed" })
	require.Zero(t, c.stop())
	assert.Equal(t, "M\ttext.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))

	c, status = w.ready(w.claim("s2"))
	assert.Equal(t, []string{"install", "build"}, status.Reused, "another session has it from the cache")
	require.Zero(t, c.stop())
}

// TestOutputOutsideOfTheSite lies in the repository, but not in the site's folder.
func TestOutputOutsideOfTheSite(t *testing.T) {
	t.Parallel()
	files := map[string]string{".gitignore": "node_modules/\n"}
	for name, content := range sayingSite("../out/www") {
		files["site/"+name] = content
	}
	w := newWorld(t, files)
	claim := w.claim("s1")
	claim.Site.Directory = "site"
	c, _ := w.ready(claim)
	_, body := c.get("/session/s1/")
	assert.Equal(t, "hello", body)
	assert.Equal(t, "nothing", w.saved(c))
	require.Zero(t, c.stop())
}

// TestOutputOutsideOfTheRepository is not served, whatever a build says.
func TestOutputOutsideOfTheRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sayingSite(t.TempDir()))
	_, status := w.boot(w.claim("s1"))
	require.NotNil(t, status.Failure)
	assert.Equal(t, `The build succeeded but left no folder "dist".`, status.Failure.Cause)
	assert.Contains(t, status.Failure.Detail, "build.output must name the folder")
}

// TestOutputOfAdapters has what other adapters than Node's leave, and this one where it
// makes no server that listens.
func TestOutputOfAdapters(t *testing.T) {
	t.Parallel()
	const onDemand = `,{"routeData":{"prerender":false,"_meta":{"trailingSlash":"ignore"},"origin":"project"}}`
	code := func(adapter, routes string) string {
		return `export const m = {"adapterName":"` + adapter + `","routes":[{"routeData":{"prerender":false,"distURL":[],"origin":"internal"}}` + routes + `]};`
	}
	for name, tc := range map[string]struct {
		adapter string
		files   map[string]string // of dist
		cause   string            // "" where the home page is served
	}{
		"files for Cloudflare": {
			"@astrojs/cloudflare", map[string]string{"client/index.html": "home", "client/_headers": "x"}, "",
		},
		"files for Netlify": {
			"@astrojs/netlify", map[string]string{"index.html": "home", "server/entry.mjs": code("@astrojs/netlify", "")}, "",
		},
		"a server for Cloudflare": {
			"@astrojs/cloudflare",
			map[string]string{"client/x.css": "x", "server/entry.mjs": code("@astrojs/cloudflare", onDemand)},
			"This site is built for another host, by the adapter @astrojs/cloudflare, and its pages cannot be served here.",
		},
		"nothing, for Vercel": {
			"@astrojs/vercel", nil,
			"This site is built for another host, by the adapter @astrojs/vercel, and its pages cannot be served here.",
		},
		"no pages, for Netlify": {
			"@astrojs/netlify",
			map[string]string{"_redirects": ""},
			"This site is built for another host, by the adapter @astrojs/netlify, and its pages cannot be served here.",
		},
		"files, and Node's middleware": {
			"@astrojs/node", map[string]string{"client/index.html": "home", "server/entry.mjs": code("@astrojs/node", "") + ` var mode = "middleware";`}, "",
		},
		"Node's middleware": {
			"@astrojs/node",
			map[string]string{"client/index.html": "home", "server/entry.mjs": "export {}", "server/chunks/a.mjs": code("@astrojs/node", onDemand) + `x = {"mode": "middleware"}`},
			"This site's server is made to be a part of another one (middleware), and cannot be run by itself.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := map[string]string{"build.mjs": `import fs from "node:fs"; import path from "node:path";
console.log("12:00:00 [build] directory: " + path.resolve("dist") + "/\n12:00:00 [build] adapter: ` + tc.adapter + `");
if (fs.existsSync("out")) fs.cpSync("out", "dist", {recursive: true});
`}
			for file, content := range tc.files {
				site["out/"+file] = content
				if content == "" {
					site["out/"+file] = "\n"
				}
			}
			w := newWorld(t, with(plainSite, site))
			c, status := w.boot(w.claim("s1"))
			if tc.cause != "" {
				require.NotNil(t, status.Failure)
				assert.Equal(t, tc.cause, status.Failure.Cause)
				return
			}
			require.Nil(t, status.Failure)
			_, body := c.get("/session/s1/")
			assert.Equal(t, "home", body)
		})
	}
}

// TestBuildScripts has sites that do not call theirs "build".
func TestBuildScripts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ scripts, cause, body string }{
		"another name": {`{"pages":"node build.mjs && echo astro build"}`, "", "<h1>hello</h1>"},
		"none":         {`{}`, "", "built by Astro itself"},
		"several":      {`{"a":"astro build","b":"astro build --mode b"}`, `The package.json in its root folder has no "build" script.`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(plainSite, map[string]string{
				"package.json": `{"name":"site","private":true,"scripts":` + tc.scripts + `,"dependencies":{"astro":"file:./astro"}}`,
				"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site","dependencies":{"astro":"file:./astro"}},` +
					`"astro":{"version":"5.0.0","bin":{"astro":"astro.mjs"}},"node_modules/astro":{"resolved":"astro","link":true}}}`,
				"astro/package.json": `{"name":"astro","version":"5.0.0","bin":"astro.mjs"}`,
				"astro/astro.mjs": `#!/usr/bin/env node
import fs from "node:fs"; fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", "built by Astro itself");
`,
			}))
			c, status := w.boot(w.claim("s1"))
			if tc.cause != "" {
				require.NotNil(t, status.Failure)
				assert.Equal(t, tc.cause, status.Failure.Cause)
				assert.Contains(t, status.Failure.Detail, "build.command")
				return
			}
			require.Nil(t, status.Failure)
			_, body := c.get("/session/s1/")
			assert.Equal(t, tc.body, body)
		})
	}
}
