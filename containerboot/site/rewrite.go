package site

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// rewriter puts the prefix before root-absolute references to the asset folders.
//
// JavaScript is rewritten too, where a string literal begins with the folder's path:
// a page that loads /session/{id}/_astro/a.js in one place and /_astro/a.js in
// another (which the edge redirects) would run that module twice, with two states.
// A literal of that form can hardly mean anything else. Regular expressions and
// strings that only contain the path stay.
type rewriter struct {
	prefix  []byte // as it stands in a URL, safe within quotes, url() and srcset
	needles [][]byte
	// preload finds Vite's function that makes a URL of the file of a chunk
	// ("_astro/x.js") before a dynamic import; its group is the slash.
	preload *regexp.Regexp
}

func newRewriter(prefix string, assets []string) *rewriter {
	rw := &rewriter{
		prefix:  []byte(escapePath(prefix)),
		preload: regexp.MustCompile("[\"'`]modulepreload[\"'`][,;]\\s*(?:const )?[\\w$]+\\s*=\\s*function\\([\\w$]+\\)\\s*\\{\\s*return\\s*[\"'`](/)[^\"'`]*[\"'`]\\s*\\+"),
	}
	return rw.of(assets)
}

// of is the rewriter of a site with other asset folders.
func (rw *rewriter) of(assets []string) *rewriter {
	own := *rw
	own.needles = nil
	for _, dir := range assets {
		own.needles = append(own.needles, []byte("/"+dir))
	}
	return &own
}

// below is the rewriter of a site that links its asset folders with a base before them.
func (rw *rewriter) below(base string) *rewriter {
	own := *rw
	own.needles = slices.Clone(rw.needles)
	for _, needle := range rw.needles {
		own.needles = append(own.needles, append([]byte(base), needle...))
	}
	return &own
}

// rewriteFunc returns src with the prefix in its references, and whether there were
// any. It returns src itself where there were none, and never changes it.
type rewriteFunc func(src []byte) (out []byte, changed bool)

// forType returns what rewrites a file of that name, nil for a type that is served
// as it is. Documents get live at the end of their head.
func (rw *rewriter) forType(name string, live []byte) rewriteFunc {
	prefixed := len(rw.prefix) > 0
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm":
		if prefixed || len(live) > 0 {
			return func(src []byte) ([]byte, bool) { return rw.html(src, live) }
		}
	case ".css":
		if prefixed {
			return rw.css
		}
	case ".js", ".mjs":
		if prefixed {
			return rw.js
		}
	}
	return nil
}

func (rw *rewriter) css(src []byte) ([]byte, bool) { return rw.references(src, startsInCSS) }

func (rw *rewriter) js(src []byte) ([]byte, bool) {
	src, changed := rw.references(src, startsInJS)
	if at := rw.preload.FindSubmatchIndex(src); at != nil {
		slash := at[2]
		src = slices.Concat(src[:slash], rw.prefix, src[slash:])
		changed = true
	}
	return src, changed
}

// references puts the prefix before each needle in src for which starts holds. What
// starts is given is what stands before the needle.
func (rw *rewriter) references(src []byte, starts func(before []byte) bool) ([]byte, bool) {
	changed := false
	for _, needle := range rw.needles {
		var out []byte
		rest := 0 // src[:rest] is in out
		for at := 0; ; at += len(needle) {
			i := bytes.Index(src[at:], needle)
			if i < 0 {
				break
			}
			at += i
			if !starts(src[:at]) {
				continue
			}
			out = append(append(out, src[rest:at]...), rw.prefix...)
			rest = at
		}
		if out != nil {
			src, changed = append(out, src[rest:]...), true
		}
	}
	return src, changed
}

// startsInCSS holds within url( and at the beginning of a string.
func startsInCSS(before []byte) bool {
	before = bytes.TrimRight(before, " \t\r\n\f")
	return endsWithAny(before, `("'`)
}

// startsInJS holds at the beginning of a string literal, and within url( for styles
// in scripts.
func startsInJS(before []byte) bool {
	return endsWithAny(before, "\"'`") || bytes.HasSuffix(before, []byte("url("))
}

func endsWithAny(b []byte, chars string) bool {
	return len(b) > 0 && strings.IndexByte(chars, b[len(b)-1]) >= 0
}

// escapePath escapes all of a path that could end or change a URL, a string, an
// attribute value or a candidate of a srcset.
func escapePath(p string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/-_.~", c) >= 0:
			out.WriteByte(c)
		default:
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		}
	}
	return out.String()
}
