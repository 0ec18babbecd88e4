package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// countingStore is the embedded store, counting what is asked of it but for the table's
// own following of changes.
type countingStore struct {
	EmbeddedConfigStore
}

// storeCalls counts the calls of the counting store.
var storeCalls atomic.Int64

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
