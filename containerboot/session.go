package containerboot

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
	"github.com/webordinary/router/containerboot/site"
	"github.com/webordinary/router/containerboot/steps"
	"github.com/webordinary/router/containerboot/worktree"
)

// session is what a claim makes of the container.
type session struct {
	life     context.Context // ends when the container is told to
	born     time.Time
	claim    bootapi.Claim
	proof    []string // of each response, see bootapi.HeaderProof
	prefix   string   // decoded
	private  string   // the folder beside the workspace that is ours
	gitDir   string   // the session's; there is none before the first clone
	cache    string   // the folder of all clients' caches
	timeout  time.Duration
	board    *progress.Board
	account  *activity.Account
	log      *zap.Logger
	tree     *worktree.Worktree
	builder  *steps.Builder
	site     *site.Site
	pages    http.Handler // what visitors get: the site and the agent's API
	upstream http.Handler // may be nil

	job      job
	rebuilds chan struct{} // capacity 1: requests for a rebuild are one

	prepared atomic.Bool // there is a working tree to save
	// missing says what of the repository is not here, in sentences; nil before the clone.
	missing atomic.Pointer[[]string]
	writes  atomic.Int64 // requests under way that are other than plain reads
	drain   drain
	// end ends the container, for a reason.
	end context.CancelCauseFunc
	// abandonAfter sets for how long no edge may be heard of before the container ends.
	abandonAfter func(time.Duration)
	// turn holds one token: whoever has it may build in the workspace, or save it. A
	// save never sees an output folder that is moved.
	turn chan struct{}

	servingMu sync.Mutex
	serving   *serving       // nil before the first build
	retiring  sync.WaitGroup // servers of earlier builds that finish what they answer
}

// newSession prepares a session; nothing runs yet.
func newSession(life context.Context, s *settings, claim bootapi.Claim, board *progress.Board, account *activity.Account, log *zap.Logger) (*session, error) {
	prefix, err := url.PathUnescape(claim.Prefix)
	if err != nil {
		return nil, fmt.Errorf("decoding prefix: %w", err)
	}
	x := &session{
		life:     life,
		born:     time.Now(),
		claim:    claim,
		proof:    []string{bootapi.ResponseProof(claim.Token, claim.SessionID, claim.Epoch)},
		prefix:   prefix,
		private:  s.private(),
		gitDir:   s.gitDir(),
		cache:    s.cache,
		timeout:  s.timeout,
		board:    board,
		account:  account,
		log:      log,
		site:     site.New(site.Config{Prefix: claim.Prefix, Live: true}),
		upstream: s.upstream,
		rebuilds: make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
	}
	x.pages = account.Handler(http.HandlerFunc(x.servePages))
	x.builder = steps.New(steps.Config{
		ClientID:  claim.ClientID,
		Workspace: s.workspace,
		Private:   s.private(),
		CacheDir:  s.cache,
		Site:      claim.Site,
		Environ:   s.environ,
		User:      s.user,
		Secrets:   secrets(claim),
		Board:     board,
		Log:       log,
	})
	x.tree, err = worktree.New(worktree.Config{
		SessionID:  claim.SessionID,
		ClientID:   claim.ClientID,
		Dir:        s.workspace,
		GitDir:     s.gitDir(),
		CacheDir:   s.cache,
		URL:        claim.Site.RepositoryURL,
		Branch:     claim.Site.Branch,
		EditBranch: claim.EditBranch,
		DeployKey:  string(claim.Site.DeployKey),
		KnownHosts: s.knownHosts,
		AllowFile:  claim.Site.AllowFile,
		Exclude:    x.builder.Exclude(),
		RunAs:      s.user.Credential(),
		Enter:      s.user.Enter,
		Log:        func(line string) { board.Log(bootapi.PhaseCloning, line) },
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}

// secrets are what the output of the client's code must not show: a password also without
// its user's name.
func secrets(claim bootapi.Claim) []string {
	key := string(claim.Site.DeployKey)
	_, password, _ := strings.Cut(key, ":")
	return []string{claim.Token, key, password}
}
