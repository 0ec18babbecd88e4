package steps

import (
	"regexp"
	"slices"
	"strings"
)

// maxBlock is how many lines of a failure are looked at: Astro shows a part of the source.
const maxBlock = 60

var (
	// astroLabel is the head of one of the parts of what Astro says of an error.
	astroLabel = regexp.MustCompile(`^  (Hint|Error reference|Location|Stack trace):`)
	// astroLine is a line of its log, after which comes what it says of an error.
	astroLine = regexp.MustCompile(`^\d\d:\d\d:\d\d |^\[astro\] |^\[config\] |^> |^ generating `)
	// astroError is such a line which tells of an error itself.
	astroError = regexp.MustCompile(`^(?:\d\d:\d\d:\d\d )?\[ERROR\]\s*(?:\[[^\]]+\]\s*)?(.*)$`)
	rendering  = regexp.MustCompile(`Caught error rendering (/\S*): (?:\w*Error: )?(.*)$`)
	// pageLine is its line for a page, to which a failure's message is glued, and sourceLine
	// that for the file which the page is made from.
	pageLine   = regexp.MustCompile(`^(?:\d\d:\d\d:\d\d )?\s*[├└]─ (/\S*?\.html)\s*(\S.*)$`)
	sourceLine = regexp.MustCompile(`^(?:\d\d:\d\d:\d\d )?▶ (\S+\.\w+)$`)
	buildLabel = regexp.MustCompile(`Build failed in |^✗ |^Failed to call getStaticPaths`)
	badConfig  = regexp.MustCompile(`^\[config\] Astro found issue`)
	badSetting = regexp.MustCompile(`^! (.*)$`)
	// tag begins a message with who says so: "[vite:json] [plugin vite:json]", "[vite]:".
	tag = regexp.MustCompile(`^\[[\w@:/ .-]+\]:?\s+`)
	// ownSpot begins a message with where it was: "src/d.json (1:7): ".
	ownSpot    = regexp.MustCompile(`^(\S+) \((\d+):\d+\): `)
	ownLine    = regexp.MustCompile(`^\d+:\d+: `)
	ownCode    = regexp.MustCompile(` \([a-z-]+:[a-z-]+\)$`)
	couldLoad  = regexp.MustCompile(`^Could not load (\S+) \(imported by [^)]+\): `)
	schemaLine = regexp.MustCompile(`^  (\S.*?)\*\*: \*\*(.*)$`)
	listed     = regexp.MustCompile(`^\s*- (\S.*)$`)
)

// astroFinding reads what Astro says of an error: a line of its log, the message, details
// of it, and the parts "Hint", "Error reference", "Location" and "Stack trace", of which
// some are there. Of several errors the last one has ended the build.
func astroFinding(lines []string) finding {
	if f := configFinding(lines); f.message != "" {
		return f
	}
	end := endOfAstro(lines)
	if end < 0 {
		return finding{}
	}
	begin := end
	for begin > 0 && begin > end-maxBlock && !astroLine.MatchString(lines[begin-1]) {
		begin--
	}
	f := finding{}
	if begin > 0 {
		f = logged(lines, begin-1)
	}
	body := lines[begin:]
	if f.message == "" {
		body = skipEmpty(body)
		if len(body) == 0 {
			return finding{}
		}
		f.message, body = body[0], body[1:]
		if strings.HasSuffix(f.message, " error:") && len(body) > 0 {
			f.message, body = body[0], body[1:]
		}
	}
	f.readDetails(body)
	f.tidy()
	return f
}

// endOfAstro is a line of what Astro says of the last error; -1 for none.
func endOfAstro(lines []string) int {
	for i, line := range slices.Backward(lines) {
		if m := astroError.FindStringSubmatch(line); astroLabel.MatchString(line) || m != nil && buildLabel.MatchString(m[1]) {
			return min(i+1, len(lines)-1)
		}
	}
	return -1
}

