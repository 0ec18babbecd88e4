package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

func testHostTaken(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia", "shop.example"))

	for name, c := range map[string]configstore.Client{
		"alias meets alias":     client("bramble", "other.example", "shop.example"),
		"alias meets edit host": client("bramble", "edit.amelia.example"),
	} {
		_, err := store.Put(t.Context(), c, configstore.AnyVersion)
		require.ErrorIs(t, err, configstore.ErrHostTaken, name)
		var taken *configstore.HostTakenError
		require.ErrorAs(t, err, &taken, name)
		assert.Equal(t, c.Domains.Aliases[len(c.Domains.Aliases)-1], taken.Host, name)
		assert.NotContains(t, err.Error(), `"amelia"`, "the owner is not named")
	}
	put(t, store, client("amelia", "shop.example")) // one's own host is no obstacle
}

func testHostReleased(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia", "shop.example", "old.example"))
	put(t, store, client("amelia", "shop.example"))
	put(t, store, client("bramble", "old.example"))
	_, err := store.Put(t.Context(), client("bramble", "shop.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	require.NoError(t, store.Delete(t.Context(), "amelia", configstore.AnyVersion))
	put(t, store, client("bramble", "shop.example", "edit.amelia.example"))
}

func testHostFailureLeavesNoTrace(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia", "shop.example"))
	before := put(t, store, client("bramble", "bread.example"))
	_, position := scan(t, store)

	_, err := store.Put(t.Context(), client("bramble", "cake.example", "shop.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	_, err = store.Put(t.Context(), client("clover", "tart.example", "shop.example"), configstore.NoVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)

	got, err := store.Get(t.Context(), "bramble")
	require.NoError(t, err)
	assert.Equal(t, before, got)
	_, err = store.Get(t.Context(), "clover")
	require.ErrorIs(t, err, configstore.ErrNotFound)
	changed, _ := changes(t, store, position)
	assert.NotContains(t, changed, "clover")
	if c, repeated := changed["bramble"]; repeated {
		assert.Equal(t, before.Version, c.Version)
	}
	// Neither did the failed writes claim what they named, nor release what they left out.
	put(t, store, client("daisy", "cake.example", "tart.example"))
	_, err = store.Put(t.Context(), client("daisy", "bread.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
}

func testRaceForHost(b backend) {
	t := b.t
	stores := []configstore.Store{b.store(), b.store()}
	const n = 16
	errs := inParallel(n, func(i int) error {
		_, err := stores[i%2].Put(t.Context(), client(fmt.Sprintf("client-%d", i), "shop.example"), configstore.AnyVersion)
		return err
	})
	winners(t, errs, configstore.ErrHostTaken)
	entries, _ := scan(t, stores[0])
	assert.Len(t, entries, 1)
}

func testRaceForID(b backend) {
	t := b.t
	stores := []configstore.Store{b.store(), b.store()}
	errs := inParallel(16, func(i int) error {
		_, err := stores[i%2].Put(t.Context(), client("amelia"), configstore.NoVersion)
		return err
	})
	winners(t, errs, configstore.ErrExists)
}

func testRaceForVersion(b backend) {
	t := b.t
	stores := []configstore.Store{b.store(), b.store()}
	version := put(t, stores[0], client("amelia")).Version
	const rounds = 4
	for range rounds {
		errs := inParallel(8, func(i int) error {
			_, err := stores[i%2].Put(t.Context(), client("amelia", fmt.Sprintf("alias-%d.example", i)), version)
			return err
		})
		winner := winners(t, errs, configstore.ErrConflict)
		version++
		got, err := stores[0].Get(t.Context(), "amelia")
		require.NoError(t, err)
		assert.Equal(t, version, got.Version)
		assert.Equal(t, []string{fmt.Sprintf("alias-%d.example", winner)}, got.Client.Domains.Aliases)
	}
}

// winners requires that exactly one attempt succeeded and all others failed with loss.
func winners(t *testing.T, errs []error, loss error) (winner int) {
	t.Helper()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			winner = i
			won++
		case !errors.Is(err, loss):
			assert.Failf(t, "lost in another way", "attempt %d: %v", i, err)
		}
	}
	require.Equal(t, 1, won, "exactly one attempt wins")
	return winner
}
