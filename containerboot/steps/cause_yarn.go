package steps

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	berryCode = regexp.MustCompile(`│\s+Response Code: (\d+)`)
	// berryBuilt is what a package's script printed, where Yarn passes that on.
	berryBuilt = regexp.MustCompile(`^➤ YN0000: │ \S+ (?:STDERR|STDOUT) (.*)$`)
)

// yarns is what Yarn says, the old one first and then that from 2 on.
var yarns = []known{
	{says: regexp.MustCompile(`^error (.*The engine "node" is incompatible with this module.*)$`), cause: func(_ output, _ int, m []string) string { return nodeTooOld + m[1] }},
	{says: regexp.MustCompile(`^error Couldn't find (?:package|any versions for) "([^"]+)"(?: that matches "([^"]+)")?`), cause: func(_ output, _ int, m []string) string {
		return noPackage + strings.TrimSuffix(m[1]+"@"+m[2], "@") + "."
	}},
	{says: regexp.MustCompile(`^error (?:Error|An unexpected error occurred): "?(?:https?://\S+: )?(?:` + certificate.String() + `)`), cause: registryUntrusted},
	{says: regexp.MustCompile(`^error (?:Error|An unexpected error occurred): "?(?:https?://\S+: )?(?:connect E|getaddrinfo |read ECONNRESET|socket hang up)`), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`^ResponseError: Request failed "\d+`), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`^error Error: https?://([^/\s]+)/(\S+): (.*)$`), cause: func(_ output, _ int, m []string) string {
		return fmt.Sprintf("The package registry %s did not give the package %s: %s", m[1], m[2], m[3])
	}},
	{says: regexp.MustCompile(`^error (/\S*/node_modules/\S+): Command failed\.$`), cause: func(o output, at int, m []string) string {
		printed := o.lines[at:]
		if i, groups := (output{lines: printed}).find(regexp.MustCompile(`^Output:$`)); groups != nil {
			printed = printed[i+1:]
		}
		return scriptFailed(packageIn(m[1]), printed)
	}},
	{says: regexp.MustCompile(`^error (Package "[^"]+" refers to .*)$`), cause: func(_ output, _ int, m []string) string { return installFailed + ": " + m[1] }},

	{says: regexp.MustCompile(`\bYN0041\b`), cause: registryRefuses},
	{says: regexp.MustCompile(`\bYN0035: │ (\S+): (.*)$`), cause: func(o output, at int, m []string) string {
		switch o.after(at, berryCode) {
		case "401", "403":
			return registryRefuses(o, at, m)
		case "404":
			return noPackage + strings.Replace(m[1], "@npm:", "@", 1) + "."
		}
		return ""
	}},
	{says: regexp.MustCompile(`\bYN0035: │ `), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`\bYN0082: │ (\S+): No candidates found`), cause: func(_ output, _ int, m []string) string {
		return noPackage + strings.Replace(m[1], "@npm:", "@", 1) + "."
	}},
	{says: regexp.MustCompile(`\bYN0001: │ RequestError: (?:` + certificate.String() + `)`), cause: registryUntrusted},
	{says: regexp.MustCompile(`\bYN0001: │ RequestError\b`), cause: registrySilent, retryable: true},
	{says: regexp.MustCompile(`\bYN0009: │ ((?:@[^/\s]+/)?[^@\s]+)@(\S+) couldn't be built`), cause: func(o output, at int, m []string) string {
		var printed []string
		for _, line := range o.lines[:at] {
			if p := berryBuilt.FindStringSubmatch(line); p != nil {
				printed = append(printed, p[1])
			}
		}
		if strings.HasPrefix(m[2], "workspace:") {
			return joinNonempty(": ", "The site's own install script failed", findingIn(printed).message)
		}
		return scriptFailed(m[1], printed)
	}},
	{says: regexp.MustCompile(`\bYN(?:0001|0002|0003|0016|0018|0028|0078|0081): │ (.*)$`), cause: func(_ output, _ int, m []string) string {
		return installFailed + ": " + strings.TrimPrefix(m[1], "Error: ")
	}},
}
