// Package worktree is the git side of a session container: it clones a client's
// repository, keeps the edit branch, saves the work, and restores what could not be
// pushed.
//
// There are two git directories. The one which fetches, saves and pushes lies outside
// the workspace (Config.GitDir) and is this package's alone. The workspace has an
// ordinary .git as well, so that people and an editing agent can use git there: it
// borrows the objects of the first and knows no credentials. Everything in the
// workspace belongs to the client's code and may be hostile, so no git process of this
// package ever takes the workspace's .git as its repository: its HEAD is read as a
// file, and commits made there are copied as data. Thus no hook, filter, alias or other
// configuration of the workspace ever runs here, and nothing in it meets the deploy key.
//
// The key is on disk, mode 0600 beside GitDir, only while git speaks to the remote.
// github.com, gitlab.com, bitbucket.org and the hosts of Config.KnownHosts must show a key
// that is known beforehand; any other is pinned at its first use in
// {CacheDir}/{ClientID}/known_hosts. The known hosts of system and user are not read. A
// host that changes its key is refused until the operator removes its line there.
//
// A token for https is in the environment of git's processes only, which give it to the
// repository's own host and port over TLS, and to nobody that these redirect to.
//
// Unless Config.AllowFile is set a host's name is resolved before git runs, refused where
// it has an address that is not public, and git speaks to the addresses found then and to no
// others. What an https server redirects to is treated so as well. Where HTTPS_PROXY (or
// ALL_PROXY) is for a host, the proxy resolves its name and decides.
//
// What the remote does not take is kept as {CacheDir}/{ClientID}/bundles/{SessionID}.bundle
// until a push succeeds. What is not saved yet is kept in drafts, see KeepDraft. Nothing is
// ever pushed by force, and nothing that may be somebody's work is deleted: a workspace of
// unknown origin is moved aside to {Dir}.kept-{time}, a bundle of work that a session lacks
// likewise.
//
// Submodules are fetched at their commits, over https and ssh, those of submodules too.
// Their folders have no .git: they are files that belong to other repositories, and what
// is changed there is kept for the session but never pushed. One that cannot be fetched
// leaves its folder empty, and the content of files in Git LFS is not fetched: see
// Prepared.Warnings.
//
// It needs git 2.38 or newer, and for ssh an OpenSSH client of 7.6 or newer.
package worktree

