package bulk

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/embedded"
	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

// client is a valid configuration.
func client(id string, aliases ...string) configstore.Client {
	return configstore.Client{
		ClientID:   id,
		Domains:    configstore.Domains{Production: "www." + id + ".example", Edit: "edit." + id + ".example", Aliases: aliases},
		Repository: configstore.Repository{URL: "https://git.example/" + id + ".git", Branch: "main"},
		Settings:   configstore.Settings{ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}
}

func clients(n int) []configstore.Client {
	all := make([]configstore.Client, n)
	for i := range all {
		all[i] = client(fmt.Sprintf("c%05d", i))
	}
	return all
}

func open(t *testing.T) *embedded.Store {
	t.Helper()
	store, err := embedded.Open(filepath.Join(t.TempDir(), "test.db"), embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// steps are the writes of all clients that differ, at any version.
func steps(t *testing.T, store configstore.Store, clients []configstore.Client) []Step {
	t.Helper()
	found, err := Compare(t.Context(), store, clients, nil)
	require.NoError(t, err)
	var all []Step
	for _, c := range found {
		if !c.Unchanged() {
			step, err := c.Step(configstore.AnyVersion)
			require.NoError(t, err)
			all = append(all, step)
		}
	}
	return all
}

// watched is a store whose transactions are watched, and bounded in the hosts that they hold.
type watched struct {
	configstore.Store
	most int // hosts in a transaction; 0: as many as the store takes

	sizes []int                // of the transactions that were carried out
	fail  func(call int) error // before the transaction; nil: never
	calls int
}

func (w *watched) PutAll(ctx context.Context, writes []configstore.Write) ([]configstore.Record, error) {
	w.calls++
	if w.fail != nil {
		if err := w.fail(w.calls); err != nil {
			return nil, err
		}
	}
	hosts := 0
	for _, write := range writes {
		hosts += 1 + len(write.Client.Domains.Aliases)
	}
	if w.most > 0 && len(writes) > 1 && hosts > w.most {
		return nil, fmt.Errorf("putting: %w", configstore.ErrTooLarge)
	}
	records, err := w.Store.PutAll(ctx, writes)
	if err == nil {
		w.sizes = append(w.sizes, len(writes))
	}
	return records, err
}

func TestWriteAndCompare(t *testing.T) {
	for _, n := range []int{0, 1, 100, fewClients + 500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			store := &watched{Store: open(t)}
			all := clients(n)
			var written []int
			result, err := Write(t.Context(), store, steps(t, store, all), Options{
				Written: func(step int, rec configstore.Record) {
					assert.Equal(t, all[step].ClientID, rec.Client.ClientID)
					assert.EqualValues(t, 1, rec.Version)
					written = append(written, step)
				},
			})
			require.NoError(t, err)
			assert.Equal(t, Result{Written: n}, result)
			assert.Len(t, written, n)
			assert.Len(t, store.sizes, (n+configstore.MaxWrites-1)/configstore.MaxWrites)
			assert.Empty(t, steps(t, store, all), "again, nothing is to be done")
			if n == 0 {
				return
			}
			all[n/2].Settings.IdleTimeoutMinutes = 30
			found, err := Compare(t.Context(), store, all, nil)
			require.NoError(t, err)
			for i, c := range found {
				assert.Equal(t, i != n/2, c.Unchanged())
				assert.EqualValues(t, 1, c.Stored)
			}
			require.Len(t, found[n/2].Changes, 1)
			assert.Equal(t, "settings.idleTimeoutMinutes: 15 → 30", found[n/2].Changes[0].String())
		})
	}
}

func TestHostsMoveWithinOneTransaction(t *testing.T) {
	store := &watched{Store: open(t)}
	all := clients(3 * configstore.MaxWrites)
	_, err := Write(t.Context(), store, steps(t, store, all), Options{})
	require.NoError(t, err)

	// The first and the last exchange their hosts; one in the middle hands an alias on.
	first, last := &all[0], &all[len(all)-1]
	first.Domains.Edit, last.Domains.Edit = last.Domains.Edit, first.Domains.Edit
	for i := range all {
		all[i].Settings.IdleTimeoutMinutes = 20
	}
	_, err = Write(t.Context(), store, steps(t, store, all), Options{})
	require.NoError(t, err)
	assert.Empty(t, steps(t, store, all))
	rec, err := store.Get(t.Context(), first.ClientID)
	require.NoError(t, err)
	assert.Equal(t, "edit.c00095.example", rec.Client.Domains.Edit)
}

func TestMovesThatAreTooLarge(t *testing.T) {
	store := &watched{Store: open(t)}
	all := clients(configstore.MaxWrites + 1)
	_, err := Write(t.Context(), store, steps(t, store, all), Options{})
	require.NoError(t, err)
	hosts := make([]string, len(all))
	for i := range all {
		hosts[i] = all[i].Domains.Edit
	}
	for i := range all {
		all[i].Domains.Edit = hosts[(i+1)%len(all)]
	}
	_, err = Write(t.Context(), store, steps(t, store, all), Options{})
	require.ErrorIs(t, err, configstore.ErrTooLarge)
	require.ErrorContains(t, err, "c00000, c00001")
	require.ErrorContains(t, err, "and 23 more")
}

func TestBatchesFitWhatTheStoreTakes(t *testing.T) {
	store := &watched{Store: open(t), most: 25}
	all := clients(2000)
	for i := range all {
		if i == 50 || i > 1990 { // a few large ones hold up no others for long
			all[i].Domains.Aliases = []string{"a." + all[i].Domains.Edit, "b." + all[i].Domains.Edit, "c." + all[i].Domains.Edit, "d." + all[i].Domains.Edit}
		}
	}
	result, err := Write(t.Context(), store, steps(t, store, all), Options{})
	require.NoError(t, err)
	assert.Equal(t, 2000, result.Written)
	assert.Empty(t, steps(t, store, all))
	assert.Equal(t, 24, slices.Max(store.sizes), "16, which fits, and an eighth more from time to time")
	assert.Less(t, store.calls-len(store.sizes), 10, "calls in vain")
	assert.Less(t, store.calls, 2000/24+60)
}

func TestRefusalEndsOrIsIsolated(t *testing.T) {
	setup := func(t *testing.T) (configstore.Store, []Step) {
		store := open(t)
		_, err := store.Put(t.Context(), client("owner", "taken.example"), configstore.AnyVersion)
		require.NoError(t, err)
		all := clients(100)
		all[40].Domains.Aliases = []string{"taken.example"}
		return store, steps(t, store, all)
	}
	t.Run("ends", func(t *testing.T) {
		store, todo := setup(t)
		result, err := Write(t.Context(), store, todo, Options{})
		require.ErrorIs(t, err, configstore.ErrHostTaken)
		require.ErrorContains(t, err, `"c00040"`)
		assert.Equal(t, Result{Written: configstore.MaxWrites}, result, "its transaction as a whole is refused")
	})
	t.Run("is isolated", func(t *testing.T) {
		store, todo := setup(t)
		result, err := Write(t.Context(), store, todo, Options{Isolate: true})
		require.NoError(t, err)
		assert.Equal(t, 99, result.Written)
		require.Len(t, result.Refused, 1)
		assert.Equal(t, 40, result.Refused[0].Step)
		require.ErrorIs(t, result.Refused[0].Err, configstore.ErrHostTaken)
	})
}

func TestUnavailableStoreIsWaitedFor(t *testing.T) {
	down := fmt.Errorf("down: %w", configstore.ErrUnavailable)
	store := &watched{Store: open(t), fail: func(call int) error {
		if call == 2 {
			return down
		}
		return nil
	}}
	retries := 0
	result, err := Write(t.Context(), store, steps(t, store, clients(100)), Options{Retry: func(err error, in time.Duration) {
		require.ErrorIs(t, err, down)
		assert.Positive(t, in)
		retries++
	}})
	require.NoError(t, err)
	assert.Equal(t, Result{Written: 100}, result)
	assert.Equal(t, 1, retries)

	// One that takes nothing at all is not waited for.
	store = &watched{Store: open(t), fail: func(int) error { return down }}
	result, err = Write(t.Context(), store, steps(t, store, clients(100)), Options{})
	require.ErrorIs(t, err, down)
	assert.Zero(t, result.Written)
	assert.Equal(t, 1, store.calls)
}

// A transaction whose answer is lost may have been carried out: what is stored as it
// should be is no conflict.
func TestLostAnswer(t *testing.T) {
	inner := open(t)
	all := clients(2 * configstore.MaxWrites)
	todo := steps(t, inner, all)
	for i := range todo {
		todo[i].Expect = configstore.NoVersion
	}
	store := &watched{Store: inner}
	store.fail = func(call int) error {
		if call != 2 {
			return nil
		}
		var writes []configstore.Write
		for _, s := range todo[configstore.MaxWrites:] {
			writes = append(writes, s.Write)
		}
		_, err := inner.PutAll(context.Background(), writes)
		return errors.Join(err, configstore.ErrUnavailable)
	}
	result, err := Write(t.Context(), store, todo, Options{Isolate: true})
	require.NoError(t, err)
	assert.Equal(t, Result{Written: len(all)}, result)
}

func TestInterruptionFinishesWhatIsUnderWay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	store := &watched{Store: open(t), fail: func(call int) error {
		if call == 2 {
			cancel()
		}
		return nil
	}}
	all := clients(5 * configstore.MaxWrites)
	result, err := Write(ctx, store, steps(t, store, all), Options{})
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 2*configstore.MaxWrites, result.Written)
	assert.Len(t, steps(t, store, all), 3*configstore.MaxWrites, "that many are left")
}
