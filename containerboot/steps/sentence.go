package steps

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCause bounds the sentence that an editor reads, in bytes.
const maxCause = 300

// sentence makes a text fit to be shown to an editor: on one line, without what would
// steer a terminal or turn the direction of the text, and not too long. It is not
// escaped: pages do that.
func sentence(s string) string {
	if len(s) > 16*maxCause { // before any work is done on it
		s = s[:16*maxCause]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return shorten(strings.Join(strings.Fields(s), " "))
}

// shorten cuts a sentence to what a page shows.
func shorten(s string) string {
	if len(s) <= maxCause {
		return s
	}
	end := maxCause - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// inModules matches the way to a package's files, wherever they are.
var inModules = regexp.MustCompile(`(?:file://)?/[^\s'"(),:]*/node_modules/`)

// inSite takes the machine's paths out of a text.
func (b *Builder) inSite(text string) string {
	for _, root := range b.roots() {
		text = strings.ReplaceAll(text, "file://"+root+"/", "")
		text = strings.ReplaceAll(text, root+"/", "")
	}
	return inModules.ReplaceAllString(text, "node_modules/")
}

// roots are the folders whose files are named without them: the site's, the workspace's
// and the client's home.
func (b *Builder) roots() []string {
	roots := []string{b.dir, b.cfg.Workspace}
	if workspace, err := filepath.EvalSymlinks(b.cfg.Workspace); err == nil && workspace != b.cfg.Workspace {
		roots = append(roots, filepath.Join(workspace, filepath.FromSlash(b.cfg.Site.Directory)), workspace)
	}
	if b.cfg.Private != "" {
		roots = append(roots, b.cfg.Private)
	}
	return roots
}

// packageIn is the package that a path lies in: what follows its last node_modules, or
// else its last part.
func packageIn(p string) string {
	if i := strings.LastIndex(p, "node_modules/"); i >= 0 {
		parts := strings.Split(p[i+len("node_modules/"):], "/")
		if strings.HasPrefix(parts[0], "@") && len(parts) > 1 {
			return parts[0] + "/" + parts[1]
		}
		return parts[0]
	}
	return path.Base(p)
}
