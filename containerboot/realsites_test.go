package containerboot_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// realSite is a site made with the real tools.
type realSite struct {
	files map[string]string
	// make is the command that writes lock, if any.
	lock  string
	make  []string
	claim func(*bootapi.Claim)
	// dist is where the built files are in the working tree; "" where they need not be
	// compared.
	dist string
	// cause is how the failure begins; "" for none.
	cause string
	check func(t *testing.T, w *world, c *container)
}

var npmLock = []string{"npm", "install", "--package-lock-only", "--ignore-scripts"}

func npxOf(args ...string) []string { return append([]string{"npx", "--yes"}, args...) }

// astroWith is a site of Astro with more packages, its configuration and files.
func astroWith(version, manifest, config string, files map[string]string) map[string]string {
	return with(map[string]string{
		".gitignore":            "dist/\nnode_modules/\n.astro/\n.yarn/\n.pnp.*\n",
		"package.json":          `{"name":"site","private":true,"type":"module",` + strings.ReplaceAll(manifest, "ASTRO", `"astro":"`+version+`"`) + `}`,
		"astro.config.mjs":      config,
		"src/pages/index.astro": "<html><head><title>home</title></head><body><h1>home</h1></body></html><style>h1 { color: red }</style>",
	}, files)
}

const buildScript = `"scripts":{"build":"astro build"},`

// realSiteLimit is how long one may take to be installed and built on a machine that has
// much else to do.
const realSiteLimit = 9 * time.Minute

// TestRealSites builds what sites are made of, which takes many minutes.
func TestRealSites(t *testing.T) {
	if os.Getenv("TORTURE") != "1" {
		t.Log("TORTURE=1 runs it")
		return
	}
	for name, site := range realSites() {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(site.files)
			maps.DeleteFunc(files, func(_, content string) bool { return content == "" })
			if site.lock != "" {
				files = locked(t, files, site.lock, site.make...)
			}
			w := newWorld(t, files)
			claim := w.claim("s1")
			if site.claim != nil {
				site.claim(&claim)
			}
			c := w.start("s1", claim.Token)
			code, _ := c.post(bootapi.PathClaim, claim)
			require.Equal(t, http.StatusOK, code)
			var status bootapi.Status
			require.Eventually(t, func() bool {
				status = c.status()
				return status.Phase == bootapi.PhaseReady || status.Phase == bootapi.PhaseFailed
			}, realSiteLimit, 100*time.Millisecond)
			if site.cause != "" {
				require.NotNil(t, status.Failure)
				require.Contains(t, status.Failure.Cause, site.cause)
				return
			}
			require.Nil(t, status.Failure)
			if site.dist != "" {
				w.servedAsBuilt(c, filepath.Join(w.workspace("s1"), site.dist))
			}
			if site.check != nil {
				site.check(t, w, c)
			}
			assert.Equal(t, "nothing", w.saved(c))
			require.Zero(t, c.stop())
		})
	}
}

var (
	liveTag   = regexp.MustCompile(`<script async src="[^"]*/\.webordinary/live\.js"[^>]*></script>`)
	assetLink = regexp.MustCompile(`(?:href|src|component-url|renderer-url)="(/session/s1/[^"#?]*)"`)
)

// servedAsBuilt asks for each file of a build: what is served is that, but for the script
// of live reload and the session's prefix. Every link to an asset leads to one.
func (w *world) servedAsBuilt(c *container, dist string) {
	w.t.Helper()
	links := map[string]bool{}
	count := 0
	require.NoError(w.t, filepath.WalkDir(dist, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		count++
		rel, err := filepath.Rel(dist, path)
		require.NoError(w.t, err)
		built, err := os.ReadFile(path)
		require.NoError(w.t, err)
		asked := "/session/s1/" + strings.TrimSuffix(filepath.ToSlash(rel), "index.html")
		_, body := c.get((&url.URL{Path: asked}).EscapedPath())
		for _, m := range assetLink.FindAllStringSubmatch(body, -1) {
			links[m[1]] = true
		}
		assert.NotContains(w.t, body, `="/_astro/`, rel)
		if served := strings.ReplaceAll(liveTag.ReplaceAllString(body, ""), "/session/s1/", "/"); served != body || served != string(built) {
			assert.Equal(w.t, strings.ReplaceAll(string(built), "/session/s1/", "/"), served, rel)
		}
		return nil
	}))
	assert.Positive(w.t, count)
	for link := range links {
		code, _ := c.get(link)
		assert.Equal(w.t, http.StatusOK, code, link)
	}
}

