package steps

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// passed are the variables of this process that a client's code gets. See the manual
// of containerboot.
var passed = []string{
	"PATH", "TZ", "TMPDIR",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
}

// passedNPM are npm's own, which it reads in any case.
var passedNPM = []string{
	"npm_config_registry", "npm_config_userconfig", "npm_config_globalconfig", "npm_config_cafile",
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// clientEnv makes the environment of a client's code from nothing.
func clientEnv(environ []string, home, npmCache string, own map[string]string) []string {
	env := map[string]string{
		"PATH":                       defaultPath,
		"HOME":                       home,
		"LANG":                       "C.UTF-8",
		"TERM":                       "dumb",
		"NO_COLOR":                   "1",
		"ASTRO_TELEMETRY_DISABLED":   "1",
		"npm_config_update_notifier": "false",
	}
	if npmCache != "" {
		env["npm_config_cache"] = npmCache
	}
	realHome := ""
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME":
			realHome = value
		case value == "":
		case slices.Contains(passed, name):
			env[name] = value
		case slices.Contains(passedNPM, strings.ToLower(name)):
			env[strings.ToLower(name)] = value
		}
	}
	if env["npm_config_userconfig"] == "" && realHome != "" {
		rc := filepath.Join(realHome, ".npmrc")
		if _, err := os.Stat(rc); err == nil {
			env["npm_config_userconfig"] = rc
		}
	}
	maps.Copy(env, own)

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// withDefault returns an environment with a variable, unless it has that already.
func withDefault(env []string, name, value string) []string {
	if value == "" || slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
		return env
	}
	return append(slices.Clip(env), name+"="+value)
}

// withPath returns an environment with folders in front of its PATH.
func withPath(env, dirs []string) []string {
	if len(dirs) == 0 {
		return env
	}
	with := make([]string, 0, len(env))
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			kv = "PATH=" + strings.Join(dirs, ":") + ":" + path
		}
		with = append(with, kv)
	}
	return with
}
