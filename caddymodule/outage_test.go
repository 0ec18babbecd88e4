package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// remoteStore is the embedded store in the role of one on another machine: it can be cut
// off from those who follow it.
type remoteStore struct {
	EmbeddedConfigStore
	Interval caddy.Duration `json:"interval,omitempty"`
}

// cutOff is the error of a store that cannot be reached; nil: it can.
var cutOff atomic.Pointer[error]

func init() { caddy.RegisterModule(remoteStore{}) }

func (remoteStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceConfigStores + ".remote",
		New: func() caddy.Module { return new(remoteStore) },
	}
}

func (s *remoteStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		for d.NextBlock(0) {
			if d.Val() != "interval" || !d.NextArg() {
				return d.ArgErr()
			}
			interval, err := caddy.ParseDuration(d.Val())
			if err != nil {
				return d.WrapErr(err)
			}
			s.Interval = caddy.Duration(interval)
		}
	}
	return nil
}

func (s *remoteStore) Identity(dataDir string) string { return "remote " + dataDir }

func (s *remoteStore) Local() bool { return false }

func (s *remoteStore) FollowOptions() configstore.FollowOptions {
	return configstore.FollowOptions{Interval: time.Duration(s.Interval)}
}

func (s *remoteStore) OpenConfigStore(dataDir string) (configstore.Store, error) {
	store, err := s.EmbeddedConfigStore.OpenConfigStore(dataDir)
	return remote{store}, err
}

type remote struct{ configstore.Store }

func (r remote) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	if err := cutOff.Load(); err != nil {
		return "", *err
	}
	return r.Store.Scan(ctx, fn)
}

func (r remote) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	if err := cutOff.Load(); err != nil {
		return nil, "", *err
	}
	return r.Store.Changes(ctx, since)
}

// cutOffStore cuts the store off until the test ends or mends it.
func cutOffStore(t *testing.T) (mend func()) {
	err := fmt.Errorf("%w: connection refused", configstore.ErrUnavailable)
	cutOff.Store(&err)
	mend = func() { cutOff.Store(nil) }
	t.Cleanup(mend)
	return mend
}

const (
	remoteLine = "config_store remote {\ninterval 100ms\n}"
	// within is how soon an edge must have caught up with its store; all but 5 s of it is
	// for a machine that is busy.
	within = patience
)

// snapshots are the files in the edge's data folder.
func (e *testEdge) snapshots() []string {
	files, err := filepath.Glob(filepath.Join(e.data, "table-*"))
	require.NoError(e.t, err)
	return files
}

func TestRestartWhileTheStoreIsDown(t *testing.T) {
	e := startEdge(t, remoteLine)
	require.NoError(t, caddy.Stop())
	require.Len(t, e.snapshots(), 1)

	mend := cutOffStore(t)
	require.NoError(t, e.load("", remoteLine))
	require.Eventually(t, func() bool { return e.live().table.Loaded() }, within, 5*time.Millisecond)
	assert.Equal(t, configstore.SourceSnapshot, e.live().table.Info().Source)
	assert.Equal(t, http.StatusOK, e.get("/new").status, "a known client is served")
	assert.Equal(t, http.StatusNotFound, e.do(http.MethodGet, "edit.nobody.test", "/new", nil).status)
	p := &Permission{app: e.app()}
	assert.NoError(t, p.CertificateAllowed(t.Context(), "edit.acme.test"))

	require.NoError(t, e.live().store.Delete(t.Context(), "acme", configstore.AnyVersion))
	assert.Equal(t, http.StatusOK, e.get("/new").status)
	mend()
	require.Eventually(t, func() bool { return e.get("/new").status == http.StatusNotFound }, within, 20*time.Millisecond)
}

func TestStartWhileTheStoreIsDown(t *testing.T) {
	mend := cutOffStore(t)
	e := &testEdge{t: t, data: t.TempDir(), port: freePort(t)}
	e.site()
	require.NoError(t, e.load("", remoteLine))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })

	require.Eventually(t, func() bool { return e.live().table.Info().Failing() }, within, 5*time.Millisecond)
	for _, host := range []string{"edit.acme.test", "edit.nobody.test"} {
		page := e.do(http.MethodGet, host, "/new", http.Header{"Sec-Fetch-Mode": {"navigate"}})
		assert.Equal(t, http.StatusServiceUnavailable, page.status)
		assert.Equal(t, "5", page.header.Get("Retry-After"))
		assert.Contains(t, page.body, "the list of the sites that it serves cannot be read")
		assert.NotContains(t, page.body, "connection refused", "what strangers need not know")
		program := e.do(http.MethodPost, host, "/new", nil)
		assert.Equal(t, http.StatusServiceUnavailable, program.status)
		assert.Contains(t, program.body, "no routing table yet: the config store cannot be read")
	}
	assert.Contains(t, e.live().table.Info().LastError, "connection refused", "what operators do")
	p := &Permission{app: e.app()}
	assert.ErrorIs(t, p.CertificateAllowed(t.Context(), "edit.acme.test"), errNoTable)

	mend()
	require.Eventually(t, func() bool { return e.get("/new").status == http.StatusNotFound }, within, 20*time.Millisecond)
}

func TestReloadChangesHowTheStoreIsFollowed(t *testing.T) {
	e := startEdge(t, remoteLine)
	live := e.live()
	done := live.follower.done
	require.NoError(t, e.load("passive_agents x", remoteLine))
	assert.Equal(t, done, live.follower.done, "nothing of it has changed")
	require.NoError(t, e.load("", "config_store remote {\ninterval 50ms\n}"))
	require.Same(t, live, e.live())
	assert.NotEqual(t, done, live.follower.done)
	assert.Equal(t, 50*time.Millisecond, live.follower.options.Interval)
	assert.Equal(t, http.StatusOK, e.get("/new").status, "the table serves all the while")
	require.NoError(t, live.store.Delete(t.Context(), "acme", configstore.AnyVersion))
	require.Eventually(t, func() bool { return e.get("/new").status == http.StatusNotFound }, within, 20*time.Millisecond)
}

func TestSnapshotPath(t *testing.T) {
	assert.NotEqual(t, snapshotPath("/data", "dynamodb:a"), snapshotPath("/data", "dynamodb:b"))
	assert.Equal(t, "/data", filepath.Dir(snapshotPath("/data", "dynamodb:eu-central-1/../../etc")))
}
