package steps

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
)

// bench is a folder in which sites are installed and built with the real tools.
type bench struct {
	t         *testing.T
	workspace string
	cfg       Config
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, workspace: filepath.Join(dir, "session", "workspace")}
	require.NoError(t, os.MkdirAll(b.workspace, 0o755))
	b.cfg = Config{
		ClientID: "amelia", Workspace: b.workspace, Private: filepath.Dir(b.workspace), CacheDir: filepath.Join(dir, "cache"),
		Environ: os.Environ(), Log: zap.NewNop(),
		Board: progress.New(time.Now, func() (time.Duration, string) { return 0, "" }),
	}
	return b
}

func (b *bench) write(dir string, files map[string]string) {
	b.t.Helper()
	for name, content := range files {
		path := filepath.Join(b.workspace, dir, name)
		require.NoError(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(b.t, os.WriteFile(path, []byte(content), 0o644))
	}
}

// try prepares, installs if it is to, and builds what is in a folder.
func (b *bench) try(site bootapi.Site, install, build bool) error {
	b.t.Helper()
	cfg := b.cfg
	cfg.Site = site
	builder := New(cfg)
	b.t.Cleanup(builder.Close)
	err := builder.Prepare(b.t.Context())
	if err == nil && install {
		err = builder.Install(b.t.Context(), "content")
	}
	if err == nil && build {
		err = builder.Build(b.t.Context())
	}
	if err == nil && build {
		entry, keepErr := builder.Keep(b.t.Context(), "", false)
		if err = keepErr; err == nil {
			entry.Release()
		}
	}
	return err
}

// fails checks what is said of a failure.
func (b *bench) fails(err error, phase bootapi.Phase, cause string, retryable bool) {
	b.t.Helper()
	var f *Error
	require.ErrorAs(b.t, err, &f)
	assert.Equal(b.t, cause, f.Cause, "detail: %s", f.Detail)
	assert.Equal(b.t, phase, f.Phase)
	assert.Equal(b.t, retryable, f.Retryable)
	assert.NotEmpty(b.t, f.Detail)
	assert.NotContains(b.t, f.Cause, b.workspace)
}

const (
	blogSchema = `import { defineCollection, z } from 'astro:content';
import { glob } from 'astro/loaders';
const blog = defineCollection({ loader: glob({ pattern: '**/*.md', base: './src/content/blog' }), schema: z.object({ title: z.string(), date: z.date() }) });
export const collections = { blog };
`
	withMDX = "import mdx from '@astrojs/mdx';\nexport default { integrations: [mdx()] };\n"
)

// brokenSites are sites of Astro's with one fault each, and what must be said of it by
// version.
var brokenSites = map[string]struct {
	files       map[string]string
	five, seven string
	retryable   bool
	always      bool // also without TORTURE=1
	script      string
}{
	"the configuration's syntax": {
		files: map[string]string{"astro.config.mjs": "export default {\n  site: 'https://x.example'\n  base: '/x',\n};\n"},
		five:  "astro.config.mjs line 3: Expected ',', got 'ident'", seven: "astro.config.mjs line 3: Expected `,` or `}` but found `Identifier`",
	},
	"a setting": {
		files: map[string]string{"astro.config.mjs": "export default { site: 3 };\n"},
		five:  `astro.config: Astro does not accept its settings: site: Expected type "string", received "number"`, seven: `astro.config: Astro does not accept its settings: site: Expected type "string", received "number"`,
	},
	"an integration that is not installed": {
		files: map[string]string{"astro.config.mjs": "import x from '@astrojs/tailwind';\nexport default { integrations: [x()] };\n"},
		five:  "Cannot find module '@astrojs/tailwind' imported from 'astro.config.mjs'", seven: "Cannot find module '@astrojs/tailwind' imported from 'astro.config.mjs'",
	},
	"a page's front matter": {
		files: map[string]string{"src/pages/about.md": "---\ntitle: \"Hello\ntags: [a\n---\n# About\n"},
		five:  "src/pages/about.md line 3: unexpected end of the stream within a double quoted scalar", seven: "src/pages/about.md line 3: unexpected end of the stream within a double quoted scalar", always: true,
	},
	"a collection's schema": {
		files: map[string]string{"src/content.config.ts": blogSchema, "src/content/blog/first.md": "---\ntitle: 3\n---\nhi\n"},
		five:  "src/content/blog/first.md: blog → first data does not match collection schema: title: Expected type `\"string\"`, received `\"number\"`, date: Required",
		seven: "src/content/blog/first.md: blog → first data does not match collection schema: title: Expected type `\"string\"`, received `\"number\"`, date: Required", always: true,
	},
	"MDX": {
		files: map[string]string{"astro.config.mjs": withMDX, "src/pages/a.mdx": "# Hello\n\n<Foo\n"},
		five:  "src/pages/a.mdx line 4: Unexpected end of file after name, expected a character that can start an attribute name, such as a letter, `$`, or `_`; whitespace before attributes; or the end of the tag",
		seven: "src/pages/a.mdx line 3: Unexpected character after `<`, expected a valid JSX tag (note: to create a link in MDX, use `[text](url)`)",
	},
	"a component that MDX does not know": {
		files: map[string]string{"astro.config.mjs": withMDX, "src/pages/a.mdx": "# Hello\n\n<Foo />\n"},
		five:  "src/pages/a.mdx, page /a/: Expected component `Foo` to be defined: you likely forgot to import, pass, or provide it.",
		seven: "page /a: Expected component `Foo` to be defined: you likely forgot to import, pass, or provide it.",
	},
	"a missing import": {
		files: map[string]string{"src/pages/index.astro": "---\nimport Nope from '../components/Nope.astro';\n---\n<Nope />\n"},
		five:  `Could not resolve "../components/Nope.astro" from "src/pages/index.astro"`, seven: `src/pages/index.astro line 2: Could not resolve '../components/Nope.astro' in src/pages/index.astro`,
	},
	"a missing package": {
		files: map[string]string{"src/pages/index.astro": "---\nimport x from 'left-pad-not-here';\n---\n<p>{x}</p>\n"},
		five:  `Rollup failed to resolve import "left-pad-not-here" from "src/pages/index.astro".`, seven: `Rolldown failed to resolve import "left-pad-not-here" from "src/pages/index.astro".`,
	},
	"a missing image": {
		files: map[string]string{"src/pages/about.md": "# A\n![x](../assets/nope.png)\n"},
		five:  `Could not resolve "../assets/nope.png" from "src/pages/about.md"`, seven: `Could not resolve '../assets/nope.png' in src/pages/about.md`,
	},
	"astro check": {
		files:  map[string]string{"tsconfig.json": `{"extends":"astro/tsconfigs/strict"}`, "src/pages/index.astro": "---\nconst n: number = \"text\";\n---\n<p>{n}</p>\n"},
		script: "astro check && astro build",
		five:   "src/pages/index.astro line 2: Type 'string' is not assignable to type 'number'.", seven: "src/pages/index.astro line 2: Type 'string' is not assignable to type 'number'.",
	},
	"an environment variable": {
		files: map[string]string{
			"astro.config.mjs":      "import { defineConfig, envField } from 'astro/config';\nexport default defineConfig({ env: { schema: { API_URL: envField.string({ context: 'server', access: 'public' }) } } });\n",
			"src/pages/index.astro": "---\nimport { API_URL } from 'astro:env/server';\n---\n<p>{API_URL}</p>\n",
		},
		five: "environment variables that the site needs are not set as they must be (build.env): API_URL is missing", seven: "environment variables that the site needs are not set as they must be (build.env): API_URL is missing",
	},
	"a page's syntax": {
		files: map[string]string{"src/pages/index.astro": "---\nconst a = ;\n---\n<p>{a}</p>\n"},
		five:  `src/pages/index.astro line 2: Unexpected ";"`, seven: "src/pages/index.astro line 2: Unexpected token", always: true,
	},
	"TypeScript's syntax": {
		files: map[string]string{"src/pages/index.astro": "---\nimport { x } from '../lib/x.ts';\n---\n<p>{x}</p>\n", "src/lib/x.ts": "export const y = 1;\n\nexport const x = {{;\n"},
		five:  `src/lib/x.ts line 3: Expected identifier but found "{"`, seven: "src/lib/x.ts line 3: Unexpected token",
	},
	"a name that is not exported": {
		files: map[string]string{"src/pages/index.astro": "---\nimport { nope } from '../lib/x.ts';\n---\n<p>{nope}</p>\n", "src/lib/x.ts": "export const y = 1;\n"},
		five:  `src/pages/index.astro line 2: "nope" is not exported by "src/lib/x.ts", imported by "src/pages/index.astro".`, seven: `src/pages/index.astro line 2: "nope" is not exported by "src/lib/x.ts".`,
	},
	"a page that throws": {
		files: map[string]string{"src/pages/index.astro": "---\nconst a = undefined;\n---\n<p>{a.title}</p>\n"},
		five:  "src/pages/index.astro, page /: Cannot read properties of undefined (reading 'title')", seven: "page /: Cannot read properties of undefined (reading 'title')", always: true,
	},
	"a dynamic page without paths": {
		files: map[string]string{"src/pages/[slug].astro": "<p>x</p>\n"},
		five:  "src/pages/[slug].astro: `getStaticPaths()` function is required for dynamic routes. Make sure that you `export` a `getStaticPaths` function from your dynamic route.",
		seven: "src/pages/[slug].astro: `getStaticPaths()` function is required for dynamic routes. Make sure that you `export` a `getStaticPaths()` function from your dynamic route.",
	},
	"JSON": {
		files: map[string]string{"src/pages/index.astro": "---\nimport d from '../d.json';\n---\n<p>{d.x}</p>\n", "src/d.json": "{\"x\": 1,}\n"},
		five:  "src/d.json line 1: Failed to parse JSON file, invalid JSON syntax found at position 7", seven: "a JSON file: trailing comma at line 1 column 9",
	},
	"no adapter": {
		files: map[string]string{"astro.config.mjs": "export default { output: 'server' };\n"},
		five:  "Cannot use server-rendered pages without an adapter. Please install and configure the appropriate server adapter for your final deployment.",
		seven: "Cannot use server-rendered pages without an adapter. Please install and configure the appropriate server adapter for your final deployment.",
	},
	"a host of no name": {
		files: map[string]string{"src/pages/index.astro": "---\nconst r = await fetch('http://cms.invalid/posts');\n---\n<p>{await r.text()}</p>\n"},
		five:  "src/pages/index.astro, page /: the host cms.invalid on the network does not answer: its name was not found.", seven: "page /: the host cms.invalid on the network does not answer: its name was not found.",
		retryable: true, always: true,
	},
}

// TestRealAstro builds sites that are broken in one way each with the real Astro, of the
// two versions that print most differently; without TORTURE=1 some of them with one.
func TestRealAstro(t *testing.T) {
	t.Parallel()
	torture := os.Getenv("TORTURE") == "1"
	for version, node := range map[string]string{"5": "20", "7": "22"} {
		if !torture && version != "5" {
			continue
		}
		t.Run("Astro "+version, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			dependencies := `"astro":"^` + version + `"`
			if torture {
				dependencies += `,"@astrojs/mdx":"` + map[string]string{"5": "^4", "7": "^8"}[version] + `","@astrojs/check":"^0.9","typescript":"^5"`
			}
			b.write("", map[string]string{"package.json": `{"name":"all","private":true,"dependencies":{` + dependencies + `}}`, ".nvmrc": node})
			require.NoError(t, b.try(bootapi.Site{}, true, false))
			for name, site := range brokenSites {
				if !torture && !site.always {
					continue
				}
				t.Run(name, func(t *testing.T) {
					of := *b
					of.t = t
					script := site.script
					if script == "" {
						script = "astro build"
					}
					dir := filepath.Base(t.TempDir()) + filepath.Base(t.Name())
					files := map[string]string{
						"package.json": `{"name":"site","private":true,"type":"module","scripts":{"build":"` + script + `"}}`,
						".nvmrc":       node, "astro.config.mjs": "export default {};\n", "src/pages/index.astro": "<h1>hi</h1>\n",
					}
					maps.Copy(files, site.files)
					of.write(dir, files)
					want := site.five
					if version == "7" {
						want = site.seven
					}
					of.fails(of.try(bootapi.Site{Directory: dir}, false, true), bootapi.PhaseBuilding, sentence("The build failed: "+want), site.retryable)
				})
			}
		})
	}
}
