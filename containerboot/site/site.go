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
	// its root. Default: "_astro".
	AssetDirs []string
}

// Site is an http.Handler that serves one folder at a time. Until the first Switch
// it answers 503. Make one with New.
type Site struct {
	prefix  string // decoded, no slash at its end
	rewrite *rewriter
	assets  []string // each with a slash at its end

	mu      sync.RWMutex // orders acquire against Switch
	current *build
}

// New returns a site that has no folder yet.
func New(c Config) *Site {
	dirs := c.AssetDirs
	if len(dirs) == 0 {
		dirs = []string{"_astro"}
	}
	s := &Site{prefix: decodePrefix(c.Prefix)}
	for _, d := range dirs {
		s.assets = append(s.assets, strings.Trim(d, "/")+"/")
	}
	s.rewrite = newRewriter(s.prefix, s.assets)
	return s
}

// Switch serves root, the output of a finished build, from now on. Requests in
// flight finish on the folder they began with, which may be removed as soon as
// Switch has returned: an open file outlives its name, and a request that finds its
// file gone is answered from the new folder. The files of root must not change while
// it is served. Switch fails where root is no folder or cannot be read; the folder
// served before then stays.
func (s *Site) Switch(root string) error {
	b, err := openBuild(root, s.assets, s.rewrite)
	if err != nil {
		return fmt.Errorf("switching to folder %q: %w", root, err)
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

// ServeHTTP answers GET and HEAD from the present folder, for paths with the prefix
// and without it alike.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["X-Content-Type-Options"] = headerNosniff
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		writeText(w, r, http.StatusMethodNotAllowed, "This site takes GET and HEAD only.")
		return
	}
	path, _ := TrimPrefix(r.URL.Path, s.prefix)
	for done := false; !done; {
		b := s.acquire()
		if b == nil {
			w.Header().Set("Retry-After", "1")
			writeText(w, r, http.StatusServiceUnavailable, "The site is not built yet.")
			return
		}
		done = s.serveFrom(w, r, b, path)
	}
}

// serveFrom answers from b and releases it. It reports false, with nothing written,
// where b lacks the file and has been replaced meanwhile.
func (s *Site) serveFrom(w http.ResponseWriter, r *http.Request, b *build, path string) bool {
	defer b.release()
	a := b.answer(path, r)
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
