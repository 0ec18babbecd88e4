package steps

import (
	"regexp"
	"slices"
	"strings"
)

// finding is what a tool's output says of a failure.
type finding struct {
	message string
	spot    spot
}

var (
	npmNoise  = regexp.MustCompile(`^(npm (error|ERR!|warn|WARN|notice|info)|> |[\s\p{Z}]*ELIFECYCLE|error Command failed|info Visit https://yarnpkg)`)
	stackLine = regexp.MustCompile(`^\s+at |^Node\.js v\d|^\s*\^+\s*$|^\s*[}\])]*,?$|^\s+\w+: .*[,}]$`)
	errorLine = regexp.MustCompile(`^(?:Uncaught )?(?:\[\w*Error\]|\w*Error\b)`)
	// thrown is an error of another name, above its stack.
	thrown     = regexp.MustCompile(`^[A-Z]\w+: \S`)
	complaint  = regexp.MustCompile(`(?i)\berror\b|\bfailed\b|\bcannot\b|not found`)
	diagnostic = regexp.MustCompile(`^(\S+):(\d+):\d+ - error (?:ts\(\d+\)|TS\d+): ?(.*)$`)
)

// findingIn finds the message of a failure and where in the site it happened: as Astro
// says it, as compilers of TypeScript do, as Node does of an error that nobody caught, or
// else the last line that sounds like it.
func findingIn(lines []string) finding {
	if f := astroFinding(lines); f.message != "" {
		return f
	}
	for _, line := range lines {
		if m := diagnostic.FindStringSubmatch(line); m != nil {
			return finding{m[3], newSpot(m[1], m[2])}
		}
	}
	for i, line := range slices.Backward(lines) {
		if errorLine.MatchString(line) || thrown.MatchString(line) && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    at ") {
			return finding{line, thrownAt(lines[:i], lines[i+1:])}
		}
	}
	last, complains := lastComplaint(lines, complaint.MatchString)
	if complains != "" {
		return finding{message: complains}
	}
	return finding{message: last}
}

// lastComplaint returns the last line that says something, and the last one that is matches.
func lastComplaint(lines []string, is func(string) bool) (last, complains string) {
	for _, raw := range slices.Backward(lines) {
		line := strings.TrimSpace(raw)
		if line == "" || npmNoise.MatchString(raw) || stackLine.MatchString(raw) {
			continue
		}
		if last == "" {
			last = line
		}
		if is(line) {
			return last, line
		}
	}
	return last, ""
}

// stackFrame is a line of a stack, with a file.
var stackFrame = regexp.MustCompile(`^\s+at (?:.*[ (])?(?:file://)?(/[^\s():]+):(\d+):\d+\)?(?: \{)?$`)

// thrownAt is the file and line that Node prints above an uncaught error, or else the
// first of its stack that is not a package's.
func thrownAt(above, below []string) spot {
	for _, line := range slices.Backward(lastOf(above, 6)) {
		if s := spotOf(line); s.file != "" {
			return s
		}
	}
	for _, line := range below {
		if !strings.HasPrefix(strings.TrimSpace(line), "at ") {
			break
		}
		if m := stackFrame.FindStringSubmatch(line); m != nil {
			if s := newSpot(m[1], m[2]); s.file != "" {
				return s
			}
		}
	}
	return spot{}
}
