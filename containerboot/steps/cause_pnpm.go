package steps

import (
	"regexp"
	"strings"
)

var pnpmError = regexp.MustCompile(`^[\s\p{Z}]*ERR_PNPM_\w+[\s\p{Z}]+(.+)$`)

// pnpms is what pnpm says.
var pnpms = []known{
	{says: regexp.MustCompile(`\bERR_PNPM_FETCH_40[13]\b`), cause: registryRefuses},
	{says: regexp.MustCompile(`\bERR_PNPM_META_FETCH_FAIL\b.*(?:` + certificate.String() + `)`), cause: registryUntrusted},
	{says: regexp.MustCompile(`\bERR_PNPM_(?:META_FETCH_FAIL|FETCH_5\d\d|FETCH_429|REQUEST_TIMEOUT)\b`), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`\bERR_PNPM_UNSUPPORTED_ENGINE\b`), cause: func(o output, at int, _ []string) string { return nodeTooOld + o.pnpmMessage(at) }},
	{says: regexp.MustCompile(`\bERR_PNPM_FETCH_404\b.*?GET https?://[^/\s]+/(\S+):`), cause: func(_ output, _ int, m []string) string { return noPackage + m[1] + "." }},
	{says: regexp.MustCompile(`\bERR_PNPM_NO_MATCHING_VERSION\b.*?found for (\S+)`), cause: func(_ output, _ int, m []string) string { return noPackage + m[1] + "." }},
	{says: regexp.MustCompile(`^(\S*node_modules/\S+ (?:pre|post)?install): Failed$`), cause: func(o output, at int, m []string) string {
		var printed []string
		for _, line := range o.lines[:at] {
			if rest, ok := strings.CutPrefix(line, m[1]+": "); ok {
				printed = append(printed, rest)
			}
		}
		pkg, _, _ := strings.Cut(m[1], " ")
		return scriptFailed(packageIn(pkg), printed)
	}},
	{says: pnpmError, cause: func(_ output, _ int, m []string) string { return installFailed + ": " + m[1] }},
}

// pnpmMessage is what pnpm says after its error code.
func (o output) pnpmMessage(at int) string {
	if m := pnpmError.FindStringSubmatch(o.lines[at]); m != nil {
		return m[1]
	}
	return strings.TrimSpace(o.lines[at])
}