// logged reads the log's line above the message, which may have it already, or the page.
func logged(lines []string, at int) finding {
	line := lines[at]
	if m := rendering.FindStringSubmatch(line); m != nil {
		return finding{message: m[2], spot: spot{page: m[1]}}
	}
	if m := pageLine.FindStringSubmatch(line); m != nil {
		f := finding{message: m[2], spot: spot{page: strings.TrimSuffix(m[1], "index.html")}}
		for _, above := range slices.Backward(lines[:at]) {
			if s := sourceLine.FindStringSubmatch(above); s != nil {
				f.spot.file = s[1]
				break
			}
		}
		return f
	}
	if m := astroError.FindStringSubmatch(line); m != nil && !buildLabel.MatchString(m[1]) {
		return finding{message: m[1]}
	}
	return finding{}
}

// readDetails reads what stands below the message.
func (f *finding) readDetails(body []string) {
	location, cause := false, false
	for _, line := range body {
		switch m := schemaLine.FindStringSubmatch(line); {
		case m != nil:
			f.add(m[2])
		case strings.HasPrefix(line, "  Stack trace:"), strings.HasPrefix(line, "Stack backtrace:"):
			return
		case cause:
			f.message = tag.FindString(f.message) + strings.TrimSpace(line)
		case listed.MatchString(line) && strings.HasSuffix(f.message, ":") || listed.MatchString(line) && strings.Contains(f.message, " is missing"):
			f.add(listed.FindStringSubmatch(line)[1])
		}
		if f.spot.file == "" {
			if s := spotOf(strings.TrimSpace(line)); s.file != "" && (location || line != strings.TrimSpace(line) || fileLabel.MatchString(line)) {
				f.spot = spot{file: s.file, line: s.line, page: f.spot.page}
			}
		}
		location, cause = strings.HasPrefix(line, "  Location:"), line == "Caused by:"
	}
}

// add adds to a message what it announced.
func (f *finding) add(part string) {
	if strings.HasSuffix(f.message, ":") {
		f.message += " " + part
		return
	}
	f.message = strings.TrimSuffix(f.message, ".")
	if !strings.Contains(f.message, ": ") {
		f.message += ": " + part
		return
	}
	f.message += ", " + part
}

// tidy takes off a message what only its tool understands.
func (f *finding) tidy() {
	m := strings.TrimPrefix(f.message, "Parse failure: ")
	kind := ""
	switch {
	case strings.HasPrefix(m, "[lightningcss"):
		kind = "a style sheet: "
	case strings.HasPrefix(m, "[builtin:vite-json]") && f.spot.file == "":
		kind = "a JSON file: "
	}
	for tag.MatchString(m) {
		m = tag.ReplaceAllString(m, "")
	}
	if s := ownSpot.FindStringSubmatch(m); s != nil {
		m = m[len(s[0]):]
		if f.spot.file == "" {
			f.spot = newSpot(s[1], s[2])
		}
	}
	if s := couldLoad.FindStringSubmatch(m); s != nil {
		m = m[len(s[0]):]
	}
	m = ownCode.ReplaceAllString(ownLine.ReplaceAllString(m, ""), "")
	m = kind + strings.Replace(m, badEnv, "environment variables that the site needs are not set as they must be (build.env):", 1)
	if m != "" {
		f.message = m
	}
}

// badEnv is how Astro begins to say which variables are missing or wrong.
const badEnv = "The following environment variables defined in `env.schema` are invalid:"

// configFinding reads what Astro says of a configuration whose settings it refuses.
func configFinding(lines []string) finding {
	for i, line := range lines {
		if !badConfig.MatchString(line) {
			continue
		}
		f := finding{message: "Astro does not accept its settings:", spot: spot{file: "astro.config"}}
		for _, detail := range lines[i+1:] {
			if m := badSetting.FindStringSubmatch(detail); m != nil {
				f.add(m[1])
			}
		}
		return f
	}
	return finding{}
}

func skipEmpty(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	return lines
}
