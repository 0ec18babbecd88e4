package storetest

import (
	"errors"
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// anyway is a write of whatever is stored.
func anyway(c configstore.Client) configstore.Write {
	return configstore.Write{Client: c, Expect: configstore.AnyVersion}
}

func testPutAll(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("bramble", "bread.example"))
	_, position := scan(t, store)

	clients := []configstore.Client{client("clover"), client("bramble", "cake.example"), client("amelia")}
	records, err := store.PutAll(t.Context(), []configstore.Write{
		{Client: clients[0], Expect: configstore.NoVersion},
		{Client: clients[1], Expect: 1},
		anyway(clients[2]),
	})
	require.NoError(t, err)
	require.Len(t, records, 3)
	for i, record := range records {
		assert.Equal(t, clients[i], record.Client, "in the order of the writes")
		got, err := store.Get(t.Context(), record.Client.ClientID)
		require.NoError(t, err)
		assert.Equal(t, record, got)
	}
	assert.Equal(t, []int64{1, 2, 1}, []int64{records[0].Version, records[1].Version, records[2].Version})
	changed, _ := changes(t, store, position)
	assert.Len(t, changed, 3)
	assert.Equal(t, []string{"edit.bramble.example", "cake.example"}, changed["bramble"].Entry.Hosts)
	put(t, store, client("daisy", "bread.example"))

	records, err = store.PutAll(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, records)
}

