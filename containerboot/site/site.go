// Package site serves the output of an Astro build under a session's prefix, as a
// good static host would, and proxies the editing agent's API.
//
// The folder is shared between sessions and stays as it was built. Astro links its
// assets from the root (/_astro/x.css), where no session could be told, so HTML, CSS
// and JavaScript are rewritten while they are served: their references to the asset
// folder carry the prefix. All other root-absolute links stay as they are; the edge
// redirects those.
package site

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Config says under which path a site is served.
type Config struct {
	// Prefix is the path of the session ("/session/{id}"), as it stands in a URL or
	// decoded; an id that holds a percent sign can only be given as it stands in a
	// URL. It is taken off requests that have it and put before links to assets.
	// Default: none, and then nothing is rewritten.
	Prefix string

	// AssetDirs are the folders of the build that hold hashed assets, relative to
	// its root. Default: "_astro", or what the pages of a static site tell.
	AssetDirs []string

	// Live has documents load themselves again once another build is served: each gets
	// a script that listens to bootapi.PathEvents for a status of another build.
	Live bool
}

// Site is an http.Handler that serves one output at a time. Until the first switch
// it answers 503. Make one with New.
type Site struct {
	prefix  string // decoded, no slash at its end
	rewrite *rewriter
	assets  []string // each with a slash at its end
	live    bool

	mu      sync.RWMutex // orders acquire against Switch
	current *build
}

// New returns a site that has no folder yet.
func New(c Config) *Site {
	s := &Site{prefix: decodePrefix(c.Prefix), assets: assetDirs(c.AssetDirs), live: c.Live}
	s.rewrite = newRewriter(s.prefix, s.assets)
	return s
}

// assetDirs gives each folder a slash at its end, and the default.
func assetDirs(dirs []string) []string {
	if len(dirs) == 0 {
		dirs = []string{"_astro"}
	}
	var slashed []string
	for _, d := range dirs {
		slashed = append(slashed, strings.Trim(d, "/")+"/")
	}
	return slashed
}

// Output is what a site serves.
type Output struct {
	// Root is the folder of a finished build's files. They must not change while it is
	// served. Empty: there are none.
	Root string
	// ID names the build to open documents: see Config.Live. Default: a random one.
	ID string
	// Program answers all that is no file of Root, by its very name. Nil: the site is
	// static, and documents are found as static hosts do.
	Program *Program
	// Released is called once no request is served from this output any more. Nil: nothing is.
	Released func()
}

// Switch serves an output from now on. Requests in flight finish on the one they
// began with, whose folder may be removed as soon as Switch has returned: an open
// file outlives its name, and a request that finds its file gone is answered from the
// new folder. It fails where Root is no folder or cannot be read; what was served
// before then stays.
func (s *Site) Switch(o Output) error {
	if o.ID == "" {
		o.ID = rand.Text()
	}
	b := &build{id: o.ID, assets: s.assets, rewrite: s.rewrite, live: s.liveTag(o.ID), program: o.Program, released: o.Released}
	if err := b.open(o.Root); err != nil {
		return fmt.Errorf("switching to folder %q: %w", o.Root, err)
	}
	if b.program != nil && !b.program.knows {
		b.program.live = b.live
	}
	s.mu.Lock()
	old := s.current
	s.current = b
	s.mu.Unlock()
	if old != nil {
		old.release()
	}
	return nil
}

// ServeHTTP answers from the present output, for paths with the prefix and without it
// alike.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := TrimPrefix(r.URL.Path, s.prefix)
	if s.live && path == livePath {
		serveLiveScript(w, r)
		return
	}
	for done := false; !done; {
		b := s.acquire()
		if b == nil {
			w.Header()["X-Content-Type-Options"] = headerNosniff
			w.Header().Set("Retry-After", "1")
			writeText(w, r, http.StatusServiceUnavailable, "The site is not built yet.")
			return
		}
		if b.program != nil {
			serveProgram(w, r, b, path)
			return
		}
		done = s.serveFrom(w, r, b, path)
	}
}

// serveProgram answers with a file, as the program would, or has the program answer.
func serveProgram(w http.ResponseWriter, r *http.Request, b *build, path string) {
	defer b.release()
	if b.root != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if a, ok := b.exact(b.below(path), r); ok {
			defer a.close()
			w.Header()["X-Content-Type-Options"] = headerNosniff
			a.write(w, r)
			return
		}
	}
	b.program.ServeHTTP(w, r)
}

// serveFrom answers from b and releases it. It reports false, with nothing written,
// where b lacks the file and has been replaced meanwhile.
func (s *Site) serveFrom(w http.ResponseWriter, r *http.Request, b *build, path string) bool {
	defer b.release()
	w.Header()["X-Content-Type-Options"] = headerNosniff
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeText(w, r, http.StatusMethodNotAllowed, "This site takes GET and HEAD only.")
		return true
	}
	a := b.answer(b.below(path), r)
	defer a.close()
	if a.status == http.StatusNotFound && !s.isCurrent(b) {
		return false
	}
	a.write(w, r)
	return true
}

// acquire returns the present build, which stays open until its release, or nil.
func (s *Site) acquire() *build {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.current != nil {
		s.current.refs.Add(1)
	}
	return s.current
}

func (s *Site) isCurrent(b *build) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.current == b
}

// TrimPrefix takes prefix, which is decoded and has no slash at its end, off a
// decoded path, and reports whether the path had it. "/session/abc" is no prefix of
// "/session/abcd". What is left begins with a slash.
func TrimPrefix(path, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, prefix)
	switch {
	case prefix == "" || !ok:
		return path, false
	case rest == "":
		return "/", true
	case rest[0] == '/':
		return rest, true
	}
	return path, false
}

// TrimURL is TrimPrefix for a URL, of which the rest keeps its own escapes. u itself is
// returned where it does not have the prefix.
func TrimURL(u *url.URL, prefix string) (rest *url.URL, ok bool) {
	path, ok := TrimPrefix(u.Path, prefix)
	if !ok {
		return u, false
	}
	short := *u
	short.Path, short.RawPath = path, rawSuffix(u.RawPath, path)
	return &short, true
}

// rawSuffix is the end of an encoded path that decodes to suffix; "" if it needs no
// encoding of its own.
func rawSuffix(raw, suffix string) string {
	for i := range len(raw) {
		if raw[i] != '/' {
			continue
		}
		if p, err := url.PathUnescape(raw[i:]); err == nil && p == suffix {
			return raw[i:]
		}
	}
	return ""
}

func decodePrefix(prefix string) string {
	if d, err := url.PathUnescape(prefix); err == nil {
		prefix = d
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return ""
	}
	return "/" + prefix
}

// Interface guards
var _ http.Handler = (*Site)(nil)
