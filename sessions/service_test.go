package sessions_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/leaktest"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/embedded"
)

const (
	soon = time.Minute // the most that a condition is waited for
	tick = 2 * time.Millisecond
)

// faulty is a registry that can be switched off, or made to hang.
type faulty struct {
	sessions.Registry
	down  atomic.Bool
	hangs atomic.Bool // Get and ByThread answer nothing until their context ends
	calls atomic.Int64
	reads atomic.Int64 // of Get and ByThread

	late   atomic.Pointer[chan struct{}] // if set, what Get and ByThread have read is kept until it is closed
	keptUp atomic.Int64                  // how many answers were kept so
}

var errDown = fmt.Errorf("switched off: %w", sessions.ErrUnavailable)

func (f *faulty) check() error {
	f.calls.Add(1)
	if f.down.Load() {
		return errDown
	}
	return nil
}

func (f *faulty) Create(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	if err := f.check(); err != nil {
		return sessions.Record{}, err
	}
	return f.Registry.Create(ctx, r, limit)
}

func (f *faulty) read(ctx context.Context) error {
	f.reads.Add(1)
	if f.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.check()
}

func (f *faulty) answer() {
	if late := f.late.Load(); late != nil {
		f.keptUp.Add(1)
		<-*late
	}
}

func (f *faulty) Get(ctx context.Context, id string) (sessions.Record, error) {
	if err := f.read(ctx); err != nil {
		return sessions.Record{}, err
	}
	defer f.answer()
	return f.Registry.Get(ctx, id)
}

func (f *faulty) ByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	if err := f.read(ctx); err != nil {
		return sessions.Record{}, err
	}
	defer f.answer()
	return f.Registry.ByThread(ctx, clientID, threadID)
}

func (f *faulty) Update(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	if err := f.check(); err != nil {
		return sessions.Record{}, err
	}
	return f.Registry.Update(ctx, r, limit)
}

// Due is called once in a while whatever a test does, and not counted.
func (f *faulty) Duty(ctx context.Context) (sessions.Lease, error) {
	if f.down.Load() {
		return sessions.Lease{}, errDown
	}
	return f.Registry.Duty(ctx)
}

func (f *faulty) SetDuty(ctx context.Context, old, next sessions.Lease) error {
	if f.down.Load() {
		return errDown
	}
	return f.Registry.SetDuty(ctx, old, next)
}

func (f *faulty) Due(ctx context.Context, t time.Time, limit int) ([]sessions.Record, error) {
	if f.down.Load() {
		return nil, errDown
	}
	return f.Registry.Due(ctx, t, limit)
}

// bench is a registry, a machine, and the clients amelia (2 sessions) and bramble (1).
type bench struct {
	t        *testing.T
	registry *faulty
	machine  *machine
	mu       sync.Mutex
	clients  map[string]configstore.Client
	logs     *observer.ObservedLogs
	logger   *zap.Logger

	lostPatience time.Duration // of services that are made from now on
	partitioned  *atomic.Bool  // whether a service that is made now reaches no container; nil: it does
	cutFault     error         // why it reaches none; nil: no route
	refused      atomic.Int64  // how often one tried in vain
}

