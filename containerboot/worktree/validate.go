package worktree

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// remote is a repository URL in its parts.
type remote struct {
	scheme string // https, ssh or file
	host   string // empty for file
	port   string // empty for the scheme's own
	url    string // what git is given and people may see: no password
	// authority is the host and port of an https URL as written there; else empty.
	authority string
	// user and password are the credentials for https; else empty.
	user, password string
	// key is the private key for ssh; else empty.
	key string
}

var (
	clientIDPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	hostPattern     = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]+\])$`)
	userPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	scpPattern      = regexp.MustCompile(`^(?:([^@/:]+)@)?([^@/:\[\]]+|\[[^\]]+\]):([^:].*)$`)
)

func validate(cfg Config) (remote, error) {
	if err := validateID(cfg.SessionID); err != nil {
		return remote{}, fmt.Errorf("SessionID: %w", err)
	}
	if !clientIDPattern.MatchString(cfg.ClientID) {
		return remote{}, fmt.Errorf("ClientID: must be a lower-case DNS label, got %q", cfg.ClientID)
	}
	if err := validatePaths(cfg); err != nil {
		return remote{}, err
	}
	r, err := parseURL(cfg.URL, cfg.AllowFile)
	if err != nil {
		return remote{}, fmt.Errorf("URL: %w", err)
	}
	for field, branch := range map[string]string{"Branch": cfg.Branch, "EditBranch": cfg.EditBranch} {
		if err := validateBranch(branch); err != nil {
			return remote{}, fmt.Errorf("%s: %w", field, err)
		}
	}
	if cfg.DeployKey != "" {
		if r, err = r.withKey(cfg.DeployKey); err != nil {
			return remote{}, fmt.Errorf("DeployKey: %w", err)
		}
	}
	for i, p := range cfg.Exclude {
		if p == "" || len(p) > 1000 || hasControl(p) {
			return remote{}, fmt.Errorf("%s[%d]: must be one non-empty line of at most 1000 bytes", "Exclude", i)
		}
	}
	return r, nil
}

// withKey returns the remote with what opens it.
func (r remote) withKey(key string) (remote, error) {
	pem := strings.HasPrefix(strings.TrimSpace(key), "-----BEGIN ")
	switch {
	case len(key) > 64<<10:
		return remote{}, fmt.Errorf("must be at most 64 KiB")
	case r.scheme != "https":
		if !pem {
			return remote{}, fmt.Errorf("must be a private key in PEM form")
		}
		r.key = key
		return r, nil
	case pem:
		return remote{}, fmt.Errorf("is for ssh, but the URL is https")
	case r.password != "":
		return remote{}, fmt.Errorf("the URL has a password already")
	}
	r.user, r.password = splitCredential(key, r.host)
	if hasControl(key) || r.user == "" || r.password == "" {
		return remote{}, fmt.Errorf("must be a token, or user:token, in one line")
	}
	return r, nil
}

func validateID(id string) error {
	switch {
	case id == "" || len(fileName(id)) > 200:
		return fmt.Errorf("must have 1 to 200 characters")
	case id == "." || id == ".." || hasControl(id) || !utf8.ValidString(id):
		return fmt.Errorf("%q cannot name a file", id)
	}
	return nil
}

func validatePaths(cfg Config) error {
	paths := []struct{ field, path string }{
		{"Dir", cfg.Dir}, {"GitDir", cfg.GitDir}, {"CacheDir", cfg.CacheDir},
	}
	for _, p := range paths {
		// A quote or a control character would need escaping in git's and ssh's
		// own configuration.
		if !filepath.IsAbs(p.path) || filepath.Clean(p.path) != p.path || p.path == "/" ||
			strings.ContainsAny(p.path, `"'\`) || hasControl(p.path) {
			return fmt.Errorf("%s: must be a clean absolute path without quotes, got %q", p.field, p.path)
		}
	}
	if within(cfg.GitDir, cfg.Dir) || within(cfg.Dir, cfg.GitDir) {
		return fmt.Errorf("GitDir: must lie outside Dir, and Dir outside it")
	}
	if within(cfg.CacheDir, cfg.Dir) || within(cfg.Dir, filepath.Join(cfg.CacheDir, cfg.ClientID)) {
		return fmt.Errorf("CacheDir: must lie outside Dir, and Dir outside the client's part of it")
	}
	return nil
}

