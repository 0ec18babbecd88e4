package site

import (
	"io"
	"iter"
	"path"
	"regexp"
	"strings"
)

// maxBasePage is how much of a page is looked through for the site's base, in bytes.
const maxBasePage = 1 << 20

// assetLink finds a link to something in the asset folder; its group is what stands before
// that folder.
func assetLink(assets []string) *regexp.Regexp {
	var names []string
	for _, dir := range assets {
		names = append(names, regexp.QuoteMeta(dir))
	}
	return regexp.MustCompile("[\"'(=]\\s*((?:/[A-Za-z0-9_.~%-]+)*)/(?:" + strings.Join(names, "|") + ")")
}

// survey finds out from its first pages where the site expects to be, and in which folder
// its assets are. Astro's options base and build.assets put both before links; a host has
// to know of the first, and the second has another name than is usual.
func (b *build) survey() {
	if b.program != nil {
		b.base = b.program.base
		return
	}
	var pages [][]byte
	for _, name := range []string{"index.html", "404.html"} {
		f, err := b.openFile(name)
		if err != nil {
			continue
		}
		page, err := io.ReadAll(io.LimitReader(f, maxBasePage))
		f.Close()
		if err == nil {
			pages = append(pages, page)
		}
	}
	for _, page := range pages {
		if m := assetLink(b.assets).FindSubmatch(page); m != nil {
			b.base = string(m[1])
			return
		}
	}
	for _, page := range pages {
		if base, assets, ok := b.otherAssets(page); ok {
			b.base, b.assets = base, []string{assets}
			b.rewrite = b.rewrite.of(b.assets)
			return
		}
	}
	for _, page := range pages {
		if b.base = b.baseOfLinks(page); b.base != "" {
			return
		}
	}
}

var (
	// hashedLink is a link to a script or stylesheet with a hash in its name.
	hashedLink = regexp.MustCompile(`(?:href|src|component-url|renderer-url)="((?:/[A-Za-z0-9_.~@-]+)+[.-][A-Za-z0-9_-]{8}\.(?:css|m?js))"`)
	// rootLink is a link to the site itself, from its root.
	rootLink = regexp.MustCompile(`(?:href|src)="(/(?:[^"/?#][^"?#]*)?)["?#]`)
)

// otherAssets finds the asset folder by a link to a file in it.
func (b *build) otherAssets(page []byte) (base, assets string, ok bool) {
	for _, m := range hashedLink.FindAllSubmatch(page, -1) {
		for base, rest := range bases(string(m[1])) {
			if dir, _ := path.Split(rest[1:]); dir != "" && b.has(rest[1:]) {
				return base, dir, true
			}
		}
	}
	return "", "", false
}

// baseOfLinks is what stands before all links of a page to the site's own files; "" where
// one of them leads to a file as it is.
func (b *build) baseOfLinks(page []byte) string {
	found := ""
	for _, m := range rootLink.FindAllSubmatch(page, -1) {
		for base, rest := range bases(string(m[1])) {
			if !b.leads(rest) {
				continue
			}
			if base == "" {
				return ""
			}
			if found == "" {
				found = base
			}
			break
		}
	}
	return found
}

// bases are the ways to divide a path into a base and the rest, the shortest base first.
func bases(urlPath string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := 0; i < len(urlPath); i++ {
			if urlPath[i] == '/' && !yield(urlPath[:i], urlPath[i:]) {
				return
			}
		}
		if !strings.HasSuffix(urlPath, "/") {
			yield(urlPath, "/")
		}
	}
}

// leads reports whether a path leads to a file.
func (b *build) leads(urlPath string) bool {
	name := strings.Trim(urlPath, "/")
	return name != "" && (b.has(name) || b.has(name+".html")) || b.has(path.Join(name, "index.html"))
}

func (b *build) has(name string) bool {
	f, err := b.openFile(name)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// below takes the site's base off a path that has it.
func (b *build) below(urlPath string) string {
	below, _ := TrimPrefix(urlPath, b.base)
	return below
}
