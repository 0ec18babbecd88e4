// Package bootapi is what an edge and the containerboot in a session container say
// to each other: environment, headers, paths, the proof and the claim, and the
// status and events by which a container reports its progress.
//
// The order of a start:
//
//  1. The runner starts containerboot with ids and EnvTokenHash in its environment.
//     It listens at once and answers nothing but PathProof and PathClaim.
//  2. The edge asks PathProof with a fresh nonce. The answer shows that this is the
//     container which was started with this hash, not another on a reused address.
//  3. The edge posts the Claim to PathClaim. The container checks the token against
//     the hash and boots. The same claim again is answered alike, any other is refused.
//  4. The edge follows PathEvents (with HeaderToken) until the phase is ready or failed.
//
// Addresses are used again, by other clients' containers too. So the edge begins every
// connection with step 2 (see ProveConn) before anything else leaves it on that
// connection, be it the claim, the token or a visitor's request; and the container puts
// HeaderProof on each response to whoever knew the token.
package bootapi

import "time"

// StopGrace is the whole time that a container may take to end after SIGTERM: to let
// requests under way and a build end, to save, and to close. Whatever stops one waits
// for so long before it kills, and containerboot shares it out among its steps. It is
// what container runtimes commonly grant.
const StopGrace = 30 * time.Second

// Environment of containerboot. See its package comment for the whole manual.
const (
	EnvSessionID = "SESSION_ID"
	// EnvTokenHash is the hex SHA-256 of the session's token. Set: wait for a claim.
	EnvTokenHash = "WEBORDINARY_TOKEN_HASH"
	EnvPort      = "PORT"
	// EnvListen is the address to listen on. Default: all. The process runner sets 127.0.0.1.
	EnvListen = "LISTEN_ADDRESS"
	// EnvListenFD is the number of an inherited socket that listens already. Set:
	// EnvListen and EnvPort say where it listens, and nothing is opened. It is how
	// the process runner knows the address at once and nobody else can take it.
	EnvListenFD = "WEBORDINARY_LISTEN_FD"
	// EnvWorkspace is the folder of the client's working tree.
	EnvWorkspace = "WORKSPACE_PATH"
	// EnvCache is the folder of the caches, shared by the containers of many sessions.
	EnvCache = "CACHE_PATH"
	// EnvAPIUpstream is the origin (http://host:port) that gets /api/* other than containerboot's own.
	EnvAPIUpstream = "API_UPSTREAM"
	// EnvUser is whom the client's code runs as. The process runner says: as containerboot.
	EnvUser = "SITE_USER"
	// EnvKnownHosts is a file with the keys of ssh servers, in the form of known_hosts.
	EnvKnownHosts = "KNOWN_HOSTS_FILE"
	// EnvBootTimeout is how long a start may take, as a duration of Go's.
	EnvBootTimeout = "BOOT_TIMEOUT"
	// EnvAutoSave is after how much quiet time changes are saved by themselves.
	EnvAutoSave = "AUTOSAVE_AFTER"
	// EnvParentFD is the number of an inherited pipe's read end. When it reaches
	// its end the parent is gone: save, and end.
	EnvParentFD = "WEBORDINARY_PARENT_FD"
	// EnvLockFD is the number of an inherited, locked file that must stay open
	// in this process, and in no child of it, for as long as it lives.
	EnvLockFD = "WEBORDINARY_LOCK_FD"

	// Standalone only: without EnvTokenHash.
	EnvClientID     = "CLIENT_ID"
	EnvClientConfig = "CLIENT_CONFIG" // JSON
	// EnvConfigTable is the DynamoDB table that has the configuration instead.
	EnvConfigTable = "CLIENT_CONFIG_TABLE"
	// EnvKeyPrefixes are what references to deploy keys in the table may begin with.
	EnvKeyPrefixes = "DEPLOY_KEY_PREFIXES"
	// EnvAllowFile lets the table name file: repositories and private addresses.
	EnvAllowFile = "ALLOW_FILE_REPOSITORIES"
)