func newBench(t *testing.T) *bench {
	t.Helper()
	already := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.VerifyNone(t, already) })
	reg, err := embedded.Open(filepath.Join(t.TempDir(), "router.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, reg.Close()) })
	b := &bench{
		t: t, registry: &faulty{Registry: reg}, machine: newMachine(), clients: map[string]configstore.Client{}, lostPatience: 5 * time.Second,
	}
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs, b.logger = logs, zap.New(core)
	if os.Getenv("SHOW_LOGS") != "" {
		b.logger = zap.New(zapcore.NewTee(core, must(zap.NewDevelopment()).Core()))
	}
	t.Cleanup(b.machine.killAll)
	b.put("amelia", 2, func(*configstore.Client) {})
	b.put("bramble", 1, func(*configstore.Client) {})
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (b *bench) put(id string, limit int, change func(*configstore.Client)) {
	c := configstore.Client{
		ClientID:   id,
		Domains:    configstore.Domains{Production: id + ".example.com", Edit: "edit." + id + ".localhost", Aliases: []string{"also." + id + ".localhost"}},
		Repository: configstore.Repository{URL: "https://git.example.com/" + id, Branch: "main", DeployKey: "-----BEGIN KEY-----"},
		Settings:   configstore.Settings{ContainerSize: configstore.SizeMedium, IdleTimeoutMinutes: 30, MaxConcurrentSessions: limit},
		Build:      &configstore.Build{Command: "make site", Mode: configstore.ModeStatic, Env: map[string]string{"A": "b"}},
	}
	change(&c)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients[id] = c
}

func (b *bench) client(_ context.Context, id string) (configstore.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.clients[id]
	if !ok {
		return c, configstore.ErrNotFound
	}
	return c, nil
}

// service starts an edge. It is closed at the end unless the test has done so.
func (b *bench) service(r *runner, change ...func(*sessions.Options)) *sessions.Service {
	b.t.Helper()
	o := sessions.Options{
		Registry: b.registry, Client: b.client, Logger: b.logger, Lease: 300 * time.Millisecond,
		Tunables: sessions.Tunables{PublicOrigin: sessions.PublicOrigin{Scheme: "http", Port: 8080}},
	}
	if r != nil {
		o.Runner = r
	}
	for _, fn := range change {
		fn(&o)
	}
	s := sessions.New(o)
	sessions.SetLostPatience(s, b.lostPatience)
	if cut := b.partitioned; cut != nil {
		sessions.SetDial(s, func(ctx context.Context, network, address string) (net.Conn, error) {
			if cut.Load() {
				b.refused.Add(1)
				return nil, cmp.Or(b.cutFault, errors.New("no route to host"))
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		})
	}
	if r != nil {
		s.Start()
	}
	b.t.Cleanup(func() { b.close(s) })
	return s
}

func (b *bench) close(s *sessions.Service) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	assert.NoError(b.t, s.Close(ctx))
}

// edge starts a service whose runner shares the machine with others.
func (b *bench) edge(change ...func(*sessions.Options)) (*sessions.Service, *runner) {
	b.t.Helper()
	r := newRunner(b.machine, true)
	return b.service(r, change...), r
}

// swept waits until an edge has done by itself what it does at its start.
func (b *bench) swept(r *runner) {
	b.t.Helper()
	b.eventually(func() bool { return r.sweeps.Load() > 0 }, "the first sweep is over")
}

// sleeping creates a session that is inactive.
func (b *bench) sleeping(s *sessions.Service, client string) string {
	b.t.Helper()
	r, created, err := s.Create(b.t.Context(), sessions.CreateRequest{ClientID: client, UserID: "ann"})
	require.NoError(b.t, err)
	require.True(b.t, created)
	return r.SessionID
}

// awake wakes a session and waits until it is active.
func (b *bench) awake(s *sessions.Service, id string) *sessions.Route {
	b.t.Helper()
	_, err := s.Wake(b.t.Context(), id)
	require.NoError(b.t, err)
	return b.active(s, id)
}

func (b *bench) active(s *sessions.Service, id string) *sessions.Route {
	b.t.Helper()
	v := b.wait(s, id)
	require.Equal(b.t, sessions.StatusActive, v.Record.Status, "failure: %+v", v.Record.Failure)
	route, ok := s.Route(id)
	require.True(b.t, ok)
	return route
}

func (b *bench) wait(s *sessions.Service, id string) sessions.View {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), soon)
	defer cancel()
	v, err := s.Wait(ctx, id)
	require.NoError(b.t, err)
	return v
}

// record is what the registry has, past any fault.
func (b *bench) record(id string) sessions.Record {
	b.t.Helper()
	r, err := b.registry.Registry.Get(context.Background(), id)
	require.NoError(b.t, err)
	return r
}

func (b *bench) becomes(id string, want sessions.Status) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.record(id).Status == want }, soon, tick,
		"session never became %s", want)
}

func (b *bench) eventually(fn func() bool, what string) {
	b.t.Helper()
	require.Eventually(b.t, fn, soon, tick, what)
}

// only is the one container that ever ran.
func (b *bench) only() *container {
	b.t.Helper()
	all := b.machine.all()
	require.Len(b.t, all, 1)
	return all[0]
}

// noTokens checks that nothing secret was logged.
func (b *bench) noTokens(ids ...string) {
	b.t.Helper()
	for _, entry := range b.logs.All() {
		text := fmt.Sprint(entry.Message, entry.ContextMap())
		for _, req := range b.machine.all() {
			if claim := req.claimed(); claim != nil {
				assert.NotContains(b.t, text, claim.Token)
			}
		}
		assert.NotContains(b.t, text, "BEGIN KEY")
	}
}

func failure(cause string) *bootapi.Failure {
	return &bootapi.Failure{Phase: bootapi.PhaseBuilding, Cause: cause, Detail: "exit status 1", Retryable: false}
}