// picture is a PNG that is not like any other.
func picture(n int) string {
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for x := range 320 {
		for y := range 200 {
			img.Set(x, y, color.RGBA{uint8(x * n), uint8(y + n), uint8(n), 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		panic(err)
	}
	return out.String()
}

// postsSite has a collection of many pages with images.
func postsSite(pages int) map[string]string {
	files := map[string]string{
		"src/content.config.mjs": `import { defineCollection } from "astro:content";
import { glob } from "astro/loaders";
import { z } from "astro/zod";
const posts = defineCollection({
	loader: glob({ pattern: "**/*.md", base: "./src/posts" }),
	schema: ({ image }) => z.object({ title: z.string(), cover: image() }),
});
export const collections = { posts };
`,
		"src/pages/posts/[id].astro": `---
import { getCollection, render } from "astro:content";
import { Image } from "astro:assets";
export const getStaticPaths = async () => (await getCollection("posts")).map((post) => ({ params: { id: post.id }, props: { post } }));
const { post } = Astro.props;
const { Content } = await render(post);
---
<html><head><title>{post.data.title}</title></head><body><Image src={post.data.cover} width={160} alt="" /><Content /></body></html>
`,
	}
	for i := range 25 {
		files[fmt.Sprintf("src/pictures/%d.png", i)] = picture(i + 1)
	}
	for i := range pages {
		files[fmt.Sprintf("src/posts/post-%d.md", i)] = fmt.Sprintf("---\ntitle: Post %d\ncover: ../pictures/%d.png\n---\n# Post %[1]d\n\n![again](../pictures/%d.png)\n", i, i%25, (i+1)%25)
	}
	return files
}

// workspaceSite is a site that takes a component from another package of its workspace.
func workspaceSite(root string, files map[string]string) map[string]string {
	return with(map[string]string{
		".gitignore":                      "dist/\nnode_modules/\n.astro/\n.yarn/\n",
		"package.json":                    root,
		"packages/ui/package.json":        `{"name":"ui","version":"1.0.0","type":"module","exports":{"./*":"./*"}}`,
		"packages/ui/Title.astro":         "<h1>from the workspace</h1><style>h1 { color: blue }</style>",
		"sites/www/package.json":          `{"name":"www","private":true,"type":"module","scripts":{"build":"astro build"},"dependencies":{"astro":"^7.0.0","ui":"WORKSPACE"}}`,
		"sites/www/src/pages/index.astro": "---\nimport Title from 'ui/Title.astro';\n---\n<html><head></head><body><Title /></body></html>",
	}, files)
}

func inWWW(c *bootapi.Claim) { c.Site.Directory = "sites/www" }

func shows(path string, texts ...string) func(*testing.T, *world, *container) {
	return func(t *testing.T, _ *world, c *container) {
		t.Helper()
		code, body := c.get("/session/s1" + path)
		assert.Equal(t, http.StatusOK, code)
		for _, text := range texts {
			assert.Contains(t, body, text)
		}
	}
}

// leftPadPatch is what patch-package writes of a left-pad that says whether it is patched.
func leftPadPatch(word string) string {
	return `diff --git a/node_modules/left-pad/index.js b/node_modules/left-pad/index.js
index e90aec3..8c1ee24 100644
--- a/node_modules/left-pad/index.js
+++ b/node_modules/left-pad/index.js
@@ -5,6 +5,7 @@
      * http://www.wtfpl.net/ for more details. */
 'use strict';
 module.exports = leftPad;
+module.exports.patched = '` + word + `';
 
 var cache = [
   '',
`
}

func realSites() map[string]realSite {
	workspace := func(protocol string, files map[string]string) map[string]string {
		files["sites/www/package.json"] = strings.Replace(workspaceSite("", nil)["sites/www/package.json"], "WORKSPACE", protocol, 1)
		return files
	}
	sites := map[string]realSite{
		"islands": {
			files: astroWith("^7.0.0", buildScript+`"dependencies":{ASTRO,"@astrojs/mdx":"latest","@astrojs/react":"latest","@astrojs/preact":"latest","@astrojs/svelte":"latest","@astrojs/vue":"latest",`+
				`"@astrojs/sitemap":"latest","@astrojs/rss":"latest","@tailwindcss/vite":"^4","tailwindcss":"^4","react":"^19","react-dom":"^19","preact":"^10","svelte":"^5","vue":"^3"}`,
				`import mdx from "@astrojs/mdx"; import react from "@astrojs/react"; import preact from "@astrojs/preact";
import svelte from "@astrojs/svelte"; import vue from "@astrojs/vue"; import sitemap from "@astrojs/sitemap"; import tailwind from "@tailwindcss/vite";
export default { site: "https://www.example.com", vite: { plugins: [tailwind()] },
	integrations: [mdx(), react({ include: ["**/r/*"] }), preact({ include: ["**/p/*"] }), svelte(), vue(), sitemap()] };
`, map[string]string{
					"src/global.css":          "@import \"tailwindcss\";\n",
					"src/r/R.jsx":             "import { useState } from 'react';\nexport default () => { const [n, set] = useState(1); return <button onClick={() => set(n + 1)}>react {n}</button>; };\n",
					"src/p/P.jsx":             "import { useState } from 'preact/hooks';\nexport default () => { const [n, set] = useState(2); return <button onClick={() => set(n + 1)}>preact {n}</button>; };\n",
					"src/S.svelte":            "<script>let n = $state(3);</script><button onclick={() => n++}>svelte {n}</button><style>button { color: red }</style>\n",
					"src/V.vue":               "<script setup>import { ref } from 'vue'; const n = ref(4);</script><template><button @click=\"n++\">vue {{ n }}</button></template>\n",
					"src/pages/text.mdx":      "import R from '../r/R.jsx';\n\n# Text\n\n<R client:idle />\n",
					"src/pages/rss.xml.js":    "import rss from '@astrojs/rss';\nexport const GET = (c) => rss({ title: 't', description: 'd', site: c.site, items: [{ title: 'one', link: '/text/' }] });\n",
					"src/pages/islands.astro": "---\nimport '../global.css';\nimport R from '../r/R.jsx'; import P from '../p/P.jsx'; import S from '../S.svelte'; import V from '../V.vue';\n---\n<html><head></head><body class=\"bg-red-500\"><R client:load /><P client:visible /><S client:load /><V client:only=\"vue\" /></body></html>\n",
				}),
			lock: "package-lock.json", make: npmLock, dist: "dist",
			check: shows("/islands/", `component-url="/session/s1/_astro/R.`, "react ", "preact ", "svelte 3"),
		},
		"a collection of 500 pages with images": {
			files: astroWith("^7.0.0", buildScript+`"dependencies":{ASTRO,"sharp":"^0.34.0"}`, "export default {};\n", postsSite(500)),
			lock:  "package-lock.json", make: npmLock, dist: "dist",
			check: shows("/posts/post-499/", "Post 499", `src="/session/s1/_astro/`),
		},
		"a workspace of npm": {
			files: workspaceSite(`{"name":"all","private":true,"workspaces":["packages/*","sites/*"]}`, workspace("*", map[string]string{})),
			lock:  "package-lock.json", make: npmLock, claim: inWWW, dist: "sites/www/dist", check: shows("/", "from the workspace"),
		},
		"a workspace of pnpm": {
			files: workspaceSite(`{"name":"all","private":true}`, workspace("workspace:^", map[string]string{
				"pnpm-workspace.yaml": "packages:\n  - packages/*\n  - sites/*\n", ".npmrc": "node-linker=hoisted\n",
			})),
			lock: "pnpm-lock.yaml", make: npxOf("pnpm@10", "install", "--lockfile-only"), claim: inWWW, dist: "sites/www/dist", check: shows("/", "from the workspace"),
		},
		"a workspace of Yarn": {
			files: workspaceSite(`{"name":"all","private":true,"packageManager":"yarn@4.9.2","workspaces":["packages/*","sites/*"]}`, workspace("workspace:*", map[string]string{
				".yarnrc.yml": "nodeLinker: node-modules\n",
			})),
			lock: "yarn.lock", make: npxOf("-p", "@yarnpkg/cli-dist@4.9.2", "yarn", "install", "--mode=update-lockfile"), claim: inWWW, dist: "sites/www/dist",
			check: shows("/", "from the workspace"),
		},
		"folders moved, and a base from the environment": {
			files: with(astroWith("^7.0.0", `"scripts":{"pages":"astro check && astro build"},"dependencies":{ASTRO,"@astrojs/check":"latest","@types/node":"^22","typescript":"^5"}`, "", map[string]string{
				"astro.config.mjs": "", "astro.config.ts": "import { defineConfig } from 'astro/config';\n" +
					"export default defineConfig({ srcDir: './source', publicDir: './static', outDir: './public html/www', site: process.env.SITE as string, base: process.env.BASE });\n",
				"tsconfig.json":            `{"extends":"astro/tsconfigs/strict"}`,
				"source/pages/index.astro": "---\nconst base: string = import.meta.env.BASE_URL;\n---\n<html><head><link rel=\"canonical\" href={Astro.site} /></head><body>{base}<a href={base + \"/robots.txt\"}>r</a></body><style>body { color: red }</style></html>",
				"static/robots.txt":        "User-agent: *\n",
			}), map[string]string{"src/pages/index.astro": "---\nthrow new Error('not this one');\n---\n"}),
			lock: "package-lock.json", make: npmLock,
			claim: func(c *bootapi.Claim) {
				c.Site.Env = map[string]string{"SITE": "https://www.example.com", "BASE": "/docs"}
			},
			check: func(t *testing.T, w *world, c *container) {
				shows("/docs/", "https://www.example.com/", "/docs")(t, w, c)
				shows("/docs/robots.txt", "User-agent")(t, w, c)
			},
		},
		"Yarn's Plug'n'Play": {
			files: astroWith("^5.0.0", `"packageManager":"yarn@4.9.2",`+buildScript+`"dependencies":{ASTRO}`, "export default {};\n", nil),
			lock:  "yarn.lock", make: npxOf("-p", "@yarnpkg/cli-dist@4.9.2", "yarn", "install", "--mode=update-lockfile"), dist: "dist",
		},
		"hooks, patches, overrides and strict engines": {
			files: astroWith("^5.0.0", `"scripts":{"build":"astro build","prepare":"husky","postinstall":"patch-package"},"engines":{"node":">=22.19","npm":"10.x"},`+
				`"overrides":{"sharp":"^0.34.0"},"dependencies":{ASTRO,"left-pad":"1.3.0"},"devDependencies":{"husky":"^9","patch-package":"^8"}`,
				"export default {};\n", map[string]string{
					".npmrc":                       "engine-strict=true\n",
					"patches/left-pad+1.3.0.patch": leftPadPatch("patched"),
					"src/pages/index.astro":        "---\nimport pad from 'left-pad';\n---\n<h1>{pad('x', 5, '-')} {pad.patched} {process.env.npm_config_user_agent}</h1>",
				}),
			lock: "package-lock.json", make: npxOf("-p", "node@22", "-p", "npm@10", "npm", "install", "--package-lock-only", "--ignore-scripts"), dist: "dist",
			check: func(t *testing.T, w *world, c *container) {
				shows("/", "----x patched npm/10.")(t, w, c)
				c.await(func() bool {
					kept, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*/files/node_modules/astro")
					return err == nil && len(kept) == 1
				})
				next := func(session, word string) []string {
					w.push(map[string]string{"patches/left-pad+1.3.0.patch": leftPadPatch(word), "public/" + session: session})
					other, status := w.ready(w.claim(session))
					_, body := other.get("/")
					assert.Contains(t, body, "----x "+word+" npm/10.")
					require.Zero(t, other.stop())
					return status.Reused
				}
				assert.Equal(t, []string{"install"}, next("s2", "patched"))
				assert.Empty(t, next("s3", "differently"), "another patch, other packages")
			},
		},
		"Starlight": {
			files: astroWith("^7.0.0", buildScript+`"dependencies":{ASTRO,"@astrojs/starlight":"latest","sharp":"^0.34.0"}`,
				"import starlight from '@astrojs/starlight';\nexport default { integrations: [starlight({ title: 'Docs', lastUpdated: true })] };\n", map[string]string{
					"src/pages/index.astro":           "",
					"src/content.config.mjs":          "import { defineCollection } from 'astro:content';\nimport { docsLoader } from '@astrojs/starlight/loaders';\nimport { docsSchema } from '@astrojs/starlight/schema';\nexport const collections = { docs: defineCollection({ loader: docsLoader(), schema: docsSchema() }) };\n",
					"src/content/docs/index.md":       "---\ntitle: Home of docs\n---\n[next](./guides/one/)\n",
					"src/content/docs/guides/one.mdx": "---\ntitle: One\n---\nimport { Tabs, TabItem } from '@astrojs/starlight/components';\n\n<Tabs><TabItem label=\"a\">first</TabItem></Tabs>\n",
				}),
			lock: "package-lock.json", make: npmLock, dist: "dist", check: shows("/guides/one/", "first", "Last updated"),
		},
	}
	adapter := func(name, output, options string) map[string]string {
		return astroWith("^7.0.0", buildScript+`"dependencies":{ASTRO,"@astrojs/`+name+`":"latest"}`,
			"import adapter from '@astrojs/"+name+"';\nexport default { output: '"+output+"', adapter: adapter("+options+") };\n", map[string]string{
				"src/pages/index.astro": "---\nconst time = await (await fetch(new URL('/api/time', Astro.url)).catch(() => ({ text: () => 'nobody' }))).text();\n---\n<html><head></head><body><h1>home {time}</h1></body><style>h1 { color: red }</style></html>",
				"src/pages/api/time.js": "export const GET = () => new Response('noon');\n",
			})
	}
	for _, name := range []string{"vercel", "netlify", "cloudflare"} {
		sites["files for "+name] = realSite{files: adapter(name, "static", ""), check: shows("/", "home ")}
		sites["a server for "+name] = realSite{files: adapter(name, "server", ""), cause: "This site is built for another host, by the adapter @astrojs/" + name}
	}
	sites["the development server of Astro 7.0"] = realSite{
		files: astroWith("7.0.4", buildScript+`"dependencies":{ASTRO}`, "export default { trailingSlash: \"never\" };\n", nil),
		claim: func(c *bootapi.Claim) { c.Site.Mode = "dev" },
		check: func(t *testing.T, w *world, c *container) {
			shows("/", "home", `src="/@vite/client"`)(t, w, c)
			shows("/@vite/client", "/session/s1/.webordinary/hmr")(t, w, c)
		},
	}
	sites["a development server with a base of an integration's"] = realSite{
		files: astroWith("^7.0.0", buildScript+`"dependencies":{ASTRO}`, `export default { integrations: [{ name: "own", hooks: {
	"astro:config:setup": ({ updateConfig }) => { updateConfig({ base: "/docs" }); } } }] };
`, nil),
		claim: func(c *bootapi.Claim) { c.Site.Mode = "dev" },
		check: func(t *testing.T, w *world, c *container) {
			c.await(func() bool {
				code, _ := c.get("/session/s1/")
				return code == http.StatusOK
			})
			shows("/", "home", "/@vite/client")(t, w, c)
			shows("/docs/", "home")(t, w, c)
			shows("/@vite/client", "/session/s1/.webordinary/hmr")(t, w, c)
		},
	}
	sites["a server of Node"] = realSite{files: adapter("node", "server", "{ mode: 'standalone' }"), check: shows("/", "home noon")}
	sites["files, and a server of Node"] = realSite{files: adapter("node", "static", "{ mode: 'standalone' }"), check: shows("/", "home ")}
	sites["Node's middleware"] = realSite{files: adapter("node", "server", "{ mode: 'middleware' }"), cause: "This site's server is made to be a part of another one (middleware)"}
	sites["files, and Node's middleware"] = realSite{files: adapter("node", "static", "{ mode: 'middleware' }"), check: shows("/", "home ")}
	return sites
}
