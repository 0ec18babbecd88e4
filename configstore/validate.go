package configstore

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a configuration's values.
const (
	// MaxAliases lets a client change all of its edit hosts in one transaction of DynamoDB,
	// which holds 100 actions: 48 hosts released, 48 claimed, and 4 that every write takes.
	MaxAliases            = 47
	MaxIdleTimeoutMinutes = 1440
	MaxSessions           = 1000
	MaxLifetimeMinutes    = 525_600 // a year

	maxText      = 4096 // bytes of a path or shell command
	maxEnv       = 100
	maxEnvValue  = 32 << 10
	maxDeployKey = 16 << 10

	// MaxKeyText bounds, in bytes, what a reference to a deploy key may lead to.
	MaxKeyText = 64 << 10
)

// Rules are what the operator allows. The zero value is the strictest.
type Rules struct {
	// AllowFile lets repositories be file:// URLs and lie on private or loopback addresses.
	AllowFile bool
	// Patterns are the operator's host patterns: what they give to one client no
	// other may claim.
	Patterns []HostPattern
	// KeyPrefixes are what references to deploy keys may begin with. None: no references.
	KeyPrefixes []KeyPrefix
}

// Prepare normalises and validates a configuration before it is stored. The error is a
// ValidationError with every fault.
func Prepare(c Client, rules Rules) (Client, error) {
	c = Normalize(c)
	return c, Validate(c, rules)
}

// Normalize returns a copy in the form that is stored: hosts as of NormalizeHost, folders
// without a trailing slash, a deploy key with plain line ends. What cannot be normalised
// is left for Validate to refuse.
func Normalize(c Client) Client {
	host := func(s string) string {
		if n, err := NormalizeHost(s); err == nil {
			return n
		}
		return s
	}
	c.Domains.Production = host(c.Domains.Production)
	c.Domains.Edit = host(c.Domains.Edit)
	c.Domains.Aliases = slices.Clone(c.Domains.Aliases)
	for i, alias := range c.Domains.Aliases {
		c.Domains.Aliases[i] = host(alias)
	}
	c.Repository.Directory = normalizeFolder(c.Repository.Directory)
	c.Repository.DeployKey = normalizeKey(c.Repository.DeployKey)
	if c.Infrastructure != nil {
		infrastructure := *c.Infrastructure
		c.Infrastructure = &infrastructure
	}
	if c.Build != nil {
		build := *c.Build
		build.Output = normalizeFolder(build.Output)
		build.Env = maps.Clone(build.Env)
		c.Build = &build
	}
	c.Unknown = maps.Clone(c.Unknown)
	return c
}

func normalizeFolder(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "./"), "/")
	if s == "." {
		return ""
	}
	return s
}

// Validate checks a normalised configuration. It returns nil or a ValidationError with
// every fault, among them what this release does not support yet.
func Validate(c Client, rules Rules) error {
	var fs faults
	validateID(&fs, c.ClientID, rules.Patterns)
	validateDomains(&fs, c, rules.Patterns)
	validateRepository(&fs, c, rules)
	validateSettings(&fs, c.Settings)
	if c.Build != nil {
		validateBuild(&fs, *c.Build)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Unknown)) {
		fs.add(path, "unknown field")
	}
	return fs.err()
}

func validateID(fs *faults, id string, patterns []HostPattern) {
	if id == "" {
		fs.add("clientId", "must not be empty")
		return
	}
	if !ValidClientID(id) {
		fs.add("clientId", fmt.Sprintf("must be one DNS label: 1 to %d lower-case letters, digits and hyphens, with no hyphen at either end", maxLabel))
		return
	}
	for _, p := range patterns {
		if _, err := checkHost(p.Host(id)); err != nil {
			fs.add("clientId", fmt.Sprintf("makes no valid host with the pattern %s: %s", p, err))
		}
	}
}

func validateDomains(fs *faults, c Client, patterns []HostPattern) {
	if err := checkNormal(c.Domains.Production); err != nil {
		fs.add("domains.production", err.Error())
	}
	if len(c.Domains.Aliases) > MaxAliases {
		fs.add("domains.aliases", fmt.Sprintf("must be at most %d, got %d", MaxAliases, len(c.Domains.Aliases)))
		return
	}
	seen := map[string]string{}
	if c.Domains.Production != "" {
		seen[c.Domains.Production] = "domains.production"
	}
	check := func(path, host string) {
		if err := checkNormal(host); err != nil {
			fs.add(path, err.Error())
			return
		}
		if first, ok := seen[host]; ok {
			fs.add(path, "must not be the same as "+first)
			return
		}
		seen[host] = path
		if owner, pattern, ok := patternOwner(patterns, host); ok && owner != c.ClientID {
			fs.add(path, fmt.Sprintf("is another client's by the host pattern %s", pattern))
		}
	}
	check("domains.edit", c.Domains.Edit)
	for i, alias := range c.Domains.Aliases {
		check(fmt.Sprintf("domains.aliases[%d]", i), alias)
	}
}