func testPutAllOrNone(b backend) {
	t := b.t
	store := b.store()
	before := put(t, store, client("amelia", "shop.example"))
	put(t, store, client("bramble"))
	_, position := scan(t, store)

	for _, test := range []struct {
		name   string
		write  configstore.Write
		err    error
		client string
	}{
		{"another version", configstore.Write{Client: client("bramble"), Expect: 7}, configstore.ErrConflict, "bramble"},
		{"exists", configstore.Write{Client: client("bramble"), Expect: configstore.NoVersion}, configstore.ErrExists, "bramble"},
		{"not stored", configstore.Write{Client: client("daisy"), Expect: 1}, configstore.ErrConflict, "daisy"},
		{"host of another", anyway(client("daisy", "edit.bramble.example")), configstore.ErrHostTaken, "daisy"},
		{"host of another write", anyway(client("daisy", "new.example")), configstore.ErrHostTaken, "daisy"},
	} {
		for _, last := range []bool{true, false} {
			writes := []configstore.Write{anyway(client("amelia", "new.example")), anyway(client("clover"))}
			if last {
				writes = append(writes, test.write)
			} else {
				writes = append([]configstore.Write{test.write}, writes...)
			}
			_, err := store.PutAll(t.Context(), writes)
			require.ErrorIs(t, err, test.err, test.name)
			var named *configstore.WriteError
			require.ErrorAs(t, err, &named, test.name)
			if last {
				assert.Equal(t, test.client, named.ClientID, test.name)
			}
		}
	}
	got, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, before, got)
	for _, id := range []string{"clover", "daisy"} {
		_, err = store.Get(t.Context(), id)
		require.ErrorIs(t, err, configstore.ErrNotFound, id)
	}
	changed, _ := changes(t, store, position)
	assert.NotContains(t, changed, "clover")
	put(t, store, client("elder", "new.example"))
	_, err = store.Put(t.Context(), client("elder", "shop.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken, "no host was released")
}

func testPutAllMovesHosts(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia", "shop.example"))
	put(t, store, client("bramble", "bread.example"))
	owns := func(id string, hosts ...string) {
		t.Helper()
		entries, _ := scan(t, store)
		assert.Equal(t, append([]string{"edit." + id + ".example"}, hosts...), entries[id].Hosts)
		for _, host := range hosts {
			_, err := store.Put(t.Context(), client("thief", host), configstore.AnyVersion)
			require.ErrorIs(t, err, configstore.ErrHostTaken, host)
		}
	}
	move := func(clients ...configstore.Client) {
		t.Helper()
		writes := make([]configstore.Write, len(clients))
		for i, c := range clients {
			writes[i] = anyway(c)
		}
		_, err := store.PutAll(t.Context(), writes)
		require.NoError(t, err)
	}

	move(client("amelia", "bread.example"), client("bramble", "shop.example"))
	owns("amelia", "bread.example")
	owns("bramble", "shop.example")
	move(client("amelia"), client("clover", "bread.example"))
	owns("clover", "bread.example")
	move(client("daisy", "shop.example"), client("bramble"))
	owns("daisy", "shop.example")
	put(t, store, client("amelia"))
	put(t, store, client("bramble")) // neither holds what it gave away, nor releases it
	owns("daisy", "shop.example")
	require.NoError(t, store.Delete(t.Context(), "bramble", configstore.AnyVersion))
	owns("clover", "bread.example")
}

// What the caller has seen must still be stored, where it says so.
func testPutSeen(b backend) {
	t := b.t
	store := b.store()
	first := put(t, store, client("amelia"))
	other := client("amelia")
	other.Repository.Branch = "next"
	next := client("amelia", "shop.example")
	_, err := store.PutAll(t.Context(), []configstore.Write{{Client: next, Expect: first.Version, Seen: &other}})
	require.ErrorIs(t, err, configstore.ErrConflict)
	require.ErrorContains(t, err, "another tool changed it since")
	_, err = store.PutAll(t.Context(), []configstore.Write{{Client: next, Expect: first.Version, Seen: &first.Client}})
	require.NoError(t, err)
}

func testPutAllLimits(b backend) {
	t := b.t
	store := b.store()
	_, err := store.PutAll(t.Context(), []configstore.Write{
		anyway(client("amelia")), anyway(client("bramble")), anyway(client("amelia", "shop.example")),
	})
	var named *configstore.WriteError
	require.ErrorAs(t, err, &named)
	assert.Equal(t, "amelia", named.ClientID)
	require.NotErrorIs(t, err, configstore.ErrUnavailable, "trying again does not help")

	writes := make([]configstore.Write, configstore.MaxWrites+1)
	for i := range writes {
		writes[i] = configstore.Write{Client: client(fmt.Sprintf("client-%d", i)), Expect: configstore.NoVersion}
	}
	_, err = store.PutAll(t.Context(), writes)
	require.ErrorIs(t, err, configstore.ErrTooLarge)
	entries, _ := scan(t, store)
	assert.Empty(t, entries)

	_, err = store.PutAll(t.Context(), writes[:configstore.MaxWrites])
	require.NoError(t, err, "new clients with a host each")
	for _, w := range writes[:configstore.MaxWrites] {
		require.NoError(t, store.Delete(t.Context(), w.Client.ClientID, 1))
	}
	_, err = store.PutAll(t.Context(), writes[:configstore.MaxWrites])
	require.NoError(t, err, "the same after they were deleted")
	entries, _ = scan(t, store)
	assert.Len(t, entries, configstore.MaxWrites)
}

// The largest change that one client can make fits every store.
func testMostHosts(b backend) {
	t := b.t
	store := b.store()
	amelia := func(series string) configstore.Client {
		aliases := make([]string, configstore.MaxAliases)
		for i := range aliases {
			aliases[i] = fmt.Sprintf("%s-%d.example", series, i)
		}
		c := client("amelia", aliases...)
		c.Domains.Edit = "edit." + series + ".example"
		return c
	}
	put(t, store, amelia("old"))
	put(t, store, amelia("new"))
	put(t, store, client("bramble", "edit.old.example", "old-0.example", fmt.Sprintf("old-%d.example", configstore.MaxAliases-1)))
	_, err := store.Put(t.Context(), client("bramble", fmt.Sprintf("new-%d.example", configstore.MaxAliases-1)), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	require.NoError(t, store.Delete(t.Context(), "amelia", configstore.AnyVersion))
	put(t, store, client("bramble", fmt.Sprintf("new-%d.example", configstore.MaxAliases-1), "edit.new.example"))
}

// Calls that share clients and hosts, in different orders, all end, and each is seen whole.
func testRaceOfPutAll(b backend) {
	t := b.t
	stores := []configstore.Store{b.store(), b.store()}
	put(t, stores[0], client("amelia"))
	put(t, stores[0], client("bramble"))
	const n, rounds = 4, 3
	for round := range rounds {
		errs := inParallel(n, func(i int) error {
			mark := fmt.Sprintf("mark-%d-%d", round, i)
			a, c := client("amelia", "shop.example"), client("bramble", "bread.example")
			if i%2 == 0 {
				a, c = client("amelia", "bread.example"), client("bramble", "shop.example")
			}
			a.Repository.Branch, c.Repository.Branch = mark, mark
			writes := []configstore.Write{anyway(a), anyway(c)}
			if i >= n/2 {
				writes[0], writes[1] = writes[1], writes[0]
			}
			_, err := stores[i%2].PutAll(t.Context(), writes)
			return err
		})
		require.NoError(t, errors.Join(errs...))
		amelia, err := stores[0].Get(t.Context(), "amelia")
		require.NoError(t, err)
		bramble, err := stores[1].Get(t.Context(), "bramble")
		require.NoError(t, err)
		assert.Equal(t, amelia.Client.Repository.Branch, bramble.Client.Repository.Branch)
		assert.Equal(t, int64(1+n*(round+1)), amelia.Version)
		assert.Equal(t, amelia.Version, bramble.Version)
	}
}
