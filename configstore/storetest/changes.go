package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

func testScan(b backend) {
	t := b.t
	store := b.store()
	entries, position := scan(t, store)
	assert.Empty(t, entries)
	assert.NotEmpty(t, position)

	amelia, bramble := client("amelia", "shop.example"), client("bramble")
	bramble.Disabled = true
	put(t, store, amelia)
	put(t, store, amelia)
	put(t, store, bramble)
	put(t, store, client("clover"))
	require.NoError(t, store.Delete(t.Context(), "clover", configstore.AnyVersion))

	entries, _ = scan(t, store)
	assert.Equal(t, map[string]configstore.Entry{
		"amelia": {
			ClientID: "amelia", Hosts: []string{"edit.amelia.example", "shop.example"},
			Settings: amelia.Settings, Version: 2,
		},
		"bramble": {
			ClientID: "bramble", Hosts: []string{"edit.bramble.example"},
			Settings: bramble.Settings, Version: 1, Disabled: true,
		},
	}, entries)
}

func testScanError(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia"))
	put(t, store, client("bramble"))
	enough := errors.New("enough")
	calls := 0
	_, err := store.Scan(t.Context(), func(configstore.Entry) error {
		calls++
		return enough
	})
	require.ErrorIs(t, err, enough)
	assert.Equal(t, 1, calls)
	put(t, store, client("clover")) // the scan left nothing locked
}

func testScanWhileWriting(b backend) {
	t := b.t
	store, other := b.store(), b.store()
	for i := range 10 {
		put(t, store, client(fmt.Sprintf("client-%d", i)))
	}
	seen := 0
	position, err := store.Scan(t.Context(), func(configstore.Entry) error {
		seen++
		if seen > 1 {
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := other.Put(ctx, client("latecomer"), configstore.AnyVersion)
		return err
	})
	require.NoError(t, err)
	changed, _ := changes(t, store, position)
	if seen == 10 {
		require.Contains(t, changed, "latecomer", "what a scan did not see is a change")
	}
}

func testChanges(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia"))
	_, position := scan(t, store)

	bramble := client("bramble", "bread.example")
	put(t, store, bramble)
	put(t, store, client("amelia", "shop.example"))
	list, next, err := store.Changes(t.Context(), position)
	require.NoError(t, err)
	last := make(map[string]configstore.Change)
	for _, c := range list {
		assert.GreaterOrEqual(t, c.Version, last[c.ClientID].Version, "changes of a client come in order")
		last[c.ClientID] = c
	}
	assert.Equal(t, configstore.Change{ClientID: "bramble", Version: 1, Entry: entry(1, bramble)}, last["bramble"])
	assert.Equal(t, int64(2), last["amelia"].Version)
	assert.Equal(t, []string{"edit.amelia.example", "shop.example"}, last["amelia"].Entry.Hosts)

	put(t, store, client("clover"))
	changed, _ := changes(t, store, next)
	assert.Contains(t, changed, "clover")
	again, _ := changes(t, store, position)
	assert.Contains(t, again, "amelia", "a position can be used again")
	assert.Contains(t, again, "clover")
}

// Whatever happens between a scan and its changes, together they make the whole.
func testChangesOverlapScan(b backend) {
	t := b.t
	store := b.store()
	const clients = 20
	stop := make(chan struct{})
	written := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				written <- nil
				return
			default:
			}
			id := fmt.Sprintf("client-%d", i%clients)
			var err error
			if i%7 == 6 {
				err = store.Delete(t.Context(), id, configstore.AnyVersion)
			} else {
				_, err = store.Put(t.Context(), client(id), configstore.AnyVersion)
			}
			if err != nil && !errors.Is(err, configstore.ErrNotFound) {
				written <- err
				return
			}
		}
	}()

	reader := b.store()
	mirror, position := scan(t, reader)
	apply := func() {
		list, next, err := reader.Changes(t.Context(), position)
		require.NoError(t, err)
		position = next
		for _, c := range list {
			held, known := mirror[c.ClientID]
			switch {
			case c.Deleted && known && c.Version >= held.Version:
				delete(mirror, c.ClientID)
			case !c.Deleted && (!known || c.Entry.Version > held.Version):
				mirror[c.ClientID] = c.Entry
			}
		}
	}
	for range 20 {
		apply()
	}
	close(stop)
	require.NoError(t, <-written)
	apply()
	entries, _ := scan(t, store)
	assert.Equal(t, entries, mirror)
}

func testChangesTombstone(b backend) {
	t := b.t
	store := b.store()
	version := put(t, store, client("amelia")).Version
	_, position := scan(t, store)
	require.NoError(t, store.Delete(t.Context(), "amelia", version))
	changed, position := changes(t, store, position)
	require.Contains(t, changed, "amelia")
	assert.True(t, changed["amelia"].Deleted)
	assert.Greater(t, changed["amelia"].Version, version)
	assert.Zero(t, changed["amelia"].Entry)

	record := put(t, store, client("amelia"))
	changed, _ = changes(t, store, position)
	require.Contains(t, changed, "amelia")
	assert.False(t, changed["amelia"].Deleted)
	assert.Equal(t, record.Version, changed["amelia"].Entry.Version)
}

func testPositionLost(b backend) {
	t := b.t
	store := b.store()
	for _, position := range []configstore.Position{"", "nonsense", "elsewhere:0"} {
		_, _, err := store.Changes(t.Context(), position)
		require.ErrorIs(t, err, configstore.ErrPositionLost, "position %q", position)
	}
}

func testTwoHandles(b backend) {
	t := b.t
	one, two := b.store(), b.store()
	_, position := scan(t, two)
	record := put(t, one, client("amelia", "shop.example"))
	got, err := two.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, record, got)
	changed, _ := changes(t, two, position)
	assert.Contains(t, changed, "amelia")
	_, err = two.Put(t.Context(), client("bramble", "shop.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	_, err = two.Put(t.Context(), client("amelia"), record.Version)
	require.NoError(t, err)
	_, err = one.Put(t.Context(), client("amelia"), record.Version)
	require.ErrorIs(t, err, configstore.ErrConflict)
	require.NoError(t, two.Delete(t.Context(), "amelia", configstore.AnyVersion))
	_, err = one.Get(t.Context(), "amelia")
	require.ErrorIs(t, err, configstore.ErrNotFound)
}

// testTable fills a routing table by following the store, as an edge does.
func testTable(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia"))
	pattern, err := configstore.ParseHostPattern("{client}-edit.example.com")
	require.NoError(t, err)
	table := configstore.NewTable([]configstore.HostPattern{pattern})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		configstore.Follow(ctx, store, table, configstore.FollowOptions{Interval: 10 * time.Millisecond})
	}()
	defer func() { cancel(); <-done }()

	eventually := func(host, clientID string) {
		t.Helper()
		require.Eventually(t, func() bool {
			route, ok := table.Lookup(host)
			return ok == (clientID != "") && route.ClientID == clientID
		}, time.Minute, 5*time.Millisecond, "host %s", host)
	}
	eventually("edit.amelia.example", "amelia")
	eventually("amelia-edit.example.com", "amelia")
	put(t, b.store(), client("bramble", "bread.example"))
	eventually("bread.example", "bramble")
	require.NoError(t, store.Delete(t.Context(), "bramble", configstore.AnyVersion))
	eventually("bread.example", "")
	eventually("edit.amelia.example", "amelia")
}
