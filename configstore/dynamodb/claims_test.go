package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// Two clients race 200 times for one host, each through a connection of its own.
func TestRaceForHost(t *testing.T) {
	one := newStore(t)
	two := openStore(t, newClient(t), one.tables)
	put(t, one, "amelia")
	put(t, two, "bramble")
	const rounds = 200
	won := map[string]int{}
	for round := range rounds {
		host := fmt.Sprintf("prize-%d.example", round)
		errs := make(chan error, 1)
		go func() {
			_, err := one.Put(context.Background(), testClient("amelia", host), configstore.AnyVersion)
			errs <- err
		}()
		_, second := two.Put(context.Background(), testClient("bramble", host), configstore.AnyVersion)
		first := <-errs
		winner, loss := "amelia", second
		if second == nil {
			winner, loss = "bramble", first
		}
		require.Falsef(t, first == nil && second == nil, "round %d: both won", round)
		require.Falsef(t, first != nil && second != nil, "round %d: both lost: %v; %v", round, first, second)
		require.ErrorIs(t, loss, configstore.ErrHostTaken)
		var taken *configstore.HostTakenError
		require.ErrorAs(t, loss, &taken)
		require.Equal(t, host, taken.Host)
		require.Equal(t, winner, owner(t, one, host))
		won[winner]++
	}
	t.Logf("of %d races amelia won %d and bramble %d", rounds, won["amelia"], won["bramble"])
	assert.Equal(t, rounds, won["amelia"]+won["bramble"])
}

