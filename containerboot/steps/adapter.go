package steps

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// maxServerCode bounds what is looked through of a server's code, in bytes.
const maxServerCode = 32 << 20

// What Astro writes of a build into the code of its server.
var (
	codeAdapter    = regexp.MustCompile(`"adapterName":"([^"]+)"`)
	codeOnDemand   = regexp.MustCompile(`"prerender":false,(?:[^{}]|\{[^{}]*\})*?"origin":"project"`)
	codeBase       = regexp.MustCompile(`"base":"(/[^"\\]*)","trailingSlash"`)
	codeMiddleware = regexp.MustCompile(`\bmode"?\s*[:=]\s*"middleware"`)
	// foreignHosts are parts of the names of adapters whose servers need another host than
	// Node. Any other is run.
	foreignHosts = regexp.MustCompile(`cloudflare|netlify|vercel|deno|bun\b|aws|lambda|sst|firebase|azure`)
)

// serverCode is what the server of a build's output says of itself.
type serverCode struct {
	// adapter it was built by; "" if that is not known.
	adapter string
	// base is the path below which it serves and links; "/", or "", for the root.
	base string
	// onDemand: some of the site's own pages are made when they are asked for.
	onDemand bool
	// middleware: it is a part of another server, and does not listen by itself.
	middleware bool
}

// readServer reads the code of a server. What cannot be read says nothing.
func readServer(output string) serverCode {
	var code serverCode
	left := int64(maxServerCode)
	root, err := os.OpenRoot(output)
	if err != nil {
		return code
	}
	defer root.Close()
	_ = fs.WalkDir(root.FS(), "server", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(name) != ".mjs" {
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return nil
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, left))
		if err != nil {
			return nil
		}
		if m := codeAdapter.FindSubmatch(data); m != nil {
			code.adapter = string(m[1])
			code.onDemand = codeOnDemand.Match(data)
			if m := codeBase.FindSubmatch(data); m != nil {
				code.base = string(m[1])
			}
		}
		if bytes.Contains(data, []byte(`"middleware"`)) {
			code.middleware = code.middleware || codeMiddleware.Match(data)
		}
		if left -= int64(len(data)); left <= 0 {
			return fs.SkipAll
		}
		return nil
	})
	return code
}

// ServerBase is the path below which the server of an output serves, as Astro's option
// base says; "/" or "" is the root.
func ServerBase(output string) string { return readServer(output).base }

// foreign reports whether the server runs on another host only.
func (c serverCode) foreign() bool { return foreignHosts.MatchString(c.adapter) }

// runs reports whether the server is to be run: of one that has no pages of its own all
// that there is to serve are files.
func (c serverCode) runs() bool { return c.onDemand || !c.foreign() && !c.middleware }

// errForeign and errMiddleware tell the operator what to do.
var (
	errForeign    = errors.New("build.mode dev shows it by Astro's development server; the adapter @astrojs/node, with mode: 'standalone', makes a server that runs here")
	errMiddleware = errors.New("the adapter @astrojs/node needs mode: 'standalone' in the site's astro.config; build.mode dev does without")
)

const foreignSite = "This site is built for another host, by the adapter %s, and its pages cannot be served here."

// homeIn reports whether a folder has a home page.
func homeIn(dir string) bool { return isFile(filepath.Join(dir, homePage)) }
