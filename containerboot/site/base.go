package site

import (
	"io"
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

// findBase returns the path at which the site itself expects to be, "" for the root. Astro's
// option base puts it before links and leaves it out of the folder, where a host has to
// know it; its pages tell.
func (b *build) findBase() string {
	if b.program != nil {
		return "" // it serves below its base itself
	}
	link := assetLink(b.assets)
	for _, name := range []string{"index.html", "404.html"} {
		f, err := b.openFile(name)
		if err != nil {
			continue
		}
		page, err := io.ReadAll(io.LimitReader(f, maxBasePage))
		f.Close()
		if err != nil {
			continue
		}
		if m := link.FindSubmatch(page); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// below takes the site's base off a path that has it.
func (b *build) below(urlPath string) string {
	path, _ := TrimPrefix(urlPath, b.base)
	return path
}