// within reports whether path is dir or below it, by their names.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

func parseURL(raw string, allowFile bool) (remote, error) {
	if raw == "" || len(raw) > 2000 || hasControl(raw) || strings.Contains(raw, " ") {
		return remote{}, fmt.Errorf("must be one word of 1 to 2000 characters")
	}
	if !strings.Contains(raw, "://") {
		m := scpPattern.FindStringSubmatch(raw)
		if m == nil || strings.HasPrefix(m[3], "-") {
			return remote{}, fmt.Errorf("must be https://…, ssh://… or user@host:path")
		}
		if err := validateHost(m[1], m[2]); err != nil {
			return remote{}, err
		}
		return remote{scheme: "ssh", host: strings.Trim(m[2], "[]"), url: raw}, nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return remote{}, fmt.Errorf("not a URL") // url's own error repeats a password
	}
	if u.RawQuery != "" || u.Fragment != "" || len(strings.Trim(u.Path, "/")) == 0 || strings.HasPrefix(u.Path, "/-") {
		return remote{}, fmt.Errorf("must have a path, and neither a query nor a fragment")
	}
	r := remote{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "https":
		if u.User != nil {
			r.user = u.User.Username()
			r.password, _ = u.User.Password()
			if hasControl(r.user + r.password) {
				return remote{}, fmt.Errorf("user and password must not have control characters")
			}
			if r.password == "" { // a lone user name is how some hosts take a token
				r.password = r.user
			}
			u.User = nil
		}
	case "ssh":
		if _, ok := u.User.Password(); ok {
			return remote{}, fmt.Errorf("an ssh URL must not have a password")
		}
	case "file":
		if !allowFile {
			return remote{}, fmt.Errorf("file: repositories are not allowed here")
		}
		if u.Host != "" || u.User != nil {
			return remote{}, fmt.Errorf("a file: URL must have the form file:///path")
		}
		r.url = u.String()
		return r, nil
	default:
		return remote{}, fmt.Errorf("scheme %q is not allowed: use https or ssh", u.Scheme)
	}
	name := ""
	if u.User != nil {
		name = u.User.Username()
	}
	if err := validateHost(name, u.Host[:len(u.Host)-len(portSuffix(u))]); err != nil {
		return remote{}, err
	}
	r.url = u.String()
	if u.Scheme == "https" {
		r.authority = u.Host
	}
	return r, nil
}

func portSuffix(u *url.URL) string {
	if u.Port() == "" {
		return ""
	}
	return ":" + u.Port()
}

// validateHost refuses what ssh could take for an option.
func validateHost(user, host string) error {
	if len(host) > 255 || !hostPattern.MatchString(host) {
		return fmt.Errorf("%q is not a host", host)
	}
	if user != "" && !userPattern.MatchString(user) {
		return fmt.Errorf("%q is not a user name", user)
	}
	return nil
}

// validateBranch is git check-ref-format --branch, without a process, and refuses a
// leading '-' and a bare HEAD.
func validateBranch(b string) error {
	if b == "" || len(b) > 200 {
		return fmt.Errorf("must have 1 to 200 characters")
	}
	bad := b == "@" || b == "HEAD" || b[0] == '-' || strings.HasSuffix(b, ".") ||
		strings.Contains(b, "..") || strings.Contains(b, "@{") ||
		strings.ContainsAny(b, " ~^:?*[\\") || hasControl(b) || !utf8.ValidString(b)
	for part := range strings.SplitSeq(b, "/") {
		bad = bad || part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return fmt.Errorf("%q is not a branch name", b)
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}