// Headers.
const (
	// HeaderToken carries the session's token on each proxied request and on the
	// edge's own requests. containerboot compares it in constant time, answers 421
	// (Misdirected Request) on a mismatch, and strips it.
	HeaderToken = "X-Webordinary-Token"
	// HeaderActivity: "none" marks a proxied request that must not count as activity.
	HeaderActivity = "X-Webordinary-Activity"
	// HeaderProof is on each response of a claimed container to a request that carried
	// its token, informational ones (but for 100, which has no headers) and upgrades
	// included: see ResponseProof. The edge relays nothing that lacks it, and strips it.
	// Who does not know the token gets no proof either, or could keep it for an impostor.
	HeaderProof = "X-Webordinary-Proof"
	// HeaderRefused is on containerboot's own refusals, to tell them from the site's:
	// RefusedToken or RefusedEnding.
	HeaderRefused = "X-Webordinary-Refused"
	// HeaderPrefix of all headers that are between edge and containerboot: the edge
	// strips them from what visitors send and get, containerboot from what the site does.
	HeaderPrefix = "X-Webordinary-"
)

// ActivityNone is the value of HeaderActivity for requests that do not count.
const ActivityNone = "none"

// The values of HeaderRefused.
const (
	// RefusedToken is on a 421: the request's token is not this container's.
	RefusedToken = "token"
	// RefusedEnding is on a 503: the container ends, and serves nothing more.
	RefusedEnding = "ending"
)

// Paths under PathPrivate are the edge's own. They ask for `Authorization: Bearer
// <token>` (PathProof for nothing), which no proxied request can carry, and the edge
// proxies none of them.
const (
	PathPrivate = "/.boot/"
	PathProof   = "/.boot/proof"   // POST ProofRequest → Proof
	PathClaim   = "/.boot/claim"   // POST Claim → Status; 409 if another claim holds
	PathQuiesce = "/.boot/quiesce" // POST QuiesceRequest → QuiesceReply
	PathCommit  = "/.boot/commit"  // POST CommitRequest → CommitReply
	PathRecall  = "/.boot/recall"  // POST → RecallReply
)

// Public paths, below the session's prefix and without it.
const (
	PathHealth  = "/api/health"  // 200 when the site answers, 503 with a Status before and after a failure
	PathStatus  = "/api/status"  // 200, Status
	PathEvents  = "/api/events"  // text/event-stream of Event
	PathSave    = "/api/save"    // POST → SaveResult
	PathRebuild = "/api/rebuild" // POST → 202, Status
)

// Phase is how far a boot has come. Phases only ever go forward, except that every
// one may go to PhaseFailed.
type Phase string

// The phases, in their order. The edge shows PhaseStarting before there is a container.
const (
	PhaseStarting   Phase = "starting"
	PhaseClaimed    Phase = "claimed"
	PhaseCloning    Phase = "cloning"
	PhaseInstalling Phase = "installing"
	PhaseBuilding   Phase = "building"
	PhaseReady      Phase = "ready"
	PhaseStopping   Phase = "stopping"
	PhaseFailed     Phase = "failed"
)

// Failure says why a boot failed.
type Failure struct {
	// Phase is the step that failed.
	Phase Phase `json:"phase"`
	// Cause is one sentence for a client's editor.
	Cause string `json:"cause"`
	// Detail is for the operator: output of the tool, shortened, without secrets.
	Detail string `json:"detail,omitempty"`
	// Retryable: trying again may help without a change by anybody.
	Retryable bool `json:"retryable"`
}

