package configstore

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// maxRepositoryURL and maxBranch are in bytes; git itself stores a branch as a file.
const (
	maxRepositoryURL = 2048
	maxBranch        = 240
)

func validateRepository(fs *faults, c Client, rules Rules) {
	r := c.Repository
	if err := CheckRepositoryURL(r.URL, rules.AllowFile); err != nil {
		fs.add("repository.url", err.Error())
	}
	if err := CheckBranch(r.Branch); err != nil {
		fs.add("repository.branch", err.Error())
	}
	if r.Directory != "" {
		validateFolder(fs, "repository.directory", r.Directory)
	}
	if r.DeployKey != "" {
		if err := checkDeployKey(c.ClientID, r, rules.KeyPrefixes); err != nil {
			fs.add("repository.deployKey", err.Error())
		} else if strings.HasPrefix(r.URL, "file:") {
			fs.add("repository.deployKey", "has no effect on a file repository")
		}
	}
}

var (
	errURLForm    = errors.New("must be https://host/path, ssh://user@host/path or user@host:path")
	errURLPrivate = errors.New("is at a private address, which the operator does not allow")
)

// CheckRepositoryURL lets through what git will read as the one thing it looks like:
// nothing that could be an option, a remote helper ("ext::…") or a local path; and no
// file: URL or private address unless these are allowed. Its error goes on after the
// URL's name ("must not …").
func CheckRepositoryURL(raw string, allowLocal bool) error {
	switch {
	case raw == "":
		return errors.New("must not be empty")
	case len(raw) > maxRepositoryURL:
		return fmt.Errorf("must be at most %d bytes, got %d", maxRepositoryURL, len(raw))
	case raw[0] == '-':
		return errors.New("must not begin with a hyphen")
	case !isPlainText(raw) || strings.ContainsAny(raw, " \\"):
		return errors.New("must not hold spaces, backslashes or control characters")
	case !strings.Contains(raw, "://"):
		return checkSCP(raw, allowLocal)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The text of url's error repeats the URL, and with it what may be a password.
		return errURLForm
	}
	switch u.Scheme {
	case "https", "ssh":
		return checkRemote(u, allowLocal)
	case "file":
		return checkFile(u, allowLocal)
	default:
		return errURLForm
	}
}

func checkRemote(u *url.URL, allowLocal bool) error {
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" {
		return errors.New("must not have a query or fragment")
	}
	if u.User != nil {
		_, password := u.User.Password()
		switch {
		case u.Scheme == "https" || password:
			return errors.New("must not hold credentials: they belong into repository.deployKey")
		case !isSSHUser(u.User.Username()):
			return errors.New("has a bad user name")
		}
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return errHostPort
		}
	}
	if strings.HasSuffix(u.Host, ":") {
		return errHostPort
	}
	if strings.Trim(u.Path, "/") == "" {
		return errors.New("must name a repository")
	}
	if err := checkRemotePath(u.Path); err != nil {
		return err
	}
	return checkRemoteHost(u.Hostname(), allowLocal)
}

// checkSCP checks ssh's short form, user@host:path.
func checkSCP(raw string, allowLocal bool) error {
	host, remote, ok := strings.Cut(raw, ":")
	if !ok || strings.ContainsAny(host, "/[") || strings.HasPrefix(remote, ":") {
		return errURLForm
	}
	user, name, ok := strings.Cut(host, "@")
	if !ok {
		return errURLForm
	}
	if !isSSHUser(user) {
		return errors.New("has a bad user name")
	}
	if strings.Trim(remote, "/") == "" {
		return errors.New("must name a repository")
	}
	if err := checkRemotePath(remote); err != nil {
		return err
	}
	return checkRemoteHost(name, allowLocal)
}

// checkRemotePath sees the path as git sends it on, with percent-encoding undone.
func checkRemotePath(p string) error {
	switch {
	case !isPlainText(p):
		return errors.New("must not hold spaces, backslashes or control characters")
	case p[0] == '-' || strings.HasPrefix(p, "/-"):
		return errors.New("must not have a path that begins with a hyphen")
	case strings.Contains(p+"/", "/../") || strings.HasPrefix(p, "../"):
		return errors.New(`must not hold ".."`)
	default:
		return nil
	}
}

func checkRemoteHost(host string, allowLocal bool) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || IsLocal(addr) && !allowLocal {
			return errURLPrivate
		}
		return nil
	}
	normal, err := NormalizeHost(host)
	if err != nil {
		return fmt.Errorf("has a bad host: it %w", err)
	}
	if (normal == "localhost" || strings.HasSuffix(normal, ".localhost")) && !allowLocal {
		return errURLPrivate
	}
	return nil
}

func checkFile(u *url.URL, allowed bool) error {
	switch {
	case !allowed:
		return errors.New("must not be a file URL: the operator does not allow them")
	case u.Host != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("must have the form file:///absolute/path")
	case u.Path == "/" || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") || !isPlainText(u.Path):
		return errors.New("must be the absolute, clean path of a repository")
	default:
		return nil
	}
}

func isSSHUser(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && !isDigit(s[i]) && strings.IndexByte("._-", s[i]) < 0 {
			return false
		}
	}
	return true
}

// CheckBranch says what is wrong with the name of a branch: it follows the rules of
// git check-ref-format --branch and is never taken for an option or for HEAD.
func CheckBranch(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > maxBranch:
		return fmt.Errorf("must be at most %d bytes, got %d", maxBranch, len(name))
	case name[0] == '-':
		return errors.New("must not begin with a hyphen")
	case name == "@" || name == "HEAD":
		return errors.New("must not be @ or HEAD")
	case !isPlainText(name) || strings.ContainsAny(name, " ~^:?*[\\"):
		return errors.New(`must not hold spaces, control characters or any of ~ ^ : ? * [ \`)
	case strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, "."):
		return errors.New(`must not hold ".." or "@{", nor end with a dot`)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return errors.New(`must not have a part that is empty, begins with a dot or ends with ".lock"`)
		}
	}
	return nil
}
