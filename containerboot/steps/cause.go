package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
)

const (
	// maxCause bounds the sentence that an editor reads, in bytes.
	maxCause = 300
	// detailLines is how many of the last lines the operator gets.
	detailLines = 40
	// maxSource is how large a file may be, in bytes, for its lines to be counted.
	maxSource = 1 << 20
)

const diskFull = "The disk is full."

// isDiskFull reports whether an error is that of a full disk.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

var noSpace = regexp.MustCompile(`ENOSPC|(?i:no space left on device|disk quota exceeded)`)

// knownFaults are what a tool's output can say that has the same cause in every site.
var knownFaults = []struct {
	pattern   *regexp.Regexp
	cause     string
	retryable bool
}{
	{noSpace, diskFull, true},
	{outOfMemory, noMemory, false},
	{regexp.MustCompile(`^npm \S+ code (E401|E403|ENEEDAUTH)$`), "The package registry refused access.", false},
	{regexp.MustCompile(`^npm \S+ code (ENOTFOUND|ETIMEDOUT|ESOCKETTIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ENETUNREACH|E5\d\d|E429)$`), noRegistry, true},
	{regexp.MustCompile(`\bERR_PNPM_META_FETCH_FAIL\b|^error An unexpected error occurred: "https?://|\bYN0001\b.*RequestError`), noRegistry, true},
	{regexp.MustCompile(`^npm \S+ code EBADENGINE$|\bERR_PNPM_UNSUPPORTED_ENGINE\b|The engine "node" is incompatible|is not supported by Astro!`), "The site needs another version of Node", false},
	{regexp.MustCompile(`\bERR_PNPM_(FETCH_404|NO_MATCHING_VERSION)\b|^error Couldn't find (package|any versions)`), "A package that the site needs was not found in the registry", false},
	{regexp.MustCompile(`^npm \S+ code (E404|ETARGET)$`), "A package that the site needs was not found in the registry", false},
	{regexp.MustCompile(`^npm \S+ code ERESOLVE$`), "The packages that the site needs do not fit together", false},
	{regexp.MustCompile(`^npm \S+ code EJSONPARSE$`), "The package.json of the site is not valid JSON", false},
}

// explain makes a failure of a step's error. what begins the sentence where nothing
// better is known ("The build failed").
func (b *Builder) explain(phase bootapi.Phase, what string, err error) error {
	f := &Error{Failure: bootapi.Failure{Phase: phase, Cause: what + "."}, err: err}
	if failed := (*Error)(nil); errors.As(err, &failed) {
		return err
	}
	if failed := b.asFault(phase, err); failed != nil {
		return failed
	}
	f.Detail = detailOf(err)
	run := (*tool.Error)(nil)
	isRun := errors.As(err, &run)
	missing := (*exec.Error)(nil)
	switch {
	case isDiskFull(err):
		f.Cause, f.Retryable = diskFull, true
	case errors.Is(err, tool.ErrCrowded):
		f.Cause = what + ": it started too many processes."
	case errors.Is(err, context.DeadlineExceeded):
		f.Cause, f.Retryable = what+": it took too long.", true
	case errors.Is(err, context.Canceled):
		f.Cause, f.Retryable = what+": it was stopped.", true
	case errors.As(err, &missing):
		f.Cause = fmt.Sprintf("%s: the program %q is not installed here.", what, missing.Name)
	case isRun:
		f.Cause, f.Retryable = b.causeOf(what, run)
	}
	return f
}

// detailOf is what an operator is told of an error: of a tool's, its last lines.
func detailOf(err error) string {
	run := (*tool.Error)(nil)
	if !errors.As(err, &run) {
		return err.Error()
	}
	return strings.Join(append([]string{run.Error()}, lastOf(run.Lines, detailLines)...), "\n")
}

// reason is what a tool's output says is wrong, without the step that failed.
func (b *Builder) reason(run *tool.Error) string {
	cause, _ := b.causeOf("", run)
	return strings.TrimPrefix(cause, ": ")
}

// causeOf finds the sentence in a tool's output that says what is wrong.
func (b *Builder) causeOf(what string, run *tool.Error) (cause string, retryable bool) {
	lines := run.Lines
	for _, k := range knownFaults {
		for i, line := range lines {
			if !k.pattern.MatchString(line) {
				continue
			}
			switch {
			case k.cause == noMemory:
				return noMemory + limitText(), false
			case k.cause == noRegistry:
				return noRegistry + silent(lines), true
			case strings.HasSuffix(k.cause, "."):
				return k.cause, k.retryable
			}
			return shorten(k.cause + ": " + npmMessage(lines[i+1:], line)), k.retryable
		}
	}
	if run.Killed() {
		return noMemory + limitText(), false
	}
	message, location := findMessage(lines)
	if network.MatchString(message) {
		if host := silentHost(lines); host != "" {
			return shorten(fmt.Sprintf("%s: the host %s on the network does not answer (%s).", what, host, strings.TrimSuffix(b.inSite(message), "."))), true
		}
	}
	if message == "" {
		return fmt.Sprintf("%s: %s ended with status %d.", what, run.Name, run.Code), false
	}
	message, location = b.inSite(message), plausible(location)
	if location = b.inSite(location); location != "" && !strings.Contains(message, strings.TrimSuffix(location, lineOf(location))) {
		message = location + ": " + message
	}
	return shorten(what + ": " + message), false
}

