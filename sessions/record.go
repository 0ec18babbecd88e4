// Package sessions is the life of edit sessions: their record and state machine, the
// Registry contract (where records are kept) and the Runner contract (what holds a
// container), waking, limits, idle reaping, recovery, and preview URLs.
package sessions

import (
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Status is the state of a session. See Next for the transitions.
type Status string

// The states of a session.
const (
	StatusInactive     Status = "inactive"
	StatusInitializing Status = "initializing"
	StatusActive       Status = "active"
	StatusDraining     Status = "draining"
	StatusFailed       Status = "failed"
)

// Record is an edit session as a registry keeps it.
type Record struct {
	// SessionID has at least 128 random bits and lets a person in. Ids of the older
	// tools ("client#user#thread") are kept as they are.
	SessionID string `json:"sessionId"`
	ClientID  string `json:"clientId"`
	UserID    string `json:"userId,omitempty"`
	// ThreadID is the editing thread; one thread of a client is one session.
	ThreadID string `json:"threadId"`
	// EditBranch is the git branch of the session: the thread's id.
	EditBranch string `json:"editBranch"`
	PreviewURL string `json:"previewUrl"`
	// Instruction is a text for the editing agent, given to the next container that
	// becomes ready and cleared then.
	Instruction string `json:"instruction,omitempty"`
	Status      Status `json:"status"`

	CreatedAt time.Time `json:"createdAt"`
	// LastActivity is as the container last told it, or the time of the last wake.
	LastActivity time.Time `json:"lastActivity"`

	// Epoch counts wakes. A container belongs to one epoch of one session.
	Epoch int64 `json:"epoch"`
	// Version counts writes; it is the optimistic lock.
	Version int64 `json:"version"`

	// Lease names the edge which is waking or stopping the session, or which cannot
	// reach the container of an active one; nil otherwise.
	Lease *Lease `json:"lease,omitempty"`
	// Start holds the frozen parameters of the present epoch's start; nil when no
	// container may exist.
	Start *Start `json:"start,omitempty"`
	// Container is the runner's reference to the container; "" until it was started,
	// and again only after its stop was confirmed.
	Container string `json:"taskArn,omitempty"`
	// ContainerIP and ContainerPort are where the container listens, once known.
	ContainerIP   string `json:"containerIp,omitempty"`
	ContainerPort int    `json:"containerPort,omitempty"`

	// Failure is why the last wake failed. It is kept, for its count, through the
	// wakes that follow until one is ready; nil if the last wake did not fail.
	Failure *Failure `json:"failure,omitempty"`
	// AskAt is when the reaper next asks the container whether it is idle; zero unless active.
	AskAt time.Time `json:"askAt,omitzero"`
	// Awake is what the container said when it was last asked; nil before that, and
	// when there is no container.
	Awake *Awake `json:"awake,omitempty"`
	// SleepWanted: another edge than the one which wakes the session asks it to put
	// the session to sleep instead.
	SleepWanted bool `json:"sleepWanted,omitempty"`
}

// Awake is why a session was not put to sleep when its container was last asked.
type Awake struct {
	// At is when it was asked.
	At time.Time `json:"at"`
	// Activity is what last counted as somebody's doing, as containerboot names it
	// ("document"); Record.LastActivity is when.
	Activity string `json:"activity,omitempty"`
	// Reason is why it was not put to sleep, in a few words.
	Reason string `json:"reason,omitempty"`
	// Busy: a build, a transfer or an agent's job was under way.
	Busy bool `json:"busy,omitempty"`
	// SaveFailed: its work could not be saved.
	SaveFailed bool `json:"saveFailed,omitempty"`
	// Unanswered counts questions in a row that the container did not answer.
	Unanswered int `json:"unanswered,omitempty"`
}

// HoldsSlot reports whether the session counts against its client's
// maxConcurrentSessions: from the start of a wake to the confirmed stop of its container.
func (r Record) HoldsSlot() bool { return r.Start != nil }

// RetryAt is when a failed session may be woken again without anybody asking for it
// expressly; zero for a session that did not fail.
func (r Record) RetryAt() time.Time {
	if r.Status != StatusFailed || r.Failure == nil {
		return time.Time{}
	}
	return r.Failure.At.Add(BackOff(r.Failure.Attempts))
}

// WithoutToken returns the record as it may be shown: without the container's token.
func (r Record) WithoutToken() Record {
	if r.Start != nil {
		start := *r.Start
		start.Token = ""
		r.Start = &start
	}
	return r
}

// Lease is the right of one edge to carry a session's wake or stop through. It is
// renewed by a write; another edge takes it over when it has seen it unchanged for its
// length by its own clock, so that no two machines' clocks are compared.
type Lease struct {
	Holder string `json:"holder"` // the edge's id, new at every start of its process
	Beat   int64  `json:"beat"`   // counts renewals
}

// same reports whether both are none, or the same beat of the same holder.
func (l *Lease) same(other *Lease) bool {
	if l == nil || other == nil {
		return l == other
	}
	return *l == *other
}

// Start is what a container was, or will be, started with. It is frozen with the
// epoch, so that any edge that repeats the start repeats it exactly.
type Start struct {
	// Token opens this one container. A secret: never logged, never shown.
	Token Token `json:"token"`
	// Size is the container size of the client's settings.
	Size string `json:"size"`
	// At is when the start was decided.
	At time.Time `json:"at"`
}

// Token is a container's token; its String is redacted.
type Token string

// String never shows the token.
func (Token) String() string { return "[redacted]" }

// GoString never shows the token.
func (Token) GoString() string { return "[redacted]" }

// Failure is why a wake failed, and how often in a row.
type Failure struct {
	bootapi.Failure
	At time.Time `json:"at"`
	// Attempts counts failures in a row; it sets the back-off.
	Attempts int `json:"attempts"`
}
