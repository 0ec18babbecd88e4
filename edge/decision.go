package edge

import "time"

// Action is what is done with a request.
type Action uint8

// The actions. Statuses are in Decision.Status.
const (
	// NotFound: the 404 page, the same for whatever does not exist.
	NotFound Action = iota
	// Proxy: hand it to the session's container.
	Proxy
	// WaitingPage: the page that turns into the site.
	WaitingPage
	// Hold: keep the request, its body unread, until the session is active, then
	// proxy it; after Decision.Hold answer as Unavailable.
	Hold
	// Disabled: the page of a client who is disabled.
	Disabled
	// Unavailable: not now; Retry-After.
	Unavailable
	// Limit: the client has as many sessions awake as it may have.
	Limit
	// Failed: the session's last start failed; the page shows cause and retry button.
	Failed
	// Redirect to Decision.Location, not to be stored.
	Redirect
	// NewPage: the page with the button that makes a session.
	NewPage
	// CreateSession: make one, wake it, and redirect to it with status 303.
	CreateSession
	// Events: the event stream of the session.
	Events
	// WakeNow: wake the session, past its back-off.
	WakeNow
	// SleepNow: put the session to sleep.
	SleepNow
	// OwnStatus: the session's status and phase as JSON.
	OwnStatus
	// MethodNotAllowed: see Decision.Allow.
	MethodNotAllowed
	// CrossSite: refused, another site's page made the browser send it.
	CrossSite
	// Ambiguous: a socket of which nothing says whose session it is.
	Ambiguous
)

var actionNames = [...]string{
	NotFound: "not_found", Proxy: "proxy", WaitingPage: "waiting_page", Hold: "hold",
	Disabled: "disabled", Unavailable: "unavailable", Limit: "limit", Failed: "failed",
	Redirect: "redirect", NewPage: "new_page", CreateSession: "create_session",
	Events: "events", WakeNow: "wake_now", SleepNow: "sleep_now", OwnStatus: "own_status",
	MethodNotAllowed: "method_not_allowed", CrossSite: "cross_site", Ambiguous: "ambiguous",
}

// String names the action for logs and metrics: one of a fixed set.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// Decision is what becomes of a request. Nothing but what is proxied may be stored by a
// cache, whatever the action.
type Decision struct {
	Action Action
	// Status is the answer's; zero where the container gives it (Proxy, Hold).
	Status int
	// Wake: start the session, or have it start again once it has drained. It is
	// harmless where the session is starting already.
	Wake bool
	// Hold is how long a held request waits at most.
	Hold time.Duration
	// RetryAfter is for the header of that name, at least a second; zero: none.
	RetryAfter time.Duration
	// Location is a path on the same host, for Redirect and for what answers a
	// form with 303; "" where the answer leads nowhere.
	Location string
	// Allow is for the header of that name, with MethodNotAllowed.
	Allow string
	// SetCookie: remember the session by SessionCookie. A session's document is served.
	SetCookie bool
}
