package sessions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
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
	// created or woken. Errors as of configstore.Store.Get.
	Client func(ctx context.Context, id string) (configstore.Client, error)
	// Settings returns a client's settings from memory, false if it has none there. It is
	// called when a session is asked whether it is idle. Nil: Client is called instead.
	Settings func(id string) (configstore.Settings, bool)
	// DeployKey resolves the reference that a repository's deploy key is; it is called when a
	// session is woken, and for nothing else. Its errors must not show a key; one that
	// is configstore.ErrUnavailable may pass by itself. Nil: references are refused.
	DeployKey func(ctx context.Context, clientID string, r configstore.Repository) (string, error)
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
	// AllowFile allows repositories at file: URLs and at private addresses.
	AllowFile bool
	// HostPatterns give each client hosts beside its own edit host and aliases.
	HostPatterns []configstore.HostPattern
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

// Defaults of Options, and the timeouts of what a service calls.
const (
	defaultLease        = 15 * time.Second
	defaultBootDeadline = 10 * time.Minute
	// registryTimeout bounds one call of the registry or of Options.Client.
	registryTimeout = 10 * time.Second
	// describeTimeout bounds one question to the runner.
	describeTimeout = 5 * time.Second
)

// Service is the life of all edit sessions as one edge sees it: it wakes them, shows
// how far they are, puts them to sleep when nobody uses them, and knows the way to
// their containers. All methods are safe for concurrent use.
//
// It keeps in memory what is live: sessions that have a route, are being worked on, or
// are watched. At most one thing is done to a session at a time, see op.
type Service struct {
	registry     Registry
	runner       Runner
	clientByID   func(context.Context, string) (configstore.Client, error)
	settings     func(string) (configstore.Settings, bool)
	deployKey    func(context.Context, string, configstore.Repository) (string, error)
	log          *zap.Logger
	edge         string
	exclusive    bool
	lease        time.Duration
	bootDeadline time.Duration
	lostPatience time.Duration // as the constant, but in tests
	tunables     atomic.Pointer[Tunables]
	containers   *containerClient

	ctx    context.Context //nolint:containedctx // the service's own life; ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	askAll chan struct{} // asks the reaper to ask every container at once
	asking chan struct{} // has room for the containers that are asked at once
	// settling has room for the sessions that are looked into at once by leaseLoop.
	settling chan struct{}
	duty     duty
	taken    chan struct{} // tells the sweep that the duty is this edge's now
	orphans  sync.Map      // references of the containers without a session that are being stopped
	ending   chan struct{} // has room for those that are stopped at once
	// answering: leaseLoop has containers answered for that other edges doubt.
	answering atomic.Bool

	routes  *routes
	unknown *unknownIDs
	flights *flights
	// sightings is for how long records were seen unchanged.
	sightings sightings
	// attended counts the sessions whose record is read for those who watch them.
	attended atomic.Int64

	mu     sync.Mutex // guards what follows and the refs of live; taken last of all locks
	live   map[string]*live
	closed bool
}

// New returns a service which does nothing by itself until Start.
func New(o Options) *Service {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.EdgeID == "" {
		o.EdgeID = NewEdgeID()
	}
	if o.Lease <= 0 {
		o.Lease = defaultLease
	}
	if o.BootDeadline <= 0 {
		o.BootDeadline = defaultBootDeadline
	}
	ctx, cancel := context.WithCancel(context.Background())
	unknown := newUnknownIDs()
	s := &Service{
		registry:     o.Registry,
		runner:       o.Runner,
		clientByID:   o.Client,
		settings:     o.Settings,
		deployKey:    o.DeployKey,
		log:          o.Logger.With(zap.String("edge", o.EdgeID)),
		edge:         o.EdgeID,
		exclusive:    o.Exclusive,
		lease:        o.Lease,
		bootDeadline: o.BootDeadline,
		containers:   newContainerClient(),
		ctx:          ctx,
		cancel:       cancel,
		askAll:       make(chan struct{}, 1),
		asking:       make(chan struct{}, maxAsking),
		settling:     make(chan struct{}, maxSettling),
		ending:       make(chan struct{}, maxOrphans),
		taken:        make(chan struct{}, 1),
		sightings:    sightings{seen: make(map[string]sighting)},
		routes:       newRoutes(),
		unknown:      unknown,
		flights:      newFlights(unknown),
		lostPatience: lostPatience,
		live:         make(map[string]*live),
	}
	s.tunables.Store(&o.Tunables)
	return s
}

// Start recovers what an earlier run of this edge, or another edge that died, left
// behind, and begins to reap and to sweep; it returns at once. It is called once, and
// not on a service without a runner.
func (s *Service) Start() {
	s.spawn(s.dutyLoop)
	s.spawn(s.reapLoop)
	s.spawn(s.sweepLoop)
	s.spawn(s.leaseLoop)
	s.spawn(s.staleLoop)
}

// spawn runs fn, which Close waits for; not while the service closes.
func (s *Service) spawn(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(fn)
	return true
}

// spawnFor is spawn for work on a session, whose entry stays until fn returns.
func (s *Service) spawnFor(e *live, fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	e.refs++
	s.wg.Go(func() {
		defer s.release(e)
		fn()
	})
	return true
}

// Close ends wakes and everything else that is under way, and waits for that until
// ctx ends. Containers are left alone, they are the runner's to close; the next start
// of an edge picks up the records.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetTunables changes the tunables, at once and for running sessions too.
func (s *Service) SetTunables(t Tunables) {
	old := s.tunables.Swap(&t)
	if old.IdleTimeout != t.IdleTimeout {
		select {
		case s.askAll <- struct{}{}:
		default: // is asked already
		}
	}
}

// client reads a client's configuration. An error other than that there is no such
// client is ErrUnavailable.
func (s *Service) client(ctx context.Context, id string) (configstore.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	c, err := s.clientByID(ctx, id)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, configstore.ErrNotFound):
		return c, fmt.Errorf("reading client %q: %w", id, err)
	default:
		return c, fmt.Errorf("%w: reading client %q: %w", ErrUnavailable, id, err)
	}
}

// get reads a record.
func (s *Service) get(ctx context.Context, id string) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	r, err := s.registry.Get(ctx, id)
	return s.bound(r), err
}

// update writes a record after an event.
func (s *Service) update(ctx context.Context, r Record, limit int) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	return s.registry.Update(ctx, r, limit)
}

// logger returns the log of a session.
func (s *Service) logger(r Record) *zap.Logger {
	return s.log.With(zap.String("client", r.ClientID), zap.String("session", r.SessionID), zap.Int64("epoch", r.Epoch))
}
