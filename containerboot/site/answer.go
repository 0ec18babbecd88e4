package site

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// answer is what a request gets: a file, a redirect, or a short text.
type answer struct {
	status int
	// file is what is served, nil for a redirect or a text. disk is its content,
	// nil where that is in memory.
	file *file
	disk *os.File
	// coded is the precompressed file that disk or its body belong to, if any.
	coded  *file
	coding string
	// slash says how a redirect changes the end of the path.
	slash slashChange
}

type slashChange int

const (
	addSlash slashChange = iota + 1
	dropSlash
)

// answer finds what a path without the prefix gets, as the hosts do for which Astro
// builds: /about/ is about/index.html and /about is about.html, and where only one of
// both exists the other path redirects to it, since relative links in the page count
// on its path.
func (b *build) answer(urlPath string, r *http.Request) answer {
	name, slashed := strings.CutSuffix(strings.TrimPrefix(urlPath, "/"), "/")
	var places [3]place
	switch {
	case urlPath == "/":
		places = [3]place{{"index.html", 0}}
	case !strings.HasPrefix(urlPath, "/") || !servable(name):
		// Nowhere.
	case slashed:
		places = [3]place{{name + "/index.html", 0}, {name + ".html", dropSlash}}
	default:
		places = [3]place{{name, 0}, {name + ".html", 0}, {name + "/index.html", addSlash}}
	}
	for _, p := range places {
		if p.name == "" {
			break
		}
		f, err := b.lookup(p.name)
		if err == nil && p.slash != 0 {
			return answer{status: http.StatusTemporaryRedirect, slash: p.slash}
		}
		a := answer{status: http.StatusInternalServerError}
		if err == nil {
			a, err = b.content(f, r)
		}
		if err == nil || !missing(err) {
			return a
		}
	}
	return b.notFound(name, r)
}

// exact finds the file that a path names itself.
func (b *build) exact(urlPath string, r *http.Request) (answer, bool) {
	name, ok := strings.CutPrefix(urlPath, "/")
	if !ok || !servable(name) {
		return answer{}, false
	}
	f, err := b.lookup(name)
	if err != nil {
		return answer{}, false
	}
	a, err := b.content(f, r)
	return a, err == nil
}

// place is a file that may stand for a path, and what a path must change to stand
// for it.
type place struct {
	name  string
	slash slashChange
}

// notFound is the site's 404 page. A site without one is taken for a single-page
// application, as Cloudflare Pages does: its documents get the index page.
func (b *build) notFound(name string, r *http.Request) answer {
	if f, err := b.lookup("404.html"); err == nil {
		if a, err := b.content(f, nil); err == nil {
			a.status = http.StatusNotFound
			return a
		}
	}
	if wantsDocument(r) && servable(name) && path.Ext(name) == "" {
		if f, err := b.lookup("index.html"); err == nil {
			if a, err := b.content(f, r); err == nil {
				return a
			}
		}
	}
	return answer{status: http.StatusNotFound}
}

// content opens a file, or the precompressed one beside it that suits the request.
func (b *build) content(f *file, r *http.Request) (answer, error) {
	a := answer{status: http.StatusOK, file: f}
	source := f
	if len(f.siblings) > 0 && r != nil {
		accepted := r.Header.Values("Accept-Encoding")
		for _, c := range f.siblings {
			if !accepts(accepted, c.name) {
				continue
			}
			if coded, err := b.lookup(f.name + c.suffix); err == nil {
				a.coded, a.coding, source = coded, c.name, coded
				break
			}
		}
	}
	if source.body != nil {
		return a, nil
	}
	disk, err := b.openFile(source.name)
	if err != nil {
		return answer{status: http.StatusInternalServerError}, err
	}
	a.disk = disk
	return a, nil
}

func (a answer) close() {
	if a.disk != nil {
		a.disk.Close()
	}
}

// write answers the request. HEAD gets the headers of GET.
func (a answer) write(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.slash != 0:
		redirect(w, r, a.slash)
	case a.file == nil && a.status == http.StatusNotFound:
		writeText(w, r, a.status, "There is nothing at this address.")
	case a.file == nil:
		writeText(w, r, a.status, "The site's files cannot be read.")
	default:
		a.writeFile(w, r)
	}
}

func (a answer) writeFile(w http.ResponseWriter, r *http.Request) {
	source := a.file
	h := w.Header()
	h["Content-Type"] = a.file.contentType
	h["Cache-Control"] = a.file.cacheControl
	if len(a.file.siblings) > 0 {
		h["Vary"] = append(h["Vary"], "Accept-Encoding")
	}
	if a.coded != nil {
		source = a.coded
		h["Content-Encoding"] = []string{a.coding}
	}
	// ServeContent leaves the length out where there is a content coding.
	h["Content-Length"] = []string{strconv.FormatInt(source.size, 10)}

	switch {
	case a.status != http.StatusOK:
		w.WriteHeader(a.status)
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, a.reader(source)) // a visitor who left
		}
	case a.disk == nil && plain(r):
		h["Etag"] = source.etag
		h["Accept-Ranges"] = headerBytes
		if r.Method != http.MethodHead {
			_, _ = w.Write(source.body)
		}
	default:
		h["Etag"] = source.etag
		http.ServeContent(w, r, "", time.Time{}, a.reader(source))
	}
}

func (a answer) reader(source *file) io.ReadSeeker {
	if a.disk != nil {
		return a.disk
	}
	return bytes.NewReader(source.body)
}

// plain reports whether a request asks for a whole file without conditions.
func plain(r *http.Request) bool {
	for _, name := range []string{"Range", "If-None-Match", "If-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since"} {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	return true
}

// redirect changes the end of the path that the visitor asked for, prefix and all.
// The answer is kept by nobody: the next build may do otherwise.
func redirect(w http.ResponseWriter, r *http.Request, change slashChange) {
	to := url.URL{Path: strings.TrimSuffix(r.URL.Path, "/"), RawQuery: r.URL.RawQuery}
	if change == addSlash {
		to.Path += "/"
	}
	h := w.Header()
	h.Set("Location", to.String())
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func writeText(w http.ResponseWriter, r *http.Request, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, text+"\n")
	}
}

// servable reports whether a name may be looked up at all: no way up, no odd bytes,
// nothing hidden but .well-known.
func servable(name string) bool {
	if !fs.ValidPath(name) || strings.ContainsAny(name, "\x00\\") {
		return false
	}
	name = strings.TrimPrefix(name, ".well-known/")
	return !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.")
}

// wantsDocument reports whether a browser is going to show the answer as a page.
func wantsDocument(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
