package steps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// maxOutput bounds what a build may leave, in bytes: it is copied, and kept in the
	// client's cache, which has no room for more.
	maxOutput = distBytes
	// maxNamed is how many of the files that were found are named.
	maxNamed = 5
)

// checkSize refuses an output that is too large before it fills the disk a second time.
func (b *Builder) checkSize(dir string) error {
	var bytes, largest int64
	name := ""
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(path) // a link to a file is copied as that
		if err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // it is not copied
		}
		bytes += info.Size()
		if info.Size() > largest {
			largest, name = info.Size(), path
		}
		return nil
	})
	if err != nil {
		return b.explain(bootapi.PhaseBuilding, "Keeping the build failed", err)
	}
	if bytes <= maxOutput {
		return nil
	}
	if rel, err := filepath.Rel(dir, name); err == nil {
		name = filepath.ToSlash(rel)
	}
	return fail(bootapi.PhaseBuilding, errTooLarge, "The build left %d MB in the folder %q, of which %d MB are %s: at most %d MB can be served.",
		bytes>>20, filepath.ToSlash(b.output), largest>>20, name, int64(maxOutput)>>20)
}

// errTooLarge tells the operator what may be wrong.
var errTooLarge = errors.New("large files belong on a host for downloads, not among the pages")

// contentOf names what a folder holds instead of a page: ": it is empty", or some of it.
func contentOf(dir string) string {
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return ""
	case len(entries) == 0:
		return ", which is empty"
	}
	var names []string
	for _, e := range entries[:min(len(entries), maxNamed)] {
		names = append(names, e.Name())
	}
	if more := len(entries) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return ", only " + strings.Join(names, ", ")
}

// elsewhere names the folders of the site's that the build has written a home page to.
func (b *Builder) elsewhere() string {
	var found []string
	for _, pattern := range []string{"*", "*/*"} {
		pages, err := filepath.Glob(filepath.Join(globEscape(b.dir), pattern, homePage))
		if err != nil {
			continue
		}
		for _, page := range pages {
			dir, err := filepath.Rel(b.dir, filepath.Dir(page))
			info, statErr := os.Lstat(page)
			switch {
			case err != nil || statErr != nil || !info.Mode().IsRegular() || info.ModTime().Before(b.began.Add(-time.Second)): // by a coarser clock
			case strings.Contains(dir, modulesName) || dir == b.output || strings.HasPrefix(dir, b.output+string(filepath.Separator)):
			case len(found) < maxNamed:
				found = append(found, fmt.Sprintf("%q", filepath.ToSlash(dir)))
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return ", but has written pages to " + strings.Join(found, " and ") + " (build.output says which)"
}

// globEscape makes a path a pattern for itself.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
