package site

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// html rewrites attributes, style sheets and scripts of a document, and puts live, if
// there is any, at the end of its head. Its text and comments stay.
func (rw *rewriter) html(src, live []byte) ([]byte, bool) {
	if !rw.mentioned(src) && !rw.mayRefresh(src) && (len(live) == 0 || !headEnds(src)) {
		return src, false
	}
	var swaps []swap
	pass := htmlPass{rw: rw, live: live, swaps: &swaps}
	out := make([]byte, 0, len(src)+len(src)/8+len(live))
	z := html.NewTokenizer(bytes.NewReader(src))
	read := 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			out = append(out, src[read:]...) // a tag without an end
			break
		}
		raw := z.Raw()
		read += len(raw)
		out = pass.token(out, kind, raw)
	}
	if !pass.changed {
		return src, false
	}
	return swapHashes(out, swaps), true
}

// headEnds reports whether a document says where its head ends.
func headEnds(src []byte) bool {
	return bytes.Contains(src, []byte("</head")) || bytes.Contains(bytes.ToLower(src), []byte("</head"))
}

// htmlPass goes once over the tokens of a document.
type htmlPass struct {
	rw   *rewriter
	live []byte // what goes at the end of the head, once
	// origins are the addresses of the site itself that the prefix takes the place of.
	origins [][]byte
	// swaps gets the inline scripts and styles that were rewritten; nil: they stay as
	// they are, since a policy names their hashes.
	swaps   *[]swap
	element string // whose raw text comes next
	changed bool
}

// token appends what takes a token's place.
func (p *htmlPass) token(out []byte, kind html.TokenType, raw []byte) []byte {
	element := p.element
	p.element = ""
	switch kind {
	case html.StartTagToken, html.SelfClosingTagToken:
		p.element = tagName(raw)
		tag, did := p.rw.tag(raw)
		if own, too := replaceOrigins(tag, p.origins, p.rw.prefix); too {
			tag, did = own, true
		}
		p.changed = p.changed || did
		return append(out, tag...)
	case html.TextToken:
		if text, did := p.text(element, raw); did {
			p.changed = true
			return append(out, text...)
		}
	case html.EndTagToken:
		if len(p.live) > 0 && tagName(raw[1:]) == "head" {
			out = append(out, p.live...)
			p.live, p.changed = nil, true
		}
	}
	return append(out, raw...)
}

// text rewrites the raw text of an element.
func (p *htmlPass) text(element string, raw []byte) (text []byte, did bool) {
	switch element {
	case "noscript":
		return p.rw.html(raw, nil)
	case "script":
		text, did = p.rw.js(raw)
	case "style":
		text, did = p.rw.css(raw)
	}
	if !did || p.swaps == nil {
		return nil, false
	}
	*p.swaps = append(*p.swaps, swap{bytes.Clone(raw), text})
	return text, true
}

func (rw *rewriter) mentioned(src []byte) bool {
	for _, needle := range rw.needles {
		if bytes.Contains(src, needle) {
			return true
		}
	}
	return false
}

// tag rewrites the attribute values of a start tag. A tag of which a link was
// rewritten loses its integrity attribute: the linked file may be rewritten too, and
// comes from the same server as the page.
func (rw *rewriter) tag(raw []byte) ([]byte, bool) {
	if tagName(raw) == "meta" && rw.mayRefresh(raw) {
		return rw.refreshTag(raw)
	}
	if !rw.mentioned(raw) {
		return raw, false
	}
	var out []byte
	copied, changed := 0, false
	for a := range attributes(raw) {
		starts := startsInAttribute
		switch name := strings.ToLower(string(raw[a.name:a.nameEnd])); {
		case name == "style":
			starts = startsInStyle
		case strings.HasSuffix(name, "srcset"):
			starts = startsInSrcset
		}
		value, did := rw.references(raw[a.value:a.valueEnd], starts)
		if !did {
			continue
		}
		out = append(append(out, raw[copied:a.value]...), value...)
		copied, changed = a.valueEnd, true
	}
	if !changed {
		return raw, false
	}
	out = append(out, raw[copied:]...)
	for a := range attributes(out) {
		if strings.EqualFold(string(out[a.name:a.nameEnd]), "integrity") {
			return append(out[:a.name:a.name], out[a.end:]...), true
		}
	}
	return out, true
}

// refreshTarget finds a root-absolute address in the content of a meta refresh; its group
// is the address.
var refreshTarget = regexp.MustCompile(`(?i)^\s*[\d.]+\s*[;,\s]\s*(?:url\s*=\s*)?(?:["']|&quot;|&#39;)?(/(?:[^/\\].*)?)$`)

