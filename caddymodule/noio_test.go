package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

// countingStore is the embedded store, counting what is asked of it.
type countingStore struct {
	EmbeddedConfigStore
}

// storeCalls counts the calls of the counting store, and storePolls the questions for
// changes, of which there is one a second whatever comes.
var storeCalls, storePolls atomic.Int64

func init() { caddy.RegisterModule(countingStore{}) }

func (countingStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceConfigStores + ".counting",
		New: func() caddy.Module { return new(countingStore) },
	}
}

func (s *countingStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return s.EmbeddedConfigStore.UnmarshalCaddyfile(d)
}

func (s *countingStore) Identity(dataDir string) string { return "counting " + dataDir }

func (s *countingStore) OpenConfigStore(dataDir string) (configstore.Store, error) {
	store, err := s.EmbeddedConfigStore.OpenConfigStore(dataDir)
	return counted{store}, err
}

type counted struct{ configstore.Store }

func (c counted) Get(ctx context.Context, id string) (configstore.Record, error) {
	storeCalls.Add(1)
	return c.Store.Get(ctx, id)
}

func (c counted) List(ctx context.Context, after string, limit int) ([]configstore.Record, error) {
	storeCalls.Add(1)
	return c.Store.List(ctx, after, limit)
}

func (c counted) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	storePolls.Add(1)
	return c.Store.Changes(ctx, since)
}

func (c counted) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	storeCalls.Add(1)
	return c.Store.Scan(ctx, fn)
}

func TestHostsCostNoStoreCall(t *testing.T) {
	e := startEdge(t, "config_store counting")
	path := e.session()
	before := storeCalls.Load()
	require.Positive(t, before, "the scan at the start and the client's configuration at the wake")

	var page404 string
	p := &Permission{app: e.app()}
	for i := range 300 {
		for _, host := range []string{
			fmt.Sprintf("edit.nobody%d.test", i), "edit.a.b.localhost", "127.0.0.1", "[::1]", "edit..test",
			strings.Repeat("a", 300) + ".test", "xn--a.test", "edit.acme.test.nobody.test",
		} {
			got := e.do(http.MethodGet, host, path, http.Header{"Sec-Fetch-Mode": {"navigate"}})
			require.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, got.status, host)
			if i == 0 && got.status == http.StatusNotFound {
				page404 = got.body
			}
			require.Error(t, p.CertificateAllowed(context.Background(), host))
		}
		require.Equal(t, http.StatusOK, e.get(path).status)
	}
	assert.Contains(t, page404, "There is nothing here")
	assert.Equal(t, before, storeCalls.Load(), "no host, known or not, costs a call")
}

// A flood of hosts that are nobody's, by Host and by SNI, costs no store call and leaves
// nothing behind.
func TestFloodOfUnknownHosts(t *testing.T) {
	e := startEdge(t, "config_store counting")
	const hosts = 50_000
	p := &Permission{app: e.app()}
	h := e.router()
	replacer := caddy.NewReplacer()
	flood := func(round, n int) {
		for i := range n {
			name := fmt.Sprintf("edit.%d-%d-%s.test", round, i, strings.Repeat("x", i%50))
			require.Error(t, p.CertificateAllowed(t.Context(), name))
			r := httptest.NewRequest(http.MethodGet, "http://"+name+"/session/"+strconv.Itoa(i)+"/", nil)
			r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, replacer))
			w := httptest.NewRecorder()
			require.NoError(t, h.ServeHTTP(w, r, nil))
			require.Equal(t, http.StatusNotFound, w.Code)
		}
	}
	flood(0, 1000) // whatever grows once
	calls, polls, began, before := storeCalls.Load(), storePolls.Load(), time.Now(), heapInUse()
	flood(1, hosts)
	grown, took := heapInUse()-before, time.Since(began)
	t.Logf("%d hosts in %s: heap grown by %d KiB, %d polls", hosts, took, grown>>10, storePolls.Load()-polls)
	assert.Equal(t, calls, storeCalls.Load(), "no host costs a call")
	assert.LessOrEqual(t, storePolls.Load()-polls, int64(took/time.Second)+2, "the table's own polls, and no more")
	// 20 bytes for each of them would be more.
	assert.Less(t, grown, int64(1<<20), "nothing is remembered of them")
	assert.Equal(t, http.StatusOK, e.get("/new").status)
}

// router is a handler as the configuration in force has one.
func (e *testEdge) router() *Router {
	return &Router{app: e.app(), NewSessions: newSessionsOpen, logger: zap.NewNop()}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
