//go:build unix

package process

import (
	"slices"
	"strings"
)

// passed are the variables of the edge that its containers get: what programs need to
// run and to reach the network, and to know whom they reach. Nothing else, and so no
// credentials, reaches them.
var passed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	"KNOWN_HOSTS_FILE",
}

// passedNPM are npm's choice of registry and of its configuration, in either case.
var passedNPM = []string{
	"npm_config_registry", "npm_config_userconfig", "npm_config_globalconfig", "npm_config_cafile",
}

// basicEnv returns those variables of an environment that containers get.
func basicEnv(environ []string) []string {
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if slices.Contains(passed, name) || slices.Contains(passedNPM, strings.ToLower(name)) {
			env = append(env, kv)
		}
	}
	if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") }) {
		env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin")
	}
	return env
}
