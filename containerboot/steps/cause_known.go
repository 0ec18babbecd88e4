package steps

import (
	"errors"
	"regexp"
	"slices"
	"syscall"
)

const (
	diskFull       = "The disk is full."
	tooManyWatched = "This machine cannot watch so many files for changes: whoever runs it has to raise fs.inotify.max_user_watches."
)

// isDiskFull reports whether an error is that of a full disk.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

var noSpace = regexp.MustCompile(`ENOSPC|(?i:no space left on device|disk quota exceeded)`)

// known is what a tool can say that has the same cause in every site.
type known struct {
	// says is found in a line.
	says *regexp.Regexp
	// cause makes the sentence, of the output, the line and its groups; "" if that is not
	// the cause after all.
	cause     func(o output, at int, groups []string) string
	retryable bool
}

// output is what a tool printed, and what it ran in: its environment and the folders of
// the site and its workspace.
type output struct {
	lines    []string
	env, own []string
}

// find returns the first line that matches, and what its groups are; nil for none.
func (o output) find(r *regexp.Regexp) (at int, groups []string) {
	for i, line := range o.lines {
		if m := r.FindStringSubmatch(line); m != nil {
			return i, m
		}
	}
	return 0, nil
}

// after returns the first group of the first match from a line on; "" for none.
func (o output) after(at int, r *regexp.Regexp) string {
	for _, line := range o.lines[at:] {
		if m := r.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	return ""
}

// variable returns a variable of the environment.
func (o output) variable(name string) string {
	for _, kv := range slices.Backward(o.env) {
		if len(kv) > len(name) && kv[:len(name)] == name && kv[len(name)] == '=' {
			return kv[len(name)+1:]
		}
	}
	return ""
}

// always is a cause that needs no more words.
func always(cause string) func(output, int, []string) string {
	return func(output, int, []string) string { return cause }
}

// anyTools is what every program may say.
var anyTools = []known{
	// It has the code of a full disk.
	{says: regexp.MustCompile(`System limit for number of file watchers reached`), cause: always(tooManyWatched)},
	{says: noSpace, cause: always(diskFull), retryable: true},
	{says: regexp.MustCompile(`(?i)heap out of memory`), cause: heapText},
	{says: regexp.MustCompile(`^Killed$|\bENOMEM\b|^npm \S+ signal SIGKILL$`), cause: func(output, int, []string) string { return noMemory + limitText() }},
}

const (
	noPackage   = "A package that the site needs was not found in the registry: "
	nodeTooOld  = "The site needs another version of Node: "
	noPython    = "it is compiled when it is installed, which needs Python, and there is none here"
	noCompiler  = "it is compiled when it is installed, which needs a C++ compiler, and there is none here"
	badManifest = "The package.json of the site is not valid JSON: "
)

var (
	gypPython   = regexp.MustCompile(`Could not find any Python installation`)
	gypCompiler = regexp.MustCompile(`gyp ERR! stack Error: not found: (?:make|g\+\+|cc|gcc)\b|\bg\+\+: (?:command )?not found|make: g\+\+: No such file`)
)

// scriptFailed says that a package's install script failed, and why if that can be told.
func scriptFailed(pkg string, lines []string) string {
	var reason string
	switch said := (output{lines: lines}); {
	case said.has(gypPython):
		reason = noPython
	case said.has(gypCompiler):
		reason = noCompiler
	default:
		reason = findingIn(lines).message
	}
	return joinNonempty(": ", "The install script of the package "+pkg+" failed", reason)
}

func (o output) has(r *regexp.Regexp) bool {
	_, groups := o.find(r)
	return groups != nil
}
