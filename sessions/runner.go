package sessions

import (
	"context"
	"errors"
)

// Errors of runners.
var (
	// ErrNoContainer: the runner knows no such container, or it has ended.
	ErrNoContainer = errors.New("no such container")
	// ErrCapacity: there is no room for another container at present; see the error's text.
	ErrCapacity = errors.New("no capacity")
	// ErrRunnerUnavailable: the runner cannot be reached or is throttled.
	ErrRunnerUnavailable = errors.New("runner unavailable")
	// ErrOtherToken: a container of the epoch runs already, and only another token opens it.
	ErrOtherToken = errors.New("a container of this epoch runs already, with another token")
	// ErrUnsaved: what is kept of a session may hold work that is nowhere else; see
	// the error's text for where it is.
	ErrUnsaved = errors.New("work may be unsaved")
)

// StartRequest says what to start. It holds no secrets: they reach a container by its claim.
type StartRequest struct {
	SessionID string
	ClientID  string
	Epoch     int64
	// TokenHash is bootapi.HashToken of the container's token.
	TokenHash string
	Size      string
}

// Container is a container as a runner sees it.
type Container struct {
	// Ref identifies it to the runner that started it.
	Ref       string
	SessionID string
	Epoch     int64
	// Address is "host:port" if it is known at the moment, else "".
	Address string
	// Running: it has not ended. A container that ended may still be listed for a while.
	Running bool
	// Ending: it runs, but saves its work and ends, because the process that it was tied
	// to is gone or because it was told to. It gets no more requests.
	Ending bool
	// InOrder: it is not running, and is known to have ended with its work saved. A runner
	// that cannot tell leaves it out.
	InOrder bool
	// Reason says in words why it is not running, or not yet; may be empty.
	Reason string
}

// Runner starts and stops containers. All methods are safe for concurrent use.
// Every method may return ErrRunnerUnavailable.
type Runner interface {
	// Start starts the container of a session's epoch; it does not wait until it
	// listens. It is idempotent: the same request again returns the same container.
	// ErrOtherToken where one of the epoch runs that has another token's hash; where that
	// has ended, the session was deleted and its id given again, and one is started.
	// It never runs two containers of one session: where one of an earlier epoch
	// still runs, that one is asked to end, waited for as long as a save may take,
	// and then killed; Start returns after that. When ctx ends Start is given up; what it
	// has started by then runs, and is in List. ErrCapacity.
	Start(ctx context.Context, r StartRequest) (Container, error)

	// Describe returns the state of a container. ErrNoContainer. Where the runner's
	// answers lag, one that was started a moment ago may be ErrNoContainer as well.
	Describe(ctx context.Context, ref string) (Container, error)

	// Stop ends a container, giving it time to save, and returns when it is
	// confirmed to have ended with all that it started. Stopping one that has
	// ended is no error.
	Stop(ctx context.Context, ref, reason string) error

	// List returns the containers that this deployment started and that still run. Those
	// whose Start by this runner has returned are among them, also if it returned an
	// error or was given up, and none of these comes to run later: who has no reference
	// to a container takes a list without it for its confirmed end. What another
	// process of the deployment has asked for may be missing for a moment.
	List(ctx context.Context) ([]Container, error)

	// Forget removes what is kept of a session for its next start: its workspace
	// and the like. It is called when the session is to be deleted, or was, and its
	// container's end is confirmed; a session that is woken all the same begins anew. ErrUnsaved, with everything left as it is, unless it is certain
	// that the remote has all the work. No error if nothing is kept.
	Forget(ctx context.Context, sessionID string) error

	// Kept returns the ids of the sessions of which something is kept, those that
	// run among them.
	Kept(ctx context.Context) ([]string, error)

	// Close ends the containers that must not outlive this process, and releases the
	// rest. Afterwards every method returns ErrRunnerUnavailable, or what it can tell
	// all the same.
	Close(ctx context.Context) error
}