// checkNormal says what is wrong with a host that Normalize may have left as it was.
func checkNormal(host string) error {
	normal, err := NormalizeHost(host)
	if err == nil && normal != host {
		err = errors.New("must be normalised")
	}
	return err
}

func validateSettings(fs *faults, s Settings) {
	oneOf(fs, "settings.containerSize", string(s.ContainerSize), false, string(SizeSmall), string(SizeMedium), string(SizeLarge))
	between(fs, "settings.idleTimeoutMinutes", s.IdleTimeoutMinutes, 1, MaxIdleTimeoutMinutes)
	between(fs, "settings.maxConcurrentSessions", s.MaxConcurrentSessions, 1, MaxSessions)
	between(fs, "settings.maxLifetimeMinutes", s.MaxLifetimeMinutes, 0, MaxLifetimeMinutes)
	oneOf(fs, "settings.wakeOn", string(s.WakeOn), true, string(WakeOnNavigation), string(WakeOnAny))
}

func between(fs *faults, path string, v, low, high int) {
	if v < low || v > high {
		fs.add(path, fmt.Sprintf("must be between %d and %d, got %d", low, high, v))
	}
}

func oneOf(fs *faults, path, v string, optional bool, values ...string) {
	if optional && v == "" || slices.Contains(values, v) {
		return
	}
	last := len(values) - 1
	fs.add(path, fmt.Sprintf("must be %s or %s, got %q", strings.Join(values[:last], ", "), values[last], shorten(v)))
}

// nodeVersion matches what can be a range of npm's, and nvm's names of releases. What a
// range means is containerboot's to know.
var nodeVersion = regexp.MustCompile(`^(?:lts(?:/[a-z*]+)?|node|latest|current|stable|[v\d.xX*^~<>=| -]*\d[v\d.xX*^~<>=| -]*)$`)

func validateBuild(fs *faults, b Build) {
	oneOf(fs, "build.mode", string(b.Mode), true, string(ModeStatic), string(ModeServer), string(ModeDev))
	validateCommand(fs, "build.install", b.Install)
	validateCommand(fs, "build.command", b.Command)
	if b.Output != "" {
		validateFolder(fs, "build.output", b.Output)
	}
	if b.NodeVersion != "" && (len(b.NodeVersion) > maxText || !nodeVersion.MatchString(b.NodeVersion)) {
		fs.add("build.nodeVersion", fmt.Sprintf("must be a version of Node or a range of them, such as 22, >=22.12 or lts/*, got %q", shorten(b.NodeVersion)))
	}
	validateEnv(fs, b.Env)
	if b.HealthPath != "" {
		validateHealthPath(fs, b.HealthPath)
	}
}

func validateCommand(fs *faults, path, command string) {
	switch {
	case command == "":
	case len(command) > maxText:
		fs.add(path, fmt.Sprintf("must be at most %d bytes, got %d", maxText, len(command)))
	case strings.TrimSpace(command) == "":
		fs.add(path, "must not be blank")
	case strings.ContainsRune(command, 0) || !utf8.ValidString(command):
		fs.add(path, "must be text without NUL bytes")
	}
}

// validateFolder checks a path below a site or repository.
func validateFolder(fs *faults, field, folder string) {
	switch {
	case len(folder) > maxText:
		fs.add(field, fmt.Sprintf("must be at most %d bytes, got %d", maxText, len(folder)))
	case !isPlainText(folder) || strings.Contains(folder, `\`):
		fs.add(field, "must not hold control characters or backslashes")
	case path.IsAbs(folder):
		fs.add(field, "must be relative")
	case folder[0] == '-':
		fs.add(field, "must not begin with a hyphen")
	case path.Clean(folder) != folder:
		fs.add(field, `must be a clean path, without "." , "..", or empty parts`)
	case slices.ContainsFunc(strings.Split(folder, "/"), isDotted):
		fs.add(field, `must not hold ".." or ".git"`)
	}
}

func isDotted(part string) bool { return part == ".." || strings.EqualFold(part, ".git") }

func validateHealthPath(fs *faults, p string) {
	const field = "build.healthPath"
	switch {
	case len(p) > maxText:
		fs.add(field, fmt.Sprintf("must be at most %d bytes, got %d", maxText, len(p)))
	case p[0] != '/' || strings.HasPrefix(p, "//"):
		fs.add(field, "must begin with one slash")
	case !isPlainText(p) || strings.ContainsAny(p, " \\#"):
		fs.add(field, "must be a URL path without spaces, backslashes and fragment")
	case slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == ".." || s == "." }):
		fs.add(field, `must not hold "." or ".."`)
	}
}

// isPlainText reports whether s is UTF-8 without control characters.
func isPlainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 })
}

// shorten keeps a stranger's text from filling a log.
func shorten(s string) string {
	const limit = 64
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
