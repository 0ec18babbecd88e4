package steps

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	npmLine      = regexp.MustCompile(`^npm (?:error|ERR!)\s+(?:\d{3}\s+|[A-Z]+\s+|notarget\s+|JSON\.parse Invalid package\.json: JSONParseError: )?(.*)$`)
	npmPrefix    = regexp.MustCompile(`^npm (?:error|ERR!) ?`)
	npmResource  = regexp.MustCompile(`The requested resource '([^']+)'`)
	npmUnfit     = regexp.MustCompile(`Not compatible with your version of node/npm: (\S+)$`)
	npmWants     = regexp.MustCompile(`Required: +\{.*"node":"([^"]+)"`)
	npmNoTarget  = regexp.MustCompile(`No matching version found for (\S+?)\.?$`)
	npmFound     = regexp.MustCompile(`^npm \S+ Found: (\S+)`)
	npmPeer      = regexp.MustCompile(`^npm \S+ peer (\S+) from (\S+)`)
	npmPath      = regexp.MustCompile(`^npm \S+ path (/.+)$`)
	npmOfPackage = regexp.MustCompile(`^npm \S+ code \S+$`)
	npmCommand   = regexp.MustCompile(`^npm \S+ command sh -c `)
)

// npms is what npm says.
var npms = []known{
	{says: regexp.MustCompile(`^npm \S+ code (E401|E403|ENEEDAUTH)$`), cause: registryRefuses},
	{says: regexp.MustCompile(`^npm \S+ code (ENOTFOUND|E\w*TIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ENETUNREACH|E5\d\d|E429)$`), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`^npm \S+ code (\w*CERT\w*|UNABLE_TO_\w+)$`), cause: registryUntrusted},
	{says: regexp.MustCompile(`^npm \S+ code EBADENGINE$`), cause: npmEngines},
	{says: regexp.MustCompile(`^npm \S+ code (E404|ETARGET)$`), cause: func(o output, at int, _ []string) string {
		if what := o.after(at, npmResource); what != "" {
			return noPackage + what + "."
		}
		if what := o.after(at, npmNoTarget); what != "" {
			return noPackage + what + "."
		}
		return noPackage + o.npmMessage(at)
	}},
	{says: regexp.MustCompile(`^npm \S+ code ERESOLVE$`), cause: func(o output, at int, _ []string) string {
		const cause = "The packages that the site needs do not fit together: "
		if i, peer := o.find(npmPeer); peer != nil && i > at {
			return fmt.Sprintf("%s%s needs %s, and %s is asked for.", cause, peer[2], strings.ReplaceAll(peer[1], `"`, ""), o.after(at, npmFound))
		}
		return cause + o.npmMessage(at)
	}},
	{says: regexp.MustCompile(`^npm \S+ code EJSONPARSE$`), cause: func(o output, at int, _ []string) string { return badManifest + o.npmMessage(at) }},
	{says: npmPath, cause: npmScript},
	{says: regexp.MustCompile(`is not supported by Astro!`), cause: func(o output, at int, _ []string) string { return nodeTooOld + o.lines[at] }},
}

// npmMessage is npm's first sentence after its error code.
func (o output) npmMessage(at int) string {
	for _, line := range o.lines[at+1:] {
		if m := npmLine.FindStringSubmatch(line); m != nil && strings.TrimSpace(m[1]) != "" {
			return strings.TrimSpace(m[1])
		}
	}
	return o.lines[at]
}

// npmEngines says which package does not run on the Node that there is, where npm is told
// to be strict about it.
func npmEngines(o output, at int, _ []string) string {
	who, wants := o.after(at, npmUnfit), o.after(at, npmWants)
	if who == "" || wants == "" {
		return nodeTooOld + o.npmMessage(at)
	}
	return nodeTooOld + who + " needs " + wants + "."
}

// npmScript says which package's script failed: npm names its folder, and what the
// script printed follows. What a script of the site's own printed came before.
func npmScript(o output, at int, path []string) string {
	if !o.has(npmOfPackage) || slices.Contains(o.own, path[1]) {
		return ""
	}
	command, groups := output{lines: o.lines[at:]}.find(npmCommand)
	if groups == nil {
		return ""
	}
	var printed []string
	for _, line := range o.lines[at+command+1:] {
		if rest := npmPrefix.ReplaceAllString(line, ""); rest != line && !strings.HasPrefix(rest, "A complete log of this run") {
			printed = append(printed, rest)
		}
	}
	return scriptFailed(packageIn(path[1]), printed)
}
