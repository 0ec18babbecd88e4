package configstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// reservedEnv are the variables by which containerboot itself is set up, or by which
// it finds the tools that it runs.
var reservedEnv = []string{
	"PATH", "HOME", "SESSION_ID", "PORT", "LISTEN_ADDRESS", "WORKSPACE_PATH", "CACHE_PATH",
	"API_UPSTREAM", "CLIENT_ID", "CLIENT_CONFIG", "CLIENT_CONFIG_TABLE",
}

// reservedEnvPrefixes likewise: ours, and those that change what git, ssh and the
// dynamic linker run.
var reservedEnvPrefixes = []string{"WEBORDINARY_", "GIT_", "SSH_", "LD_"}

func validateEnv(fs *faults, env map[string]string) {
	if len(env) > maxEnv {
		fs.add("build.env", fmt.Sprintf("must be at most %d variables, got %d", maxEnv, len(env)))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		path := "build.env." + shorten(name)
		switch {
		case !isEnvName(name):
			fs.add(path, "must be named with letters, digits and underscores, and not begin with a digit")
		case isReservedEnv(name):
			fs.add(path, "is reserved for the session container")
		case len(env[name]) > maxEnvValue:
			fs.add(path, fmt.Sprintf("must be at most %d bytes, got %d", maxEnvValue, len(env[name])))
		case strings.ContainsRune(env[name], 0) || !utf8.ValidString(env[name]):
			fs.add(path, "must be text without NUL bytes")
		}
	}
}

func isEnvName(name string) bool {
	if name == "" || len(name) > 255 || isDigit(name[0]) {
		return false
	}
	for i := range len(name) {
		if c := name[i] | 0x20; (c < 'a' || c > 'z') && !isDigit(name[i]) && name[i] != '_' {
			return false
		}
	}
	return true
}

func isReservedEnv(name string) bool {
	upper := strings.ToUpper(name)
	return slices.Contains(reservedEnv, upper) || slices.ContainsFunc(reservedEnvPrefixes, func(p string) bool {
		return strings.HasPrefix(upper, p)
	})
}
