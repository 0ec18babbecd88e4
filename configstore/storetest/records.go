package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

func testGet(b backend) {
	t := b.t
	store := b.store()
	_, err := store.Get(t.Context(), "amelia")
	require.ErrorIs(t, err, configstore.ErrNotFound)

	c := client("amelia", "preview.amelia.example")
	stored := put(t, store, c)
	assert.Equal(t, c, stored.Client)
	assert.Equal(t, int64(1), stored.Version)
	got, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, stored, got)

	_, err = store.Get(t.Context(), "Amelia")
	require.ErrorIs(t, err, configstore.ErrNotFound, "ids are compared exactly")
}

func testPutExpect(b backend) {
	t := b.t
	store := b.store()
	ctx := t.Context()
	c := client("amelia")

	_, err := store.Put(ctx, c, 1)
	require.ErrorIs(t, err, configstore.ErrConflict, "nothing is stored")
	_, err = store.Get(ctx, "amelia")
	require.ErrorIs(t, err, configstore.ErrNotFound)

	_, err = store.Put(ctx, c, configstore.NoVersion)
	require.NoError(t, err)
	_, err = store.Put(ctx, c, configstore.NoVersion)
	require.ErrorIs(t, err, configstore.ErrExists)
	_, err = store.Put(ctx, c, 2)
	require.ErrorIs(t, err, configstore.ErrConflict)
	var conflict *configstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, configstore.ConflictError{ClientID: "amelia", Have: 1, Expect: 2}, *conflict)

	c.Disabled = true
	record, err := store.Put(ctx, c, 1)
	require.NoError(t, err)
	assert.Equal(t, int64(2), record.Version)
	record, err = store.Put(ctx, c, configstore.AnyVersion)
	require.NoError(t, err)
	assert.Equal(t, int64(3), record.Version)
}

func testPutReplaces(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia", "a.example"))
	bare := client("amelia")
	bare.Infrastructure, bare.Build, bare.Disabled = nil, nil, true
	bare.Settings.WakeOn = ""
	put(t, store, bare)
	got, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, bare, got.Client, "what a put leaves out is gone")
}

func testUnknownFields(b backend) {
	t := b.t
	store := b.store()
	c := client("amelia")
	c.Unknown = map[string]json.RawMessage{
		"owner":             raw(`{"name":"Amelia","tags":["a","b"]}`),
		"settings.newLimit": raw(`7`),
		"build.cache":       raw(`true`),
	}
	put(t, store, c)
	c.Unknown = nil
	c.Build = nil
	c.Settings.IdleTimeoutMinutes = 30
	put(t, store, c)

	got, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, 30, got.Client.Settings.IdleTimeoutMinutes)
	require.Len(t, got.Client.Unknown, 3)
	assert.JSONEq(t, `{"name":"Amelia","tags":["a","b"]}`, string(got.Client.Unknown["owner"]))
	assert.JSONEq(t, `7`, string(got.Client.Unknown["settings.newLimit"]))
	assert.JSONEq(t, `true`, string(got.Client.Unknown["build.cache"]))

	require.NoError(t, store.Delete(t.Context(), "amelia", configstore.AnyVersion))
	record := put(t, store, client("amelia"))
	assert.Empty(t, record.Client.Unknown, "nothing of a deleted client comes back")
}

func testTimes(b backend) {
	t := b.t
	store := b.store()
	before := time.Now().Add(-time.Second)
	first := put(t, store, client("amelia"))
	assert.WithinRange(t, first.CreatedAt, before, time.Now().Add(time.Second))
	assert.Equal(t, first.CreatedAt, first.UpdatedAt)
	second := put(t, store, client("amelia"))
	assert.Equal(t, first.CreatedAt, second.CreatedAt)
	assert.False(t, second.UpdatedAt.Before(first.UpdatedAt))
	assert.Equal(t, time.UTC, second.UpdatedAt.Location())
}

func testDelete(b backend) {
	t := b.t
	store := b.store()
	ctx := t.Context()
	require.ErrorIs(t, store.Delete(ctx, "amelia", configstore.AnyVersion), configstore.ErrNotFound)
	require.ErrorIs(t, store.Delete(ctx, "amelia", 1), configstore.ErrNotFound)
	put(t, store, client("amelia"))
	put(t, store, client("bramble"))
	require.ErrorIs(t, store.Delete(ctx, "amelia", 2), configstore.ErrConflict)
	_, err := store.Get(ctx, "amelia")
	require.NoError(t, err)
	require.NoError(t, store.Delete(ctx, "amelia", 1))
	_, err = store.Get(ctx, "amelia")
	require.ErrorIs(t, err, configstore.ErrNotFound)
	_, err = store.Get(ctx, "bramble")
	require.NoError(t, err)
}

// A writer that read a client before it was deleted must not overwrite its successor.
func testRecreate(b backend) {
	t := b.t
	store := b.store()
	first := put(t, store, client("amelia"))
	require.NoError(t, store.Delete(t.Context(), "amelia", first.Version))
	second, err := store.Put(t.Context(), client("amelia"), configstore.NoVersion)
	require.NoError(t, err)
	assert.Greater(t, second.Version, first.Version)
	_, err = store.Put(t.Context(), client("amelia"), first.Version)
	require.ErrorIs(t, err, configstore.ErrConflict)
}

func testList(b backend) {
	t := b.t
	store := b.store()
	ctx := t.Context()
	empty, err := store.List(ctx, "", 10)
	require.NoError(t, err)
	assert.Empty(t, empty)

	want := make([]string, 0, 25)
	for i := range 25 {
		id := fmt.Sprintf("client-%d", i*7%25)
		put(t, store, client(id))
		want = append(want, id)
	}
	slices.Sort(want)

	var got []string
	after := ""
	for pages := 1; ; pages++ {
		records, err := store.List(ctx, after, 10)
		require.NoError(t, err)
		for _, r := range records {
			assert.Equal(t, client(r.Client.ClientID), r.Client)
			got = append(got, r.Client.ClientID)
		}
		if len(records) < 10 {
			assert.Equal(t, 3, pages)
			break
		}
		after = got[len(got)-1]
	}
	assert.Equal(t, want, got)

	records, err := store.List(ctx, want[4]+"0", 1)
	require.NoError(t, err)
	require.Len(t, records, 1)
	assert.Equal(t, want[5], records[0].Client.ClientID, "after need not be stored")
	_, err = store.List(ctx, "", 0)
	require.Error(t, err)
}

func testCanceled(b backend) {
	t := b.t
	store := b.store()
	put(t, store, client("amelia"))
	_, position := scan(t, store)
	ctx := canceled(t)

	_, err := store.Get(ctx, "amelia")
	require.ErrorIs(t, err, ctx.Err())
	_, err = store.Put(ctx, client("bramble"), configstore.AnyVersion)
	require.ErrorIs(t, err, ctx.Err())
	require.ErrorIs(t, store.Delete(ctx, "amelia", configstore.AnyVersion), ctx.Err())
	_, err = store.List(ctx, "", 10)
	require.ErrorIs(t, err, ctx.Err())
	_, err = store.Scan(ctx, func(configstore.Entry) error { return nil })
	require.ErrorIs(t, err, ctx.Err())
	_, _, err = store.Changes(ctx, position)
	require.ErrorIs(t, err, ctx.Err())

	entries, _ := scan(t, store)
	assert.Len(t, entries, 1, "nothing was written")
}
