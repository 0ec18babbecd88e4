package worktree

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
)

// Error is a failure that a client's editor can be told of.
type Error struct {
	// Cause is one sentence for a client's editor.
	Cause string
	// Detail is for the operator: the last of git's output, at most 4 KiB, without secrets.
	Detail string
	// Retryable: trying again may help without a change by anybody.
	Retryable bool

	// network: the remote could not be reached, which may pass at once.
	network bool
	err     error
}

// Error is cause and detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Cause
	}
	return strings.TrimSuffix(e.Cause, ".") + ": " + e.Detail
}

// Unwrap returns what lies behind, such as context.DeadlineExceeded. May be nil.
func (e *Error) Unwrap() error { return e.err }

const (
	// diskFull is the cause that is told apart in code.
	diskFull    = "The disk is full."
	tookTooLong = "Working with the repository took too long or was cancelled."

	hostNotFound = "The server {host} was not found: the name may be misspelt, or the network is down."
)

// detailLimit bounds Error.Detail, in bytes.
const detailLimit = 4 << 10

// Git gives no reason where it cannot write a file that it was able to create.
var diskFullPattern = regexp.MustCompile(`(?i)no space left on device|disk quota exceeded|unable to write file`)

// shallowRefused is how a server refuses commits that begin with one which it does not
// have, and whose parents were not pushed because they are not here.
var shallowRefused = regexp.MustCompile(`shallow update not allowed`)

// otherHostKey is what ssh says where it does not trust a host.
var otherHostKey = regexp.MustCompile(`(?i)host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED`)

// notGiven is how a server refuses a single commit, because it does not have that or gives
// branches and tags alone.
var notGiven = regexp.MustCompile(`(?i)not our ref|unadvertised object|couldn't find remote ref`)

// fault is a kind of failure at the remote: what stderr says, and what we say then.
type fault struct {
	pattern *regexp.Regexp
	cause   string // {host} and {url} are filled in
	// network: worth another try, by us at once or by somebody later.
	network bool
	// hint goes on with the detail, for the operator.
	hint string
}

// The causes that {url} and no key, and {host} and its certificate, have.
const (
	refused = "Access to the repository {url} was refused: its key or password may be missing, wrong, or not allowed to do this."
	noKey   = "Access to the repository {url} was refused: this site has no key or password for it (repository.deployKey is not set)."

	ownAuthority = "an authority of your own is to be named by SSL_CERT_FILE or GIT_SSL_CAINFO in the environment of the session's process"
)

// faults are tried in order: what several failures have in common ("Could not read
// from remote repository") comes after what tells them apart.
var faults = []fault{
	{
		otherHostKey,
		"The server {host} shows another key than the one it is known by, so it is not trusted: if it was changed on purpose, whoever runs this service has to confirm the new one.", false, "",
	},
	{
		regexp.MustCompile(`(?i)(unable to get|unknown).*issuer|unable to verify the first certificate|self[- ]signed|signer not (found|trusted)|issuer is unknown`),
		"The authority that issued the certificate of {host} is not known here, so it is not trusted.", false, ownAuthority,
	},
	{
		regexp.MustCompile(`(?i)certificate.*(expired|not yet|invalid)|no alternative certificate|certificate subject name`),
		"The certificate of {host} is not valid, so it is not trusted.", false, "",
	},
	{
		// GnuTLS says no more.
		regexp.MustCompile(`(?i)certificate verif|SSL certificate problem|error setting certificate`),
		"The certificate of {host} is not valid, or the authority that issued it is not known here, so it is not trusted.", false, ownAuthority,
	},
	{
		shallowRefused,
		"The history of the site's branch was rewritten on the server {host}, so this session's changes cannot be added to it.", false, "",
	},
	{
		regexp.MustCompile(`(?i)could not resolve host|name or service not known|temporary failure in name resolution`),
		hostNotFound, true, "",
	},
	{
		regexp.MustCompile(`(?i)repository not found|repository '.*' not found|does not appear to be a git repository|error: 404|project you were looking for could not be found`),
		"The repository {url} does not exist, or this site has no access to it.", false, "",
	},
	{
		regexp.MustCompile(`(?i)permission denied|authentication failed|could not read (username|password)|access denied|error: 40[13]|invalid credentials|terminal prompts disabled|protected branch|error in libcrypto|invalid format`),
		refused, false, "",
	},
	{
		regexp.MustCompile(`(?i)not our ref|unadvertised object`),
		"The repository {url} does not have the commit that is wanted.", false, "",
	},
	{
		regexp.MustCompile(`(?i)couldn't find remote ref|remote branch .* not found`),
		"The branch does not exist in the repository.", false, "",
	},
	{
		regexp.MustCompile(`(?i)\[rejected\]|non-fast-forward|fetch first`),
		"The branch has changes from somewhere else which are not in this session.", false, "",
	},
	{
		regexp.MustCompile(`(?i)\[remote rejected\]`),
		"The repository's server did not accept the changes.", false, "",
	},
	{
		regexp.MustCompile(`(?i)dubious ownership`),
		"The repository {url} belongs to another user of the machine.", false, "",
	},
	{
		regexp.MustCompile(`(?i)failed to connect|couldn't connect|connection (refused|reset|timed out|closed)|timed out|timeout|network is unreachable|no route to host|hung up unexpectedly|early EOF|RPC failed|error: (429|5\d\d)|gnutls|SSL_|TLS|operation too slow|could not read from remote`),
		"The server {host} could not be reached.", true, "",
	},
}

// classify makes an Error of a failed git process, which spoke to a remote or, by its
// zero value, to none.
func (w *Worktree) classify(ctx context.Context, err error, stderr string, r remote) *Error {
	e := &Error{Detail: tail(strings.TrimSpace(stderr), detailLimit), err: err}
	if e.Detail == "" {
		e.Detail = err.Error()
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		e.Cause = "The git program is missing here."
		return e
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Cause, e.Retryable = diskFull, true
		return e
	case ctx.Err() != nil:
		e.Cause, e.Retryable, e.network, e.err = tookTooLong, true, true, ctx.Err()
		return e
	}
	if diskFullPattern.MatchString(stderr) {
		e.Cause, e.Retryable = diskFull, true
		return e
	}
	e.Cause = "Working with the repository failed."
	if r.scheme == "" {
		return e
	}
	for _, f := range faults {
		if f.pattern.MatchString(stderr) {
			cause := f.cause
			if cause == refused && w.cfg.DeployKey == "" && r.password == "" && r.scheme != "file" {
				cause = noKey
			}
			e.Cause = r.fill(cause)
			e.Retryable, e.network = f.network, f.network
			if f.hint != "" {
				e.Detail += "\n" + f.hint
			}
			break
		}
	}
	return e
}

// fill puts the remote's names into a cause.
func (r remote) fill(cause string) string {
	host := r.host
	if host == "" {
		host = "of the repository"
	}
	return strings.NewReplacer("{host}", host, "{url}", r.url).Replace(cause)
}

// failed makes an Error of a failure outside git; an Error stays what it is.
func failed(doing string, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return err
	}
	e := &Error{Cause: "Preparing or saving the files failed.", Detail: tail(doing+": "+err.Error(), detailLimit), err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Cause, e.Retryable = diskFull, true
	}
	return e
}

// diskIsFull reports whether that is why something failed.
func diskIsFull(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.Cause == diskFull
}

// tail returns the last n bytes of s, beginning at a line where there is one.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if i := strings.IndexByte(s, '\n'); i >= 0 && i < n-1 {
		s = s[i+1:]
	}
	return strings.ToValidUTF8(s, "")
}