// mayRefresh reports whether there may be a page that leads to another at once, as Astro
// makes them of its redirects: some browsers say to nobody from which page they come then.
func (rw *rewriter) mayRefresh(src []byte) bool {
	return len(rw.prefix) > 0 && bytes.Contains(bytes.ToLower(src), []byte("refresh"))
}

// refreshTag puts the prefix before the address of a meta refresh that has none.
func (rw *rewriter) refreshTag(raw []byte) ([]byte, bool) {
	refreshes, at := false, -1
	for a := range attributes(raw) {
		value := raw[a.value:a.valueEnd]
		switch strings.ToLower(string(raw[a.name:a.nameEnd])) {
		case "http-equiv":
			refreshes = strings.EqualFold(strings.TrimSpace(string(value)), "refresh")
		case "content":
			if m := refreshTarget.FindSubmatchIndex(value); m != nil {
				at = a.value + m[2]
			}
		}
	}
	if !refreshes || at < 0 {
		return raw, false
	}
	if rest, had := bytes.CutPrefix(raw[at:], rw.prefix); had && len(rest) > 0 && strings.IndexByte(space+`/?#"'>`, rest[0]) >= 0 {
		return raw, false
	}
	return slices.Concat(raw[:at], rw.prefix, raw[at:]), true
}

// tagName is Tokenizer.TagName, which would write lower case into the raw tag.
func tagName(raw []byte) string {
	end := skip(raw, 1, func(c byte) bool { return strings.IndexByte(space+"/>", c) < 0 })
	return strings.ToLower(string(raw[1:end]))
}

const space = " \t\r\n\f"

// attribute is where an attribute lies in its tag.
type attribute struct{ name, nameEnd, value, valueEnd, end int }

// attributes walks over the attributes of a raw start tag that have a value.
func attributes(raw []byte) func(yield func(attribute) bool) {
	return func(yield func(attribute) bool) {
		i := skip(raw, 1, func(c byte) bool { return strings.IndexByte(space+"/>", c) < 0 })
		for i < len(raw) {
			i = skip(raw, i, func(c byte) bool { return strings.IndexByte(space+"/", c) >= 0 })
			a := attribute{name: i}
			i = skip(raw, min(i+1, len(raw)), func(c byte) bool { return strings.IndexByte(space+"/>=", c) < 0 })
			a.nameEnd = i
			i = skip(raw, i, func(c byte) bool { return strings.IndexByte(space, c) >= 0 })
			if i >= len(raw) || raw[i] != '=' {
				continue
			}
			i = skip(raw, i+1, func(c byte) bool { return strings.IndexByte(space, c) >= 0 })
			if i >= len(raw) {
				return
			}
			if quote := raw[i]; quote == '"' || quote == '\'' {
				a.value = i + 1
				a.valueEnd = skip(raw, i+1, func(c byte) bool { return c != quote })
				i = min(a.valueEnd+1, len(raw))
			} else {
				a.value = i
				i = skip(raw, i, func(c byte) bool { return strings.IndexByte(space+">", c) < 0 })
				a.valueEnd = i
			}
			a.end = i
			if !yield(a) {
				return
			}
		}
	}
}

// skip returns the first index from i on at which while does not hold.
func skip(b []byte, i int, while func(byte) bool) int {
	for i < len(b) && while(b[i]) {
		i++
	}
	return i
}

// swap is an inline script or style before and after.
type swap struct{ before, after []byte }

// swapHashes keeps a content security policy in the page (Astro can write one) true
// to the inline scripts and styles that were rewritten.
func swapHashes(page []byte, swaps []swap) []byte {
	hashes := []struct {
		name string
		sum  func([]byte) []byte
	}{
		{"sha256-", func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
		{"sha384-", func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
		{"sha512-", func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
	}
	for _, h := range hashes {
		if !bytes.Contains(page, []byte(h.name)) {
			continue
		}
		for _, s := range swaps {
			before := h.name + base64.StdEncoding.EncodeToString(h.sum(s.before))
			after := h.name + base64.StdEncoding.EncodeToString(h.sum(s.after))
			page = bytes.ReplaceAll(page, []byte(before), []byte(after))
		}
	}
	return page
}

// startsInAttribute holds at the beginning of a value, and of a string within it,
// also where its quotes are written as entities (the props of an astro-island, the
// document of an iframe).
func startsInAttribute(before []byte) bool {
	return len(bytes.TrimSpace(before)) == 0 || endsWithAny(before, "\"'`(;")
}

// startsInStyle is startsInCSS for a style attribute, where quotes may be entities.
func startsInStyle(before []byte) bool {
	return startsInCSS(before) || endsWithAny(before, ";")
}

// startsInSrcset holds at each candidate of a srcset.
func startsInSrcset(before []byte) bool {
	return len(before) == 0 || endsWithAny(before, ", \t\r\n\f")
}
