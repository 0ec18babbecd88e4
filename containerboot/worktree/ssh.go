package worktree

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// publishedHosts are the keys which GitHub, GitLab and Bitbucket publish of their
// servers, all kinds that each has, so that these need not be believed at first sight.
// Their fingerprints are on docs.github.com ("GitHub's SSH key fingerprints"),
// docs.gitlab.com ("GitLab.com settings") and support.atlassian.com ("Configure SSH").
//
//go:embed known_hosts
var publishedHosts string

// ssh is how git reaches a remote by ssh, and what is on disk meanwhile.
type ssh struct {
	command string
	// pinned: only keys that are known beforehand are taken.
	pinned bool
	files  []string
}

// close removes the files.
func (s ssh) close() {
	for _, name := range s.files {
		_ = os.Remove(name)
	}
}

// ssh writes the deploy key, if any, and the hosts' keys that are known beforehand, and
// returns the command that uses these and nothing else of the user's. It goes to the
// address at, where that is given. The caller closes it.
func (w *Worktree) ssh(ctx context.Context, r remote, at netip.Addr) (s ssh, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	write := func(text string) (string, error) {
		name := aside(w.cfg.GitDir)
		s.files = append(s.files, name)
		return name, os.WriteFile(name, []byte(text), 0o600)
	}
	pinned, err := write(publishedHosts + w.cfg.KnownHosts + "\n")
	if err != nil {
		return s, err
	}
	name, err := pinnedName(ctx, pinned, r)
	if err != nil {
		return s, err
	}
	s.pinned = name != ""
	// With accept-new ssh would take a key of another kind than those that it knows.
	checking, known := "accept-new", w.knownHosts()
	if s.pinned {
		checking, known = "yes", "/dev/null"
	}
	options := []string{
		"ssh", "-F", "/dev/null",
		"-o BatchMode=yes", "-o IdentitiesOnly=yes", "-o IdentityAgent=none",
		"-o PreferredAuthentications=publickey",
		"-o ForwardAgent=no", "-o ClearAllForwardings=yes", "-o PermitLocalCommand=no",
		"-o ControlMaster=no", "-o ControlPath=none",
		"-o ConnectTimeout=15", "-o ServerAliveInterval=15", "-o ServerAliveCountMax=4",
		"-o StrictHostKeyChecking=" + checking,
		"-o", sshFile("GlobalKnownHostsFile", pinned), "-o", sshFile("UserKnownHostsFile", known),
	}
	if at.IsValid() {
		if name == "" {
			name = r.sshNames()[0]
		}
		options = append(options, "-o HostName="+at.String(), "-o 'HostKeyAlias="+name+"'")
	}
	identity := "-o IdentityFile=none"
	if r.key != "" {
		// ssh refuses a key without its last line end.
		key, err := write(strings.TrimSpace(r.key) + "\n")
		if err != nil {
			return s, err
		}
		identity = "-o " + sshFile("IdentityFile", key)
	}
	s.command = strings.Join(append(options, identity), " ")
	return s, nil
}

// knownHosts is where the keys of hosts are kept that were believed at first sight.
func (w *Worktree) knownHosts() string { return filepath.Join(w.clientCache(), "known_hosts") }

// pinnedName is the name by which a file has keys, or certificate authorities, of a host;
// empty where it has none.
func pinnedName(ctx context.Context, file string, r remote) (string, error) {
	for _, name := range r.sshNames() {
		cmd := exec.CommandContext(ctx, "ssh-keygen", "-F", name, "-f", file)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/dev/null"}
		err := cmd.Run()
		if err == nil {
			return name, nil
		}
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			return "", fmt.Errorf("looking for the host's key: %w", err)
		}
	}
	return "", nil
}

// sshNames are the names by which ssh looks for a host's keys: with its port first, if that
// is another than ssh's own.
func (r remote) sshNames() []string {
	host := strings.ToLower(r.host)
	if r.port == "" || r.port == "22" {
		return []string{host}
	}
	return []string{"[" + host + "]:" + r.port, host}
}

// hostKeyHint tells the operator what to do where a host has shown another key.
func (w *Worktree) hostKeyHint(r remote, pinned bool) string {
	if pinned {
		return fmt.Sprintf("If %s has new keys, put them into the file that KNOWN_HOSTS_FILE names.", r.host)
	}
	return fmt.Sprintf("If %s has new keys, remove its lines from %s.", r.host, w.knownHosts())
}

// sshFile is an option whose value is a file. It is quoted for ssh, which also knows
// tokens that begin with '%', and for the shell that git runs the command by; validate has
// refused paths with quotes.
func sshFile(option, path string) string {
	return "'" + option + `="` + strings.ReplaceAll(path, "%", "%%") + `"'`
}
