package sessions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/embedded"
)

const (
	fewSessions  = 10
	manySessions = 10_000
	ofOneClient  = 100
	// countFor is the idle timeout of the sessions, and for how long writes are counted.
	countFor = time.Minute
	// slowest is how many nanoseconds longer a look-up may take with many sessions than
	// with few, whose routes all stay in the processor's caches.
	slowest = 1000
	rounds  = 5
)

// crowd is a runner of containers which are one server of this process, each at a
// loopback address of its own, and which are always in use.
type crowd struct {
	port int

	mu     sync.Mutex
	byRef  map[string]*member
	byHost map[string]*member
}

type member struct {
	sessions.Container
	hash string
}

func newCrowd(b *testing.B) *crowd {
	b.Helper()
	ln, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp4", "0.0.0.0:0") // containers are at 127.x.y.z
	require.NoError(b, err)
	c := &crowd{port: ln.Addr().(*net.TCPAddr).Port, byRef: map[string]*member{}, byHost: map[string]*member{}}
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	b.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return c
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	local := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	c.mu.Lock()
	m := c.byHost[local.IP.String()]
	c.mu.Unlock()
	switch {
	case m == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.URL.Path == bootapi.PathProof:
		var req bootapi.ProofRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		proof, err := bootapi.MakeProof(m.hash, req.Nonce)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, bootapi.Proof{Proof: proof})
	case r.URL.Path == bootapi.PathClaim:
		answer(w, bootapi.Status{Phase: bootapi.PhaseReady})
	case r.URL.Path == bootapi.PathEvents:
		fmt.Fprint(w, "event: status\ndata: {\"phase\":\"ready\"}\n\n")
	case r.URL.Path == bootapi.PathQuiesce:
		answer(w, bootapi.QuiesceReply{Reason: "active: document 0s ago"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// Start implements sessions.Runner.
func (c *crowd) Start(_ context.Context, r sessions.StartRequest) (sessions.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ref := fmt.Sprintf("%s/%d", r.SessionID, r.Epoch)
	m, ok := c.byRef[ref]
	if !ok {
		n := len(c.byRef) + 1
		host := fmt.Sprintf("127.1.%d.%d", n/250, n%250+1)
		m = &member{hash: r.TokenHash, Container: sessions.Container{
			Ref: ref, SessionID: r.SessionID, Epoch: r.Epoch, Address: fmt.Sprintf("%s:%d", host, c.port), Running: true,
		}}
		c.byRef[ref], c.byHost[host] = m, m
	}
	return m.Container, nil
}

// Describe implements sessions.Runner.
func (c *crowd) Describe(_ context.Context, ref string) (sessions.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.byRef[ref]; ok {
		return m.Container, nil
	}
	return sessions.Container{}, sessions.ErrNoContainer
}

// List implements sessions.Runner.
func (c *crowd) List(context.Context) ([]sessions.Container, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]sessions.Container, 0, len(c.byRef))
	for _, m := range c.byRef {
		all = append(all, m.Container)
	}
	return all, nil
}

// Stop implements sessions.Runner.
func (*crowd) Stop(context.Context, string, string) error { return nil }

// Forget implements sessions.Runner.
func (*crowd) Forget(context.Context, string) error { return nil }

// Kept implements sessions.Runner.
func (*crowd) Kept(context.Context) ([]string, error) { return nil, nil }

// Close implements sessions.Runner.
func (*crowd) Close(context.Context) error { return nil }

// countedRegistry counts what is asked of a registry.
type countedRegistry struct {
	sessions.Registry
	reads, writes atomic.Int64
}

func (c *countedRegistry) Get(ctx context.Context, id string) (sessions.Record, error) {
	c.reads.Add(1)
	return c.Registry.Get(ctx, id)
}

func (c *countedRegistry) Update(ctx context.Context, r sessions.Record, limit int) (sessions.Record, error) {
	c.writes.Add(1)
	return c.Registry.Update(ctx, r, limit)
}

// settled is an edge's sessions that are all active.
type settled struct {
	service  *sessions.Service
	registry *countedRegistry
	ids      []string
	heap     int64 // bytes that they take, of the edge alone
}

// settle wakes n sessions on an edge of their own.
func settle(b *testing.B, n int) *settled {
	b.Helper()
	store, err := embedded.Open(filepath.Join(b.TempDir(), "router.db"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	s := &settled{registry: &countedRegistry{Registry: store}}
	machine := newCrowd(b)
	s.service = sessions.New(sessions.Options{
		Registry: s.registry, Runner: machine, Exclusive: true, Tunables: sessions.Tunables{IdleTimeout: countFor},
		Client: func(_ context.Context, id string) (configstore.Client, error) {
			return configstore.Client{
				ClientID: id, Domains: configstore.Domains{Edit: "edit." + id + ".test"},
				Repository: configstore.Repository{URL: "https://git.example.com/site.git", Branch: "main"},
				Settings:   configstore.Settings{MaxConcurrentSessions: ofOneClient},
			}, nil
		},
	})
	s.service.Start()
	b.Cleanup(func() { require.NoError(b, s.service.Close(context.Background())) })
	before := heapAlloc()
	s.ids = make([]string, n)
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make(chan error, n)
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				r, _, err := s.service.Create(b.Context(), sessions.CreateRequest{ClientID: fmt.Sprintf("client-%d", i/ofOneClient), Wake: true})
				if err == nil {
					_, err = s.service.Wait(b.Context(), r.SessionID)
				}
				if err != nil {
					errs <- err
					return
				}
				s.ids[i] = strings.Clone(r.SessionID)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(b, err)
	}
	for _, id := range s.ids {
		_, ok := s.service.Route(id)
		require.True(b, ok, id)
	}
	s.heap = heapAlloc() - before
	return s
}

func heapAlloc() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// lookUp is the time in nanoseconds of a look-up, of one session after the other.
func (s *settled) lookUp(b *testing.B) float64 {
	b.Helper()
	const times = 2_000_000
	began := time.Now()
	for n := range times {
		if _, ok := s.service.Route(s.ids[n%len(s.ids)]); !ok {
			b.Fatal("a session has no route")
		}
	}
	return float64(time.Since(began).Nanoseconds()) / times
}

// BenchmarkManySessions prints what many active sessions cost an edge beside few: memory, the
// registry's calls, and the time to look one up.
func BenchmarkManySessions(b *testing.B) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer out.Flush()
	few := settle(b, fewSessions)
	began := time.Now()
	many := settle(b, manySessions)
	fmt.Fprintf(out, "\n%d sessions woken in\t%.0f s\t\n", manySessions, time.Since(began).Seconds())

	// The containers of this process are part of it.
	each := float64(many.heap-few.heap) / (manySessions - fewSessions)
	fmt.Fprintf(out, "heap of an active session and its container here\t%.0f bytes\t\n", each)
	b.ReportMetric(each, "bytes/session")

	<-time.After(countFor) // the first are asked only by then
	reads, writes := many.registry.reads.Load(), many.registry.writes.Load()
	<-time.After(countFor)
	reads, writes = many.registry.reads.Load()-reads, many.registry.writes.Load()-writes
	each = float64(writes) / manySessions
	fmt.Fprintf(out, "writes of a session and idle timeout of %s\t%.2f: %.0f a second\t\n", countFor, each, float64(writes)/countFor.Seconds())
	fmt.Fprintf(out, "reads beside them\t%.2f: %.0f a second\t\n", float64(reads)/manySessions, float64(reads)/countFor.Seconds())
	b.ReportMetric(each, "writes/session")
	if each > 2 {
		b.Errorf("a session is written %.2f times in an idle timeout", each)
	}

	var withFew, withMany, ratios []float64
	for round := range rounds + 1 {
		f, m := few.lookUp(b), many.lookUp(b)
		if round > 0 { // the first warms both
			withFew, withMany, ratios = append(withFew, f), append(withMany, m), append(ratios, m/f)
		}
	}
	ratio := median(withMany) / median(withFew)
	fmt.Fprintf(out, "look-up\t%.0f and %.0f ns: ratio %.2f, single rounds %.2f to %.2f\t\n",
		median(withFew), median(withMany), ratio, slices.Min(ratios), slices.Max(ratios))
	b.ReportMetric(ratio, "sessions-ratio")
	if longer := median(withMany) - median(withFew); longer > slowest {
		b.Errorf("a look-up among %d sessions takes %.0f ns longer than among %d, at most %d are allowed", manySessions, longer, fewSessions, slowest)
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