// The older tools change and remove rows and know no claims: what they leave behind keeps
// nobody from a host that no row names any more.
func TestAbandonedClaims(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	put(t, s, "amelia", "shop.example", "old.example")
	put(t, s, "bramble", "bread.example")
	put(t, s, "clover", "tart.example")

	moved := rawGet(t, s, s.tables.ClientConfigs, rowKey("amelia"))
	delete(moved, attrVersion)
	domains := moved[attrConfig].(*types.AttributeValueMemberM).Value["domains"].(*types.AttributeValueMemberM).Value
	domains["aliases"] = fromAny([]any{"old.example"})
	rawPut(t, s, s.tables.ClientConfigs, moved)
	rawDelete(t, s, s.tables.ClientConfigs, rowKey("bramble"))
	spoilt := rawGet(t, s, s.tables.ClientConfigs, rowKey("clover"))
	spoilt[attrConfig] = text("?")
	rawPut(t, s, s.tables.ClientConfigs, spoilt)

	put(t, s, "daisy", "shop.example", "bread.example")
	assert.Equal(t, "daisy", owner(t, s, "shop.example"))
	assert.Equal(t, "daisy", owner(t, s, "bread.example"))
	for _, host := range []string{"old.example", "tart.example"} {
		_, err := s.Put(ctx, testClient("elder", host), configstore.AnyVersion)
		require.ErrorIs(t, err, configstore.ErrHostTaken, host)
	}

	record := put(t, s, "amelia", "old.example")
	assert.Equal(t, int64(2), record.Version, "versions rise although the row had none")
	_, err := s.Put(ctx, testClient("amelia", "shop.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	put(t, s, "clover") // repairs the row, which names its host no more
	put(t, s, "elder", "tart.example")
	put(t, s, "bramble")
	assert.Equal(t, "bramble", owner(t, s, "edit.bramble.example"), "its own claim is as good as new")
}

// A row of the older tools has no claim until it is put. Where two of them name one host,
// the first one that is put gets it.
func TestOlderRowsWithoutClaims(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	rawPut(t, s, s.tables.ClientConfigs, fixture(t, "amelia.json"))
	twin := fixture(t, "amelia-lambda.json")
	twin[attrClientID] = text("bramble")
	rawPut(t, s, s.tables.ClientConfigs, twin)

	bramble, err := s.Get(ctx, "bramble")
	require.NoError(t, err)
	_, err = s.Put(ctx, bramble.Client, 0)
	require.NoError(t, err)
	amelia, err := s.Get(ctx, "amelia")
	require.NoError(t, err)
	_, err = s.Put(ctx, amelia.Client, 0)
	require.ErrorIs(t, err, configstore.ErrHostTaken)

	amelia.Client.Domains.Edit = "edit.amelia.example"
	_, err = s.Put(ctx, amelia.Client, 0)
	require.NoError(t, err)
	assert.Equal(t, "bramble", owner(t, s, "edit.amelia.webordinary.com"), "a claim of another is not released")
	require.NoError(t, s.Delete(ctx, "bramble", 1))
	assert.Empty(t, owner(t, s, "edit.amelia.webordinary.com"))

	rawPut(t, s, s.tables.ClientConfigs, twin)
	require.NoError(t, s.Delete(ctx, "bramble", 0), "a row without version and claim")
	again := put(t, s, "bramble")
	assert.Equal(t, int64(4), again.Version)
}

// A write of the older tools that falls between our reading and our writing is not lost.
func TestRaceWithOlderTool(t *testing.T) {
	s := newStore(t)
	rawPut(t, s, s.tables.ClientConfigs, fixture(t, "amelia.json"))
	theirs := fixture(t, "amelia.json")
	theirs[attrConfig].(*types.AttributeValueMemberM).Value["theirs"] = text("new")

	raced := 0
	x := newToxic(t)
	client := x.client(func(operation string) {
		if operation == "TransactWriteItems" && raced == 0 {
			raced++
			rawPut(t, s, s.tables.ClientConfigs, theirs)
		}
	})
	record, err := openStore(t, client, s.tables).Put(t.Context(), ameliaBefore(), 0)
	require.NoError(t, err)
	assert.Equal(t, 1, raced)
	assert.Equal(t, `"new"`, string(record.Client.Unknown["theirs"]), "it was read again")
}

func TestPutAllTooLarge(t *testing.T) {
	s := newStore(t)
	many := func(id string) configstore.Write {
		aliases := make([]string, configstore.MaxAliases)
		for i := range aliases {
			aliases[i] = fmt.Sprintf("%s-%d.example", id, i)
		}
		return configstore.Write{Client: testClient(id, aliases...), Expect: configstore.NoVersion}
	}
	writes := []configstore.Write{many("amelia"), many("bramble"), many("clover")}
	_, err := s.PutAll(t.Context(), writes)
	require.ErrorIs(t, err, configstore.ErrTooLarge)
	require.NotErrorIs(t, err, configstore.ErrUnavailable)
	_, err = s.PutAll(t.Context(), writes[:2])
	require.ErrorIs(t, err, configstore.ErrTooLarge, "102 actions")
	for _, w := range writes {
		_, err = s.PutAll(t.Context(), []configstore.Write{w})
		require.NoError(t, err)
	}

	large := testClient("large")
	large.Build = &configstore.Build{Env: map[string]string{}}
	for i := range 7 {
		large.Build.Env[fmt.Sprintf("LARGE_%d", i)] = strings.Repeat("x", 30<<10)
	}
	small := put(t, s, "small")
	small.Client.Unknown = map[string]json.RawMessage{"theirs": json.RawMessage(`"` + strings.Repeat("x", 90<<10) + `"`)}
	_, err = s.Put(t.Context(), small.Client, 1)
	require.NoError(t, err)
	both := large
	both.ClientID, both.Domains.Edit = "small", "edit.small.example"
	_, err = s.Put(t.Context(), both, 2)
	require.ErrorContains(t, err, "must be at most 262144 bytes", "together with what was there")
	_, err = s.Get(t.Context(), "small")
	require.NoError(t, err)

	writes = nil
	for i := range configstore.MaxWrites {
		c := large
		c.ClientID = fmt.Sprintf("large-%d", i)
		c.Domains.Edit = c.ClientID + ".example"
		writes = append(writes, configstore.Write{Client: c, Expect: configstore.NoVersion})
	}
	_, err = s.PutAll(t.Context(), writes)
	require.ErrorIs(t, err, configstore.ErrTooLarge)
	var named *configstore.WriteError
	require.NotErrorAs(t, err, &named, "it is no client's fault")
}

// A host on which the row of an older tool is served is not free because nobody claimed it.
func TestOlderRowsKeepTheirHosts(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	const host = "edit.amelia.webordinary.com"
	rawPut(t, s, s.tables.ClientConfigs, fixture(t, "amelia.json"))
	put(t, s, "bramble")

	for _, id := range []string{"bramble", "clover"} {
		_, err := s.Put(ctx, testClient(id, host), configstore.AnyVersion)
		require.ErrorIs(t, err, configstore.ErrHostTaken, id)
		var taken *configstore.HostTakenError
		require.ErrorAs(t, err, &taken)
		assert.Equal(t, host, taken.Host)
	}
	_, err := s.Get(ctx, "clover")
	require.ErrorIs(t, err, configstore.ErrNotFound)

	// Both in one call: it moves.
	amelia := ameliaBefore()
	amelia.Domains.Edit = "edit.amelia.example"
	_, err = s.PutAll(ctx, []configstore.Write{
		{Client: testClient("clover", host), Expect: configstore.NoVersion},
		{Client: amelia, Expect: 0},
	})
	require.NoError(t, err)
	assert.Equal(t, "clover", owner(t, s, host))

	// The older tool moves its client away: the host is free at once, whatever was read before.
	rawPut(t, s, s.tables.ClientConfigs, fixture(t, "amelia.json"))
	require.NoError(t, s.Delete(ctx, "clover", configstore.AnyVersion))
	_, err = s.Put(ctx, testClient("bramble", host), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken)
	rawDelete(t, s, s.tables.ClientConfigs, rowKey("amelia"))
	_, err = s.Put(ctx, testClient("bramble", host), configstore.AnyVersion)
	require.NoError(t, err)
}