// Status is what a container says of itself.
type Status struct {
	SessionID string `json:"sessionId,omitempty"`
	Epoch     int64  `json:"epoch,omitempty"`
	Phase     Phase  `json:"phase"`
	// PhaseMillis is how long the present phase has lasted, TotalMillis how long since the start.
	PhaseMillis int64 `json:"phaseMillis"`
	TotalMillis int64 `json:"totalMillis"`
	// ExpectedMillis is how long the present phase, and ExpectedTotalMillis how long all of
	// the start, took as a rule the last times that as much had to be done for the client's
	// site; what has passed by now counts as it was. Zero: not known.
	ExpectedMillis      int64 `json:"expectedMillis,omitempty"`
	ExpectedTotalMillis int64 `json:"expectedTotalMillis,omitempty"`
	// Step is what is being done, in a few words ("npm ci"); may be empty.
	Step string `json:"step,omitempty"`
	// Percent is how much of the step is done, where the tool that does it says so.
	Percent *int     `json:"percent,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	// Log holds the last lines of the tools' output, oldest first, at most 20.
	Log []string `json:"log,omitempty"`
	// Commit is what is checked out; Branch the edit branch.
	Commit string `json:"commit,omitempty"`
	Branch string `json:"branch,omitempty"`
	// Build names what is served: another one is another build. Empty before the first,
	// and where a development server tells its pages itself what changed.
	Build string `json:"build,omitempty"`
	// Reused says which steps a cache made needless: "clone", "install", "build".
	Reused []string `json:"reused,omitempty"`
	// IdleMillis is the time since the last activity; ActivityKind what it was.
	IdleMillis   int64  `json:"idleMillis"`
	ActivityKind string `json:"activityKind,omitempty"`
	// Busy says what keeps the container from sleeping however idle it is ("building").
	Busy string `json:"busy,omitempty"`
	// LastSave is the outcome of the last save; nil before the first.
	LastSave *SaveResult `json:"lastSave,omitempty"`
}

// Event names of PathEvents: each message's data is JSON.
const (
	// EventStatus carries a Status: the first message, and at each change of phase, step or percentage.
	EventStatus = "status"
	// EventLog carries a LogLine.
	EventLog = "log"
)

// LogLine is one line of a tool's output, without its line end, at most 1,000 bytes.
type LogLine struct {
	Phase Phase  `json:"phase"`
	Line  string `json:"line"`
}

// ProofRequest asks a container to prove that it was started with a token's hash.
type ProofRequest struct {
	// Nonce is 32 random bytes, in hex, made for this request.
	Nonce string `json:"nonce"`
}

// Proof is the answer: see MakeProof.
type Proof struct {
	Proof string `json:"proof"` // hex
}

// Claim gives a started container to a session. It is the only way in which secrets
// reach a container.
type Claim struct {
	Token     string `json:"token"`
	SessionID string `json:"sessionId"`
	ClientID  string `json:"clientId"`
	Epoch     int64  `json:"epoch"`
	// Site is what to clone, build and serve.
	Site Site `json:"site"`
	// EditBranch is the branch that is made from Site.Branch where the remote has none.
	EditBranch string `json:"editBranch"`
	// Prefix is the path under which the edge serves the session: /session/{id}.
	Prefix string `json:"prefix"`
	// EditHosts are the hosts under which the edge serves the client.
	EditHosts []string `json:"editHosts"`
	// AbandonAfterSeconds is how long the container may hear nothing from any edge
	// before it saves and ends itself. Zero: never.
	AbandonAfterSeconds int64 `json:"abandonAfterSeconds,omitempty"`
	// Instruction is a text for the editing agent; containerboot passes it on unread.
	Instruction string `json:"instruction,omitempty"`
}

// Site is the part of a client's configuration that a container needs, with
// credentials resolved.
type Site struct {
	RepositoryURL string            `json:"repositoryUrl"`
	Branch        string            `json:"branch"`
	Directory     string            `json:"directory,omitempty"`
	DeployKey     Secret            `json:"deployKey,omitempty"` // PEM for ssh; token or user:token for https
	AllowFile     bool              `json:"allowFile,omitempty"` // file: repositories and private addresses allowed
	Install       string            `json:"install,omitempty"`
	Command       string            `json:"command,omitempty"`
	Output        string            `json:"output,omitempty"`
	Mode          string            `json:"mode,omitempty"`
	NodeVersion   string            `json:"nodeVersion,omitempty"`
	Env           map[string]string `json:"env,omitempty"`
	HealthPath    string            `json:"healthPath,omitempty"`
}

// Secret is a text that is never shown: in JSON alone, by which a container gets it, is
// it as it is.
type Secret string

// String never shows the secret.
func (Secret) String() string { return "[redacted]" }

// GoString never shows the secret.
func (Secret) GoString() string { return "[redacted]" }

// A container is put to sleep in two halves, and is the arbiter of both, because all
// that is done to a session passes through it, by whatever edge:
//
//  1. PathQuiesce: it saves the work and agrees, or says why not. From then on it
//     serves as before, but whatever counts as somebody's doing calls the drain off.
//  2. PathCommit: it serves nothing more, and ends; unless the drain was called off.

// QuiesceRequest asks a container to prepare for its stop.
type QuiesceRequest struct {
	// IdleMillis is how long the container must have been idle to agree. Zero: agree
	// whatever the activity is (an operator's or editor's sleep). Such a drain is not
	// called off by what comes then: writes and new sockets are refused.
	IdleMillis int64 `json:"idleMillis"`
	// MaxLifetimeMillis is how long after its claim the container agrees as if
	// IdleMillis were zero. Zero: never.
	MaxLifetimeMillis int64 `json:"maxLifetimeMillis,omitempty"`
	// AbandonAfterSeconds takes the place of Claim.AbandonAfterSeconds; zero: that stays.
	AbandonAfterSeconds int64 `json:"abandonAfterSeconds,omitempty"`
}

// QuiesceReply says whether the container agreed: its work is saved, and it may be
// asked to commit.
type QuiesceReply struct {
	Agreed bool `json:"agreed"`
	// Drain names what was agreed to, for the CommitRequest.
	Drain string `json:"drain,omitempty"`
	// Expired: it agreed because of MaxLifetimeMillis.
	Expired bool `json:"expired,omitempty"`
	// IdleMillis is the time since the last activity, ActivityKind what it was.
	IdleMillis   int64  `json:"idleMillis"`
	ActivityKind string `json:"activityKind,omitempty"`
	// LivedMillis is the time since the claim.
	LivedMillis int64 `json:"livedMillis"`
	// Reason says why not, in a few words: "active: document 3s ago", "busy: building", "save failed: …".
	Reason string `json:"reason,omitempty"`
	// Busy: a build, a transfer or an agent's job is under way.
	Busy bool `json:"busy,omitempty"`
	// SaveFailed: it does not agree because its work could not be saved.
	SaveFailed bool `json:"saveFailed,omitempty"`
	// Ending: it does not agree because it ends already, for whatever reason.
	Ending bool        `json:"ending,omitempty"`
	Save   *SaveResult `json:"save,omitempty"`
}

// CommitRequest asks a container that has agreed to a drain to end.
type CommitRequest struct {
	// Drain is QuiesceReply.Drain.
	Drain string `json:"drain"`
}

// CommitReply says whether the container ends. If so it serves nothing more, saves
// what may have come since it agreed, and ends by itself.
type CommitReply struct {
	Committed bool `json:"committed"`
	// IdleMillis, ActivityKind and Reason say why not, as in a QuiesceReply.
	IdleMillis   int64  `json:"idleMillis"`
	ActivityKind string `json:"activityKind,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

// RecallReply answers an edge at which somebody asks for the session while it drains.
type RecallReply struct {
	// Serves: the container serves on, and the drain, if there was one, is called off.
	// Otherwise it ends.
	Serves bool `json:"serves"`
}

// SavedInBundle is SaveResult.Where for work that could not be pushed: it is kept in the
// cache, and pushed by a later save.
const SavedInBundle = "bundle"

// SaveResult says where work was saved.
type SaveResult struct {
	// Where is "nothing" (no changes), "remote", or SavedInBundle.
	Where  string `json:"where"`
	Commit string `json:"commit,omitempty"`
	// Error says why the remote did not take it, for the operator.
	Error string `json:"error,omitempty"`
	// Conflicts are files that were changed elsewhere too, in ways that do not go together:
	// they are as in the session, and the other version is in the branch's history.
	Conflicts []string `json:"conflicts,omitempty"`
	// Note is a sentence for an editor on what can be saved here only: changes within
	// submodules.
	Note string `json:"note,omitempty"`
}
