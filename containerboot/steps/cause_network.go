package steps

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

const noRegistry = "The package registry could not be reached"

var (
	// network matches messages of a connection that failed.
	network = regexp.MustCompile(`(?i)fetch failed|\bENOTFOUND\b|\bEAI_AGAIN\b|\bE(CONN|HOST|NET)(REFUSED|RESET|UNREACH)\b|\bETIMEDOUT\b|Connect ?Timeout|^FetchError|Could not resolve host|` + certificate.String())
	// certificate matches messages of one that is not trusted.
	certificate = regexp.MustCompile(`(?i)self.signed.certificate|unable to (?:verify the first|get (?:local )?issuer) certificate|certificate has expired|certificate is not yet valid|not match certificate's altnames`)
	// hosts match the host of such a connection, with its port where that is said.
	hosts = []*regexp.Regexp{
		regexp.MustCompile(`getaddrinfo (?:ENOTFOUND|EAI_AGAIN) ([^\s",]+)`),
		regexp.MustCompile(`altnames: Host: (\S+?)\. is not`),
		regexp.MustCompile(`attempted address(?:es)?: ([^\s,)]+)`),
		regexp.MustCompile(`Could not resolve host: ([^\s"']+)`),
		regexp.MustCompile(`request to https?://([^/\s]+)\S* failed`),
		// What a site's own log says that it asked may have been answered.
		regexp.MustCompile(`(?:\bERR_PNPM_\w+[\s\p{Z}]+|^npm (?:error|ERR!) .*)\bGET https?://([^/\s]+)`),
		regexp.MustCompile(`Request URL: https?://([^/\s]+)`),
		regexp.MustCompile(`"https?://([^/\s"]+)[^"\s]*: `),
		regexp.MustCompile(`connect E[A-Z]+ ([^\s",]+)`),
	}
	// answered are statuses of a registry that has a fault.
	answered = regexp.MustCompile(`\bE?(5\d\d|429)\b`)
)

// reasons are why a connection failed, in words.
var reasons = []struct {
	says *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`\bENOTFOUND\b|\bEAI_AGAIN\b|Could not resolve host`), "its name was not found"},
	{regexp.MustCompile(`\bECONNREFUSED\b`), "it refuses the connection"},
	{regexp.MustCompile(`(?i)\bE\w*TIMEDOUT\b|Timeout`), "it took too long"},
	{regexp.MustCompile(`\bECONNRESET\b|socket hang up|other side closed`), "it ended the connection"},
	{regexp.MustCompile(`\bE(HOST|NET)UNREACH\b`), "there is no way to it"},
}

// silentHost is the host that the output says did not answer, or "".
func (o output) silentHost() string {
	for _, pattern := range hosts {
		if host := o.after(0, pattern); host != "" {
			return host
		}
	}
	return ""
}

// why says why a connection failed, after a colon; "" if that is not said.
func (o output) why() string {
	for _, r := range reasons {
		if o.has(r.says) {
			return ": " + r.why
		}
	}
	return ""
}

// networkFault is a failure of the network in a build.
type networkFault struct {
	text      string
	retryable bool
}

// networkFault reports whether a message is of a connection that failed, and says of which.
func (o output) networkFault(message string) (networkFault, bool) {
	if !network.MatchString(message) {
		return networkFault{}, false
	}
	host := o.silentHost()
	for _, line := range o.lines {
		if m := certificate.FindString(line); m != "" {
			whose := "a host on the network"
			if host != "" {
				whose = "the host " + host + " on the network"
			}
			return networkFault{fmt.Sprintf("the certificate of %s is not trusted (%s).", whose, strings.ToLower(m)), false}, true
		}
	}
	switch why := o.why(); {
	case host != "":
		return networkFault{fmt.Sprintf("the host %s on the network does not answer%s.", host, why), true}, true
	case why != "":
		return networkFault{"a host on the network does not answer" + why + ".", true}, true
	}
	return networkFault{}, false
}

// registrySilent says that the package registry did not answer, and which one.
func registrySilent(o output, at int, _ []string) string {
	host := cmp.Or(o.silentHost(), "it")
	if code := cmp.Or(answered.FindString(o.lines[at]), o.after(at, berryCode)); code != "" {
		return fmt.Sprintf("%s: %s has a fault at the moment (%s).", noRegistry, host, strings.TrimPrefix(code, "E"))
	}
	if host == "it" {
		return noRegistry + o.why() + "."
	}
	return fmt.Sprintf("%s: %s does not answer%s.", noRegistry, host, o.why())
}

// registryUntrusted says that the package registry's certificate is not trusted.
func registryUntrusted(o output, _ int, _ []string) string {
	for _, line := range o.lines {
		if m := certificate.FindString(line); m != "" {
			whose := "its certificate"
			if host := o.silentHost(); host != "" {
				whose = "the certificate of " + host
			}
			return fmt.Sprintf("%s: %s is not trusted (%s).", noRegistry, whose, strings.ToLower(m))
		}
	}
	return noRegistry + ": its certificate is not trusted."
}

// registryRefuses says that the package registry refused access, and which one.
func registryRefuses(o output, _ int, _ []string) string {
	return joinNonempty(" ", "The package registry", o.silentHost(), "refused access: its password may be missing or no longer valid.")
}
