package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/deploykey"
	"github.com/webordinary/router/sessions"
)

// states shares state between configurations, keyed by App.identity.
var states = caddy.NewUsagePool()

// closeTimeout bounds the end of an edge: the longest save of a container, and some more.
const closeTimeout = 45 * time.Second

// state is what survives configuration reloads: the routing table, the sessions and
// their containers. It holds no caddy.Context and no logger of one.
type state struct {
	edgeID      string
	logger      *zap.Logger
	tableLogger *zap.Logger

	running atomic.Pointer[running]
	keys    atomic.Pointer[deploykey.Resolver] // that of the configuration in force
	held    *holds                             // requests held until their session is ready
	streams *holds                             // event streams of waiting pages

	mu      sync.Mutex
	configs []*App // started and not stopped, the newest last: it is the one in force
}

// running is an opened state.
type running struct {
	store    configstore.Store
	table    *configstore.Table
	registry sessions.Registry
	runner   sessions.Runner
	service  *sessions.Service
	lock     *os.File // of the data folder; nil where edges may share it

	follower follower
}

// acquireState takes a share in the state of an identity.
func acquireState(identity string) (*state, error) {
	val, _, err := states.LoadOrNew(identity, func() (caddy.Destructor, error) {
		id := sessions.NewEdgeID()
		logger := lastingLogger("webordinary")
		return &state{
			edgeID:      id,
			logger:      logger,
			tableLogger: logger.Named("table").With(zap.String("edge", id)),
			held:        newHolds(),
			streams:     newHolds(),
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return val.(*state), nil
}

// releaseState gives a share back.
func releaseState(identity string) error {
	_, err := states.Delete(identity)
	return err
}

// live returns the opened state, or nil before the app has started.
func (s *state) live() *running { return s.running.Load() }

// start puts the app's tunables into force, and opens the state the first time.
func (s *state) start(a *App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.running.Load(); r == nil {
		s.keys.Store(a.keys) // sessions may be woken as soon as it is open
		r, err := s.open(a)
		if err != nil {
			return err
		}
		s.running.Store(r)
	} else if err := a.runner.Reconfigure(r.runner); err != nil {
		return fmt.Errorf("reconfiguring runner: %w", err)
	}
	s.configs = append(s.configs, a)
	s.apply(a)
	return nil
}

// stop takes the app's tunables out of force: those of the newest other configuration
// apply, which is the new one after a reload and the old one after a failed reload.
func (s *state) stop(a *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configs = slices.DeleteFunc(s.configs, func(c *App) bool { return c == a })
	n := len(s.configs)
	if n == 0 {
		return
	}
	now := s.configs[n-1]
	if err := now.runner.Reconfigure(s.running.Load().runner); err != nil {
		s.logger.Error("reconfiguring runner failed, it keeps its settings", zap.Error(err))
	}
	s.apply(now)
}

// apply puts an app's tunables into force.
func (s *state) apply(a *App) {
	r := s.running.Load()
	s.keys.Store(a.keys)
	for _, f := range r.table.SetPatterns(a.patterns) {
		s.logger.Warn("client's host cannot be routed by the new patterns",
			zap.String("client", f.ClientID), zap.String("host", f.Host), zap.String("reason", f.Reason))
	}
	r.service.SetTunables(a.tunables())
	r.follower.follow(r.store, r.table, s.followOptions(a))
}

// tunables are the settings that running sessions follow.
func (a *App) tunables() sessions.Tunables {
	return sessions.Tunables{
		PublicOrigin: a.origin,
		IdleTimeout:  time.Duration(a.IdleTimeout),
		AllowFile:    a.AllowFileRepositories,
		HostPatterns: a.patterns,
	}
}

// open opens store, registry and runner and starts what follows them.
func (s *state) open(a *App) (_ *running, err error) {
	r := &running{table: configstore.NewTable(a.patterns)}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.closeParts())
		}
	}()
	// The runner first: it fails where another edge works on the same data.
	if r.runner, err = a.runner.OpenRunner(a.DataDir, s.logger.Named("runner").With(zap.String("edge", s.edgeID))); err != nil {
		return nil, fmt.Errorf("opening runner: %w", err)
	}
	if a.registry.Exclusive() {
		if r.lock, err = lockData(a.DataDir); err != nil {
			return nil, err
		}
	}
	if r.store, err = a.configStore.OpenConfigStore(a.DataDir); err != nil {
		return nil, fmt.Errorf("opening config store: %w", err)
	}
	if r.registry, err = a.registry.OpenRegistry(a.DataDir); err != nil {
		return nil, fmt.Errorf("opening session registry: %w", err)
	}
	r.service = sessions.New(sessions.Options{
		Registry: r.registry,
		Runner:   r.runner,
		Client:   clientSource(r.store),
		Settings: func(id string) (configstore.Settings, bool) {
			route, ok := r.table.ByID(id)
			return route.Settings, ok
		},
		DeployKey: s.deployKey,
		Logger:    s.logger.Named("sessions"),
		EdgeID:    s.edgeID,
		// With the embedded registry there is one edge only.
		Exclusive: a.registry.Exclusive(),
		Lease:     time.Duration(a.Lease),
		Tunables:  a.tunables(),
	})
	r.service.Start()
	return r, nil
}

// deployKey resolves references to deploy keys by the configuration in force.
func (s *state) deployKey(ctx context.Context, clientID string, r configstore.Repository) (string, error) {
	return s.keys.Load().Resolve(ctx, clientID, r)
}

// clientSource reads full configurations for the session service.
func clientSource(store configstore.Store) func(context.Context, string) (configstore.Client, error) {
	return func(ctx context.Context, id string) (configstore.Client, error) {
		rec, err := store.Get(ctx, id)
		return rec.Client, err
	}
}

// Destruct implements caddy.Destructor: it ends what the state started, and waits for it.
func (s *state) Destruct() error {
	r := s.running.Swap(nil)
	if r == nil {
		return nil
	}
	r.follower.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := r.service.Close(ctx)
	err = errors.Join(err, r.runner.Close(ctx))
	r.runner = nil
	<-r.follower.done
	return errors.Join(err, r.closeParts())
}

// closeParts closes what was opened, in reverse.
func (r *running) closeParts() (err error) {
	if r.runner != nil {
		err = errors.Join(err, r.runner.Close(context.Background()))
	}
	if r.registry != nil {
		err = errors.Join(err, r.registry.Close())
	}
	if r.store != nil {
		err = errors.Join(err, r.store.Close())
	}
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
	}
	return err
}