import (
	"context"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// Config says what to clone and where. Paths must be absolute.
type Config struct {
	// SessionID names the bundle; ClientID the folder below CacheDir that sessions
	// of the same client, and no others, share.
	SessionID, ClientID string
	// Dir is the workspace: the client's working tree.
	Dir string
	// GitDir is this package's own git directory, outside the workspace. Names that
	// begin with those of Dir and GitDir are used beside them while cloning: both
	// parents must be writable, and Dir must not be a mount point.
	GitDir string
	// CacheDir holds bundles and known hosts below {CacheDir}/{ClientID}.
	CacheDir string
	// URL is https, ssh (both forms), or file where AllowFile is set. A name and a
	// password in an https URL are used but never shown nor stored.
	URL string
	// Branch is what EditBranch is made from where the remote has none.
	Branch, EditBranch string
	// DeployKey is a PEM private key for ssh, or, for https, a token or "user:token". A
	// token alone goes with the name that its host wants. Empty: none.
	DeployKey string
	// KnownHosts are keys of ssh servers in the form of OpenSSH's known_hosts, beside those
	// of GitHub, GitLab and Bitbucket. Hosts named here show one of these keys or are
	// refused. Empty: none.
	KnownHosts string
	// AllowFile allows file: URLs, and servers at private and loopback addresses.
	AllowFile bool
	// Exclude are patterns in the form of .gitignore for files that are never saved
	// unless the repository has them already, beside the repository's own
	// .gitignore and node_modules.
	Exclude []string
	// Log gets each line of git's progress and output, without secrets and at most
	// 1,000 bytes long. It is called by one goroutine at a time. Nil: none.
	Log func(line string)
	// RunAs owns the workspace's files. Nil: this process's user.
	RunAs *syscall.Credential
	// Enter is called before git runs as RunAs, and what it returns afterwards: nobody
	// kills all that runs as RunAs in between. Nil: nobody would.
	Enter func() (leave func())
}

// Prepared is what Prepare found or made.
type Prepared struct {
	// Commit is what is checked out; Branch is the edit branch.
	Commit, Branch string
	// Cloned is false where the workspace was whole and needed no remote.
	Cloned bool
	// Restored is the commit or draft that was restored from a bundle or from the remote's
	// draft, see KeepDraft. Empty: none.
	Restored string
	// Warnings say what of the repository is missing here (submodules, the content of
	// files in Git LFS), each a sentence for a client's editor. Nil: nothing.
	Warnings []string
}

// Worktree is the working tree of one session. Its methods may be called concurrently:
// they take turns, waiting no longer than their contexts last, but for a SyncRemote that
// waits for the remote, which keeps no other waiting. Only one process may use a session's at a time.
type Worktree struct {
	cfg    Config
	remote remote
	env    []string // what every git process gets

	exclude atomic.Pointer[[]string] // Config.Exclude, or what took its place

	// lock guards GitDir and workspace. SyncRemote holds it only while it asks no
	// remote, so that one which hangs keeps nobody else waiting.
	lock    token
	keyTree string // tree at the last ContentKey; empty before it; under lock

	// syncs is held by the one SyncRemote, or Prepare, at a time; taken before lock.
	syncs token
	// drafting is taken before lock.
	drafting drafting
	// fetching: a SyncRemote without the lock speaks to the remote, so that its
	// unfinished files are not a dead process's. Set true under lock only.
	fetching atomic.Bool
	// moduleFaults says why submodules could not be fetched: path → string.
	moduleFaults sync.Map
	// lookUp finds a host's addresses, and refuses those that are not public.
	lookUp func(ctx context.Context, host string) ([]netip.Addr, error)
}

// New returns the Worktree of a session, having checked the whole configuration. It
// touches no files. Errors name the field.
func New(cfg Config) (*Worktree, error) {
	remote, err := validate(cfg)
	if err != nil {
		return nil, err
	}
	cfg.Log = oneAtATime(cfg.Log)
	w := &Worktree{cfg: cfg, remote: remote, lock: newToken(), syncs: newToken(), drafting: drafting{token: newToken()}}
	w.exclude.Store(&cfg.Exclude)
	w.lookUp = publicAddresses
	w.env = w.baseEnv()
	return w, nil
}

// oneAtATime makes a log that goroutines may share. Nil stands for none.
func oneAtATime(log func(string)) func(string) {
	if log == nil {
		return func(string) {}
	}
	var mu sync.Mutex
	return func(line string) {
		mu.Lock()
		defer mu.Unlock()
		log(line)
	}
}

func (w *Worktree) clientCache() string { return filepath.Join(w.cfg.CacheDir, w.cfg.ClientID) }

func (w *Worktree) bundlePath() string {
	return filepath.Join(w.clientCache(), "bundles", fileName(w.cfg.SessionID)+".bundle")
}

// fileName makes one path element of an id: the older tools' ids contain '#'.
func fileName(id string) string { return url.PathEscape(id) }

// The refs of GitDir. Beside them is refs/heads/{EditBranch}, what is saved.
const (
	// refPushed is the last commit that the remote is known to have.
	refPushed = "refs/webordinary/pushed"
	// refBase is the commit of Config.Branch that the session began with or last moved
	// to. While the edit branch is there too, the session has no commits of its own.
	// None where it began with an edit branch.
	refBase = "refs/webordinary/base"
	// refIncoming is what SyncRemote fetched last.
	refIncoming = "refs/webordinary/incoming"
	// refDeepened is Config.Branch as last fetched with its whole history.
	refDeepened = "refs/webordinary/deepened"
	// refShallow heads the commits of a bundle whose parents are not in it.
	refShallow = "refs/webordinary/shallow/"
)

func (w *Worktree) editRef() string   { return "refs/heads/" + w.cfg.EditBranch }
func (w *Worktree) remoteRef() string { return "refs/remotes/origin/" + w.cfg.EditBranch }
