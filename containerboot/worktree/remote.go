package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// attemptTimeout bounds one conversation with the remote.
const attemptTimeout = 10 * time.Minute

// backoffs are the pauses between tries after a network fault.
var backoffs = [...]time.Duration{500 * time.Millisecond, 2 * time.Second}

// onRemote runs a git command that speaks to the remote, again after a network fault.
func (w *Worktree) onRemote(ctx context.Context, p place, args ...string) ([]byte, error) {
	s := stdio{log: true, protocol: w.remote.scheme}
	if err := os.MkdirAll(w.clientCache(), 0o755); err != nil {
		return nil, failed("making the client's cache", err)
	}
	switch w.remote.scheme {
	case "ssh":
		command, done, err := w.sshCommand()
		if err != nil {
			return nil, failed("writing the deploy key", err)
		}
		defer done()
		s.env = append(s.env, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+command)
	case "https":
		if w.remote.password != "" {
			// Only the helper's text is configuration; it reads the secrets from its environment.
			s.config = append(s.config, [2]string{
				"credential.helper",
				`!f() { [ "$1" = get ] && printf 'username=%s\npassword=%s\n' "$REMOTE_USER" "$REMOTE_PASSWORD"; }; f`,
			})
			s.env = append(s.env, "REMOTE_USER="+w.remote.user, "REMOTE_PASSWORD="+w.remote.password)
		}
	}
	for try := 0; ; try++ {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		out, err := w.git(attempt, p, s, args...)
		cancel()
		e := (*Error)(nil)
		if err == nil || try == len(backoffs) || ctx.Err() != nil || !errors.As(err, &e) || !e.Retryable {
			return out, err
		}
		w.cfg.Log(fmt.Sprintf("%s Trying again in %s.", e.Cause, backoffs[try]))
		select {
		case <-time.After(backoffs[try]):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// sshCommand writes the deploy key, if any, and returns the command that uses it and
// nothing else of the user's; done removes the key.
func (w *Worktree) sshCommand() (command string, done func(), err error) {
	options := []string{
		"ssh", "-F", "/dev/null",
		"-o BatchMode=yes", "-o IdentitiesOnly=yes", "-o IdentityAgent=none",
		"-o PreferredAuthentications=publickey",
		"-o ForwardAgent=no", "-o ClearAllForwardings=yes", "-o PermitLocalCommand=no",
		"-o ControlMaster=no", "-o ControlPath=none",
		"-o ConnectTimeout=15", "-o ServerAliveInterval=15", "-o ServerAliveCountMax=4",
		"-o StrictHostKeyChecking=accept-new", "-o GlobalKnownHostsFile=/dev/null",
		"-o", shellQuote(`UserKnownHostsFile="` + sshEscape(filepath.Join(w.clientCache(), "known_hosts")) + `"`),
	}
	if w.cfg.DeployKey == "" {
		return strings.Join(append(options, "-o IdentityFile=none"), " "), func() {}, nil
	}
	key := aside(w.cfg.GitDir)
	done = func() { _ = os.Remove(key) }
	// ssh refuses a key without its last line end.
	if err := os.WriteFile(key, []byte(strings.TrimSpace(w.cfg.DeployKey)+"\n"), 0o600); err != nil {
		done()
		return "", nil, err
	}
	return strings.Join(append(options, "-o", shellQuote(`IdentityFile="`+sshEscape(key)+`"`)), " "), done, nil
}

// sshEscape keeps ssh from taking '%' for one of its tokens.
func sshEscape(path string) string { return strings.ReplaceAll(path, "%", "%%") }

// shellQuote quotes for the shell that git runs its ssh command by. validate has
// refused paths with quotes.
func shellQuote(s string) string { return "'" + s + "'" }

// tips are the commits at the head of the remote's branches; empty where it has none.
type tips struct{ edit, base string }

// lsRemote asks the remote for the heads of the edit branch and of Config.Branch.
func (w *Worktree) lsRemote(ctx context.Context, p place) (tips, error) {
	base := "refs/heads/" + w.cfg.Branch
	out, err := w.onRemote(ctx, p, "ls-remote", "--quiet", "--", w.remote.url, w.editRef(), base)
	if err != nil {
		return tips{}, err
	}
	var t tips
	for line := range strings.Lines(string(out)) {
		// Patterns of ls-remote match the end of a name as well: compare the whole.
		commit, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if !isCommit(commit) {
			continue
		}
		if ref == w.editRef() {
			t.edit = commit
		}
		if ref == base {
			t.base = commit
		}
	}
	if t.edit == "" && t.base == "" {
		return t, &Error{
			Cause:  fmt.Sprintf("The branch %s does not exist in the repository.", w.cfg.Branch),
			Detail: fmt.Sprintf("%s has neither %s nor %s", w.remote.url, w.editRef(), base),
		}
	}
	return t, nil
}

// fetch gets a branch of the remote into a ref, with further options such as a depth.
func (w *Worktree) fetch(ctx context.Context, p place, branch, ref string, options ...string) error {
	args := append([]string{"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"}, options...)
	_, err := w.onRemote(ctx, p, append(args, "--", w.remote.url, "+refs/heads/"+branch+":"+ref)...)
	return err
}

// isCommit reports whether s is the name of an object.
func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}
