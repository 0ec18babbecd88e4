package edge

import (
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// Host is what the routing table says of a request's host.
type Host uint8

// What a host can be.
const (
	// HostUnknown: no client has this host.
	HostUnknown Host = iota
	// HostServed: it is a client's edit host.
	HostServed
	// HostDisabled: it is that of a client who is disabled.
	HostDisabled
	// HostNoTable: there is no routing table yet, so nobody can tell.
	HostNoTable
)

// Session is what is known of the session that a target names. The zero value means
// that there is none.
type Session struct {
	// ID is the session's own id, which is not the target's where that names a thread.
	ID       string
	ClientID string
	Status   sessions.Status
	// Guessable: the id by which the session was asked for has no 128 random bits:
	// it names a thread, or is one of the older tools'.
	Guessable bool
	// BackOff is how long a failed session must still rest. Zero or less: it may wake.
	BackOff time.Duration
}

// Known is what the edge knows when a request comes. The zero value: nothing at all.
type Known struct {
	Host Host
	// ClientID is the client whose host it is.
	ClientID string
	// WakeOn is the client's setting.
	WakeOn configstore.WakeOn

	// NewSessions: the operator lets visitors make sessions at /new.
	NewSessions bool
	// ThreadLinks: the operator accepts guessable ids in a path.
	ThreadLinks bool
	// Manage: the visitor may see the client's sessions and put them to sleep.
	Manage bool

	// RegistryDown: the registry cannot be asked. Session then holds what is
	// remembered of it: a session that is Active there has a known container.
	RegistryDown bool
	// Session is as found by the target's SessionID.
	Session Session
	// AtLimit: no further session of the client may wake. A session that holds a
	// slot already is not held up by it.
	AtLimit bool

	// HoldTimeout is how long a request is held that names no time itself.
	// Default: DefaultHoldTimeout.
	HoldTimeout time.Duration
}

// DefaultHoldTimeout is how long a request is held that names no time itself.
const DefaultHoldTimeout = 60 * time.Second

// holdTimeout is how long a request with these traits is held.
func (k Known) holdTimeout(t Traits) time.Duration {
	switch {
	case t.Waits:
		return t.Wait
	case k.HoldTimeout > 0:
		return k.HoldTimeout
	default:
		return DefaultHoldTimeout
	}
}

// visible reports whether the session exists for a visitor of this host by this way.
// Another client's session, and a guessable id where the operator accepts none, look
// exactly like one that does not exist.
func (k Known) visible() bool {
	return k.Session.ID != "" && k.ClientID != "" && k.Session.ClientID == k.ClientID &&
		(!k.Session.Guessable || k.ThreadLinks)
}
