package dynamodb

import (
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

func logKey(seq int64) item { return item{attrPart: text(logPart), attrSeq: number(seq)} }

// ids are the clients of changes, in order.
func ids(changes []configstore.Change) []string {
	list := make([]string, len(changes))
	for i, c := range changes {
		list[i] = c.ClientID
	}
	return list
}

// fill writes a client for each name and returns the position before each write, and the last.
func fill(t *testing.T, s *Store, names ...string) []configstore.Position {
	t.Helper()
	_, position := scan(t, s)
	positions := []configstore.Position{position}
	for _, name := range names {
		put(t, s, name)
		_, position, err := s.Changes(t.Context(), position)
		require.NoError(t, err)
		positions = append(positions, position)
	}
	return positions
}

func TestExpiredChanges(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	at := fill(t, s, "a", "b", "c", "d", "e", "f")
	lost := func(i int, why string) {
		t.Helper()
		_, _, err := s.Changes(ctx, at[i])
		require.ErrorIs(t, err, configstore.ErrPositionLost, why)
	}
	answers := func(i int, want ...string) configstore.Position {
		t.Helper()
		changes, position, err := s.Changes(ctx, at[i])
		require.NoError(t, err)
		assert.Equal(t, append([]string{}, want...), ids(changes))
		return position
	}
	answers(0, "a", "b", "c", "d", "e", "f")

	it := rawGet(t, s, s.tables.ConfigChanges, logKey(1))
	expires, ok := numberOf(it[attrExpires])
	require.True(t, ok)
	assert.InDelta(t, time.Now().Add(7*24*time.Hour).Unix(), expires, 60)
	_, ok = rawGet(t, s, s.tables.ConfigChanges, headKey())[attrExpires]
	assert.False(t, ok, "the head stays")

	// Items expire in about, but not exactly, the order of their numbers.
	rawDelete(t, s, s.tables.ConfigChanges, logKey(1))
	rawDelete(t, s, s.tables.ConfigChanges, logKey(3))
	lost(0, "the first is missing")
	middle := answers(1, "b")
	assert.Equal(t, at[2], middle, "no further than the gap")
	lost(2, "the next is missing")
	answers(3, "d", "e", "f")

	for seq := int64(1); seq <= 6; seq++ {
		rawDelete(t, s, s.tables.ConfigChanges, logKey(seq))
	}
	lost(0, "nothing is left")
	lost(5, "the last one is missing")
	assert.Equal(t, at[6], answers(6), "but there is nothing after it")
	put(t, s, "g")
	answers(6, "g")
}

func TestRecreatedTable(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	at := fill(t, s, "a", "b")
	_, err := s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.tables.ConfigChanges})
	require.NoError(t, err)
	_, _, err = s.Changes(ctx, at[2])
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	_, err = CreateTables(ctx, s.client, s.tables, false)
	require.NoError(t, err)

	_, _, err = s.Changes(ctx, at[2])
	require.ErrorIs(t, err, configstore.ErrPositionLost, "empty")
	assert.Equal(t, int64(2), put(t, s, "a").Version, "the version of the row counts on")
	put(t, s, "b")
	_, _, err = s.Changes(ctx, at[2])
	require.ErrorIs(t, err, configstore.ErrPositionLost, "at the same number again")
	_, position := scan(t, s)
	_, _, err = s.Changes(ctx, position)
	require.NoError(t, err)
}

// A position from before the first write is good for whatever log there will be.
func TestBeforeTheLog(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	_, before := scan(t, s)
	changes, still, err := s.Changes(ctx, before)
	require.NoError(t, err)
	assert.Empty(t, changes)
	assert.Equal(t, before, still)
	put(t, s, "a")
	put(t, s, "b")
	changes, position, err := s.Changes(ctx, before)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, ids(changes))
	changes, _, err = s.Changes(ctx, position)
	require.NoError(t, err)
	assert.Empty(t, changes)
	rawDelete(t, s, s.tables.ConfigChanges, logKey(1))
	_, _, err = s.Changes(ctx, before)
	require.ErrorIs(t, err, configstore.ErrPositionLost)
}

// Somebody who removes the head by hand makes everyone scan, and no more.
func TestHeadRemoved(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	at := fill(t, s, "a", "b")
	rawDelete(t, s, s.tables.ConfigChanges, headKey())
	_, _, err := s.Changes(ctx, at[1])
	require.ErrorIs(t, err, configstore.ErrPositionLost)
	put(t, s, "c")
	_, _, err = s.Changes(ctx, at[2])
	require.ErrorIs(t, err, configstore.ErrPositionLost)
	_, position := scan(t, s)
	put(t, s, "d")
	changes, _, err := s.Changes(ctx, position)
	require.NoError(t, err)
	assert.Equal(t, []string{"d"}, ids(changes))
}

// A query may see the head of a transaction a moment before its item: it waits for it.
func TestHeadBeforeItem(t *testing.T) {
	s := newStore(t)
	at := fill(t, s, "a", "b")
	it := rawGet(t, s, s.tables.ConfigChanges, logKey(2))
	rawDelete(t, s, s.tables.ConfigChanges, logKey(2))
	var once sync.Once
	queries := 0
	client := newToxic(t).client(func(operation string) {
		if operation == "Query" {
			if queries++; queries == 2 {
				once.Do(func() { rawPut(t, s, s.tables.ConfigChanges, it) })
			}
		}
	})
	changes, position, err := openStore(t, client, s.tables).Changes(t.Context(), at[1])
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, ids(changes))
	assert.Equal(t, at[2], position)
	assert.Equal(t, 2, queries)
}

// The cost of a poll is one query, however many clients there are.
func TestChangesIsOneQuery(t *testing.T) {
	s := newStore(t)
	at := fill(t, s, "a", "b", "c")
	calls := map[string]int{}
	reader := openStore(t, newToxic(t).client(func(operation string) { calls[operation]++ }), s.tables)
	for range 10 {
		_, _, err := reader.Changes(t.Context(), at[3])
		require.NoError(t, err)
	}
	_, _, err := reader.Changes(t.Context(), at[0])
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"Query": 11}, calls)
}

// What somebody broke by hand in the log makes readers scan; a broken head is told.
func TestDamagedLog(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	at := fill(t, s, "a", "b", "c")
	damaged := rawGet(t, s, s.tables.ConfigChanges, logKey(2))
	damaged[attrChanges] = text("?")
	rawPut(t, s, s.tables.ConfigChanges, damaged)
	changes, position, err := s.Changes(ctx, at[0])
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, ids(changes))
	assert.Equal(t, at[1], position)
	_, _, err = s.Changes(ctx, at[1])
	require.ErrorIs(t, err, configstore.ErrPositionLost)
	entries, _ := scan(t, s)
	assert.Len(t, entries, 3)

	headless := headKey()
	headless[attrLast] = text("?")
	rawPut(t, s, s.tables.ConfigChanges, headless)
	_, err = s.Put(ctx, testClient("d"), configstore.AnyVersion)
	require.ErrorContains(t, err, "the head of the change log is damaged")
	_, err = s.Scan(ctx, func(configstore.Entry) error { return nil })
	require.ErrorContains(t, err, "the head of the change log is damaged")
	_, _, err = s.Changes(ctx, at[3])
	require.ErrorContains(t, err, "the head of the change log is damaged")
}