// npmMessage is npm's first sentence after its error code.
func npmMessage(lines []string, fallback string) string {
	for _, line := range lines {
		if m := npmLine.FindStringSubmatch(line); m != nil && strings.TrimSpace(m[1]) != "" {
			return strings.TrimSpace(m[1])
		}
	}
	return fallback
}

var (
	npmLine    = regexp.MustCompile(`^npm (?:error|ERR!)\s+(?:\d{3}\s+|[A-Z]+\s+)?(.*)$`)
	npmNoise   = regexp.MustCompile(`^(npm (error|ERR!|warn|WARN|notice|info)|> )`)
	stackLine  = regexp.MustCompile(`^\s+at |^Node\.js v\d|^\s*\^+\s*$`)
	timeStamp  = regexp.MustCompile(`^\d\d:\d\d:\d\d `)
	stackTitle = regexp.MustCompile(`^\s*Stack trace:`)
	astroError = regexp.MustCompile(`^(?:\d\d:\d\d:\d\d )?\[ERROR\]\s*(?:\[[^\]]+\]\s*)?(.*)$`)
	buildLabel = regexp.MustCompile(`Build failed in |^✗ `)
	// pageLine is Astro's line for a page, to which a failure's message is glued.
	pageLine   = regexp.MustCompile(`^(?:\d\d:\d\d:\d\d )?\s*[├└]─ (/\S*?\.html)\s*(\S.*)$`)
	errorLine  = regexp.MustCompile(`^(?:Uncaught )?(?:\[\w*Error\]|\w*Error\b)`)
	complaint  = regexp.MustCompile(`(?i)\berror\b|\bfailed\b|\bcannot\b|not found`)
	fileRef    = regexp.MustCompile(`(/[^\s:()]+):(\d+)(?::\d+)?`)
	fileLabel  = regexp.MustCompile(`^file: (/[^:]+)(?::(\d+))?`)
	lineSuffix = regexp.MustCompile(` line \d+$`)
)

// findMessage finds the message of a failure and where in the site it happened
// ("/path/to/file line 12", or "page /index.html"); both may be empty.
func findMessage(lines []string) (message, location string) {
	for i, line := range slices.Backward(lines) {
		if stackTitle.MatchString(line) {
			if message, location = astroMessage(lines[:i]); message != "" {
				return message, location
			}
		}
	}
	for i, line := range slices.Backward(lines) {
		if errorLine.MatchString(line) {
			return line, thrownAt(lines[:i])
		}
	}
	last := ""
	for _, raw := range slices.Backward(lines) {
		line := strings.TrimSpace(raw)
		if line == "" || npmNoise.MatchString(raw) || stackLine.MatchString(raw) {
			continue
		}
		if last == "" {
			last = line
		}
		if complaint.MatchString(line) {
			return line, ""
		}
	}
	return last, ""
}

// astroMessage reads the block above "Stack trace:" from below: indented details,
// among them the location, then the message, then the log.
func astroMessage(lines []string) (message, location string) {
	for i := len(lines) - 1; i >= 0 && i >= len(lines)-30; i-- {
		line := lines[i]
		if m := fileLabel.FindStringSubmatch(line); m != nil {
			if location == "" {
				location = m[1] + lineText(m[2])
			}
			continue
		}
		if m := pageLine.FindStringSubmatch(line); m != nil {
			return m[2], "page " + m[1]
		}
		if m := astroError.FindStringSubmatch(line); m != nil {
			if message == "" || (m[1] != "" && !buildLabel.MatchString(m[1])) {
				message = m[1]
			}
			return message, location
		}
		switch {
		case timeStamp.MatchString(line):
			return message, location
		case strings.HasPrefix(line, " "):
			if m := fileRef.FindStringSubmatch(line); m != nil && location == "" && !strings.Contains(line, "://") {
				location = m[1] + lineText(m[2])
			}
		case line != "":
			message = line // the uppermost wins: it is the first of several
		}
	}
	return message, location
}

// thrownAt is the file and line that Node prints above an uncaught error.
func thrownAt(lines []string) string {
	for i := len(lines) - 1; i >= 0 && i >= len(lines)-6; i-- {
		line := strings.TrimPrefix(lines[i], "file://")
		if m := fileRef.FindStringSubmatch(line); m != nil && m[0] == line {
			return m[1] + lineText(m[2])
		}
	}
	return ""
}

func lineText(number string) string {
	if number == "" {
		return ""
	}
	return " line " + number
}

// plausible takes the line off a location that the file does not have: compilers
// sometimes count in what they made of it.
func plausible(location string) string {
	text := lineOf(location)
	file := strings.TrimSuffix(location, text)
	if text == "" {
		return location
	}
	line, err := strconv.Atoi(strings.TrimPrefix(text, " line "))
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return location
	}
	data, err := os.ReadFile(file)
	if err != nil || line <= bytes.Count(data, []byte("\n"))+1 {
		return location
	}
	return file
}

func lineOf(location string) string { return lineSuffix.FindString(location) }

// inSite takes the machine's paths out of a text.
func (b *Builder) inSite(text string) string {
	roots := []string{b.dir, b.cfg.Workspace}
	if workspace, err := filepath.EvalSymlinks(b.cfg.Workspace); err == nil && workspace != b.cfg.Workspace {
		roots = append(roots, filepath.Join(workspace, filepath.FromSlash(b.cfg.Site.Directory)), workspace)
	}
	for _, root := range roots {
		text = strings.ReplaceAll(text, "file://"+root+"/", "")
		text = strings.ReplaceAll(text, root+"/", "")
	}
	return text
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

func lastOf(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }
