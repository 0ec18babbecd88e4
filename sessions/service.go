package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"go.uber.org/zap"
)

// Errors of a Service beside those of its registry; compare with errors.Is.
var (
	// ErrDisabled: the client is disabled, so none of its sessions may have a container.
	ErrDisabled = errors.New("client is disabled")
	// ErrNoRunner: the service was made without a runner, so it can neither start nor stop a container.
	ErrNoRunner = errors.New("no edge is running that could start or stop containers")
	// ErrClosed: the service is closing.
	ErrClosed = errors.New("session service is closed")
	// ErrNotSaved: a session was not put to sleep because its work could not be saved.
	ErrNotSaved = errors.New("work could not be saved")
)

// Options are what a Service is made of.
type Options struct {
	// Registry keeps the records. The service does not close it.
	Registry Registry
	// Runner holds the containers. The service does not close it. Nil: sessions can
	// be created, read, and deleted while they have no container, and nothing else.
	Runner Runner
	// Client reads a client's full configuration; it is called when a session is
	// created, woken or asked whether it is idle. Errors as of configstore.Store.Get.
	Client func(ctx context.Context, id string) (configstore.Client, error)
	// Logger is for what happens to sessions. Default: none.
	Logger *zap.Logger
	// EdgeID names this process in leases and logs; it must be new at each start of
	// the process. Default: random.
	EdgeID string
	// Exclusive: no other edge uses the registry, as is always so with the process
	// runner. A lease of another holder is then known to be a dead edge's, and
	// nothing is waited for before its session is taken over.
	Exclusive bool
	// Lease is how long another edge's unchanged lease is respected. Default: 15 s.
	Lease time.Duration
	// BootDeadline is how long a wake may take before it fails. Default: 10 min.
	BootDeadline time.Duration
	// Tunables are the first ones; see SetTunables.
	Tunables Tunables
}

// Tunables are settings of a service which may change while it runs.
type Tunables struct {
	// PublicOrigin makes preview URLs. Default: https on its usual port.
	PublicOrigin PublicOrigin
	// IdleTimeout overrides that of every client. Zero: the client's own.
	IdleTimeout time.Duration
	// AllowFile allows repositories at file: URLs.
	AllowFile bool
	// EditHosts returns the hosts under which the edge serves a client. Nil: the
	// client's own edit host and its aliases.
	EditHosts func(clientID string) []string
}

// View is what is known of a session at a moment. Its Record never holds the token.
type View struct {
	// Record is the session's record. Its Status is active only while this edge
	// has the session's route; a session which is active by its record, but whose
	// container this edge has yet to find, shows as initializing. The Status of a
	// session that was deleted while it was watched is empty.
	Record Record
	// Progress is how far the session's container is, with its last log lines;
	// its Failure is that of a failed session.
	Progress bootapi.Status
}
