package steps

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// maxSource is how large a file may be, in bytes, for its lines to be counted.
const maxSource = 1 << 20

// spot is where in a site something went wrong, as a tool says it.
type spot struct {
	file string // absolute, or in the site's folder; "" where none is said
	line int    // 0 where none is said
	page string // the address of a page that could not be made
}

var (
	fileRef = regexp.MustCompile(`^(?:file://)?(/?[^\s:()]+):(\d+)(?::\d+)?$`)
	// frame is the head of a picture of the source, as rolldown draws it.
	frame = regexp.MustCompile(`^\s*╭─\[ (.+):(\d+):\d+ \]$`)
	// fileLabel is rollup's "file: /w/src/x.ts:1:2".
	fileLabel = regexp.MustCompile(`^(?:file|At file): (/[^:]+?)(?::(\d+))?(?::\d+)?$`)
)

// spotOf reads a reference of one of those forms; a package's file or none of a site's is none.
func spotOf(ref string) spot {
	for _, form := range []*regexp.Regexp{frame, fileLabel, fileRef} {
		if m := form.FindStringSubmatch(ref); m != nil {
			return newSpot(m[1], m[2])
		}
	}
	return spot{}
}

func newSpot(file, line string) spot {
	if strings.Contains(file, "node_modules") || file == "undefined" || strings.HasPrefix(file, "node:") || strings.HasPrefix(file, "<") {
		return spot{}
	}
	n, err := strconv.Atoi(line)
	if err != nil {
		n = 0
	}
	return spot{file: file, line: n}
}

// placeOf names a spot for people ("src/pages/index.astro line 12"); "" if there is none.
func (b *Builder) placeOf(s spot) string {
	file := filepath.ToSlash(b.inSite(s.file))
	if strings.HasPrefix(file, "/") || strings.HasPrefix(file, "../") {
		file = "" // of the machine, not of the site
	}
	if strings.HasPrefix(file, filepath.ToSlash(b.output)+"/") {
		file = "" // it was made of what is in the site
	}
	switch {
	case file != "" && s.line > 0 && b.hasLine(file, s.line):
		file = fmt.Sprintf("%s line %d", file, s.line)
	case file == "" && s.page != "":
		return "page " + s.page
	case s.page != "":
		return fmt.Sprintf("%s, page %s", file, s.page)
	}
	return file
}

// hasLine reports whether a file of the site has so many lines, or is not known:
// compilers sometimes count in what they made of it.
func (b *Builder) hasLine(file string, line int) bool {
	path, err := realBelow(b.cfg.Workspace, filepath.Join(b.dir, filepath.FromSlash(file)))
	if err != nil {
		return true
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return true
	}
	data, err := os.ReadFile(path)
	return err != nil || line <= bytes.Count(data, []byte("\n"))+1
}
