package worktree

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"
)

// attemptTimeout bounds one conversation with the remote.
const attemptTimeout = 10 * time.Minute

// backoffs are the pauses between tries after a network fault.
var backoffs = [...]time.Duration{500 * time.Millisecond, 2 * time.Second}

// onRemote runs a git command that speaks to a remote, again after a network fault.
func (w *Worktree) onRemote(ctx context.Context, p place, r remote, args ...string) ([]byte, error) {
	if err := os.MkdirAll(w.clientCache(), 0o755); err != nil {
		return nil, failed("making the client's cache", err)
	}
	for try := 0; ; try++ {
		out, err := w.follow(ctx, p, r, try, args)
		e := (*Error)(nil)
		if err == nil || try == len(backoffs) || ctx.Err() != nil || !errors.As(err, &e) || !e.network {
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

// attempt is one conversation with a remote. The how-manieth it is chooses among the
// addresses of an ssh server.
func (w *Worktree) attempt(ctx context.Context, p place, r remote, try int, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	s := stdio{log: true, remote: r}
	addrs, err := w.addresses(ctx, r)
	if err != nil {
		return nil, err
	}
	var by ssh
	switch r.scheme {
	case "ssh":
		var at netip.Addr
		if len(addrs) > 0 {
			at = addrs[try%len(addrs)]
		}
		if by, err = w.ssh(ctx, r, at); err != nil {
			return nil, failed("preparing ssh", err)
		}
		defer by.close()
		s.env = append(s.env, "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND="+by.command)
	case "https":
		if r.password != "" {
			s.config = append(s.config, r.credentialConfig())
			s.env = append(s.env, "REMOTE_USER="+r.user, "REMOTE_PASSWORD="+r.password)
		}
		if len(addrs) > 0 {
			s.config = append(append(s.config, r.resolveConfig(addrs)...), [2]string{"http.followRedirects", "false"})
		}
	}
	out, err := w.git(ctx, p, s, args...)
	if e := (*Error)(nil); errors.As(err, &e) && otherHostKey.MatchString(e.Detail) {
		e.Detail += "\n" + w.hostKeyHint(r, by.pinned)
	}
	return out, err
}

// tips are the commits at the head of the remote's branches; empty where it has none.
type tips struct{ edit, base, draft string }

// lsRemote asks the remote for the heads of the edit branch and of Config.Branch, and for
// the session's draft.
func (w *Worktree) lsRemote(ctx context.Context, p place) (tips, error) {
	base := "refs/heads/" + w.cfg.Branch
	out, err := w.onRemote(ctx, p, w.remote, "ls-remote", "--quiet", "--", w.remote.url, w.editRef(), base, w.remoteDraft())
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
		if ref == w.remoteDraft() {
			t.draft = commit
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
	return w.fetchRef(ctx, p, "refs/heads/"+branch, ref, options...)
}

func (w *Worktree) fetchRef(ctx context.Context, p place, from, to string, options ...string) error {
	args := append([]string{"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"}, options...)
	_, err := w.onRemote(ctx, p, w.remote, append(args, "--", w.remote.url, "+"+from+":"+to)...)
	return err
}

// isCommit reports whether s is the name of an object.
func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}
