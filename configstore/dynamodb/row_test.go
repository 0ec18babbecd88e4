package dynamodb

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamodblocal"
)

// fixture is a row of the older tools.
func fixture(t *testing.T, name string) item {
	t.Helper()
	return dynamodblocal.Item(t, filepath.Join("testdata", name))
}

// rawPut writes an item as the older tools do: past our attributes, claims and log.
func rawPut(t *testing.T, s *Store, table string, it item) {
	t.Helper()
	_, err := s.client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: it})
	require.NoError(t, err)
}

func rawGet(t *testing.T, s *Store, table string, key item) item {
	t.Helper()
	out, err := s.client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	require.NoError(t, err)
	return out.Item
}

func rawDelete(t *testing.T, s *Store, table string, key item) {
	t.Helper()
	_, err := s.client.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: key})
	require.NoError(t, err)
}

func rowKey(id string) item { return item{attrClientID: text(id)} }

// owner is who holds a host; "" for nobody.
func owner(t *testing.T, s *Store, host string) string {
	t.Helper()
	return textOf(rawGet(t, s, s.tables.EditHosts, item{attrHost: text(host)})[attrClientID])
}

// canonical sorts the sets within an attribute, whose order means nothing.
func canonical(v types.AttributeValue) types.AttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		m := make(item)
		for name, member := range v.Value {
			m[name] = canonical(member)
		}
		return &types.AttributeValueMemberM{Value: m}
	case *types.AttributeValueMemberSS:
		return &types.AttributeValueMemberSS{Value: slices.Sorted(slices.Values(v.Value))}
	case *types.AttributeValueMemberNS:
		return &types.AttributeValueMemberNS{Value: slices.Sorted(slices.Values(v.Value))}
	default:
		return v
	}
}

// Amelia as the router found her.
func ameliaBefore() configstore.Client {
	return configstore.Client{
		ClientID:   "amelia",
		Domains:    configstore.Domains{Production: "amelia.webordinary.com", Edit: "edit.amelia.webordinary.com"},
		Repository: configstore.Repository{URL: "https://github.com/webordinary/amelia-site.git", Branch: "main"},
		Infrastructure: &configstore.Infrastructure{
			TargetGroupARN: "arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/edit-amelia/6d0ecf831eec9f09",
			CertificateARN: "arn:aws:acm:us-west-2:123456789012:certificate/1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f9",
			HostedZoneID:   "Z0123456789ABCDEFGHIJ",
		},
		Settings: configstore.Settings{ContainerSize: configstore.SizeMedium, IdleTimeoutMinutes: 5, MaxConcurrentSessions: 3},
	}
}

func TestOlderRow(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	rawPut(t, s, s.tables.ClientConfigs, fixture(t, "amelia.json"))

	want := configstore.Record{
		Client:    ameliaBefore(),
		CreatedAt: time.Date(2025, 3, 4, 9, 12, 33, 481e6, time.UTC),
		UpdatedAt: time.Date(2025, 6, 19, 16, 40, 2, 7e6, time.UTC),
	}
	got, err := s.Get(ctx, "amelia")
	require.NoError(t, err)
	assert.Equal(t, want, got)
	prepared, err := configstore.Prepare(got.Client, configstore.Rules{})
	require.NoError(t, err, "it is valid as it is")
	listed, err := s.List(ctx, "", 10)
	require.NoError(t, err)
	assert.Equal(t, []configstore.Record{want}, listed)
	entries, position := scan(t, s)
	assert.Equal(t, map[string]configstore.Entry{"amelia": want.Entry()}, entries)

	_, err = s.Put(ctx, prepared, 1)
	require.ErrorIs(t, err, configstore.ErrConflict)
	_, err = s.Put(ctx, prepared, configstore.NoVersion)
	require.ErrorIs(t, err, configstore.ErrExists)
	upgraded, err := s.Put(ctx, prepared, 0)
	require.NoError(t, err)
	assert.Equal(t, int64(1), upgraded.Version)
	assert.Equal(t, want.CreatedAt, upgraded.CreatedAt)
	assert.Equal(t, want.Client, upgraded.Client)
	assert.Equal(t, "amelia", owner(t, s, "edit.amelia.webordinary.com"), "the host is claimed")
	changes, _, err := s.Changes(ctx, position)
	require.NoError(t, err)
	assert.Equal(t, []configstore.Change{{ClientID: "amelia", Version: 1, Entry: upgraded.Entry()}}, changes)
}

// Whatever we do not know survives with its type, at every depth.
func TestUnknownTypesSurvive(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	before := fixture(t, "amelia-lambda.json")
	rawPut(t, s, s.tables.ClientConfigs, before)

	got, err := s.Get(ctx, "amelia")
	require.NoError(t, err)
	assert.Zero(t, got.CreatedAt)
	assert.Equal(t, 0, got.Client.Settings.MaxLifetimeMinutes, "null is absent")
	assert.Equal(t, []string{
		"infrastructure.listenerRules", "logo", "notes", "repository.lastCommit", "settings.alertEmails", `settings.quiet\.hours`,
	}, slices.Sorted(maps.Keys(got.Client.Unknown)))
	entries, _ := scan(t, s)
	assert.Empty(t, entries["amelia"].Broken)

	changed := got.Client
	changed.Settings.IdleTimeoutMinutes = 30
	changed.Domains.Aliases = []string{"amelia.example"}
	withUnknown, err := s.Put(ctx, changed, 0)
	require.NoError(t, err)
	changed.Unknown = nil
	changed.Infrastructure = nil
	without, err := s.Put(ctx, changed, 1)
	require.NoError(t, err)
	assert.Equal(t, withUnknown.Client.Unknown, without.Client.Unknown)

	after := rawGet(t, s, s.tables.ClientConfigs, rowKey("amelia"))
	for _, name := range []string{"lambdaRequestId", "featureFlags", "checksum"} {
		assert.Equal(t, canonical(before[name]), canonical(after[name]), name)
	}
	was, is := fields(before, attrConfig), fields(after, attrConfig)
	for _, name := range []string{"logo", "notes"} {
		assert.Equal(t, was[name], is[name], name)
	}
	assert.Equal(t, fields(was, "repository"), fields(is, "repository"))
	assert.Equal(t, item{"listenerRules": fields(was, "infrastructure")["listenerRules"]}, fields(is, "infrastructure"), "what we know is gone, the rest is not")
	settings := maps.Clone(fields(was, "settings"))
	settings["idleTimeoutMinutes"] = number(30)
	delete(settings, "maxLifetimeMinutes")
	assert.Equal(t, canonical(&types.AttributeValueMemberM{Value: settings}), canonical(is["settings"]))
}

// fields are those of a map within an item.
func fields(it item, name string) item {
	return canonical(it[name]).(*types.AttributeValueMemberM).Value
}

func TestBrokenRows(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	put(t, s, "amelia")
	config := func(it item) item { return it[attrConfig].(*types.AttributeValueMemberM).Value }
	broken := func(name string, change func(it item)) {
		it := rawGet(t, s, s.tables.ClientConfigs, rowKey("amelia"))
		it[attrClientID] = text(name)
		delete(config(it), attrClientID)
		change(it)
		rawPut(t, s, s.tables.ClientConfigs, it)
	}
	for name, test := range map[string]struct {
		change     func(it item)
		get, entry string
	}{
		"json":     {func(it item) { it[attrConfig] = text(`{"clientId":"json"}`) }, "config: must be a map, got a string", "config: must be a map with domains and settings"},
		"missing":  {func(it item) { delete(it, attrConfig) }, "config: is missing", "config: must be a map with domains and settings"},
		"another":  {func(it item) { config(it)[attrClientID] = text("amelia") }, "clientId: is not that of the row", ""},
		"version":  {func(it item) { it[attrVersion] = text("one") }, "version: must be a whole number, got a string", ""},
		"setting":  {func(it item) { config(it)["settings"] = fromAny(map[string]any{"idleTimeoutMinutes": "15"}) }, "settings.idleTimeoutMinutes: must be a whole number, got a string", ""},
		"hostless": {func(it item) { config(it)["domains"] = text("x") }, "domains: must be an object, got a string", ""},
	} {
		broken(name, test.change)
		_, err := s.Get(ctx, name)
		require.ErrorIs(t, err, configstore.ErrBroken, name)
		assert.ErrorContains(t, err, test.get, name)
		entries, _ := scan(t, s)
		if test.entry == "" {
			test.entry = test.get
		}
		assert.Contains(t, entries[name].Broken, test.entry, name)
		assert.Empty(t, entries["amelia"].Broken, "every other client works")
		records, err := openStore(t, s.client, s.tables).List(ctx, "", 10)
		require.NoError(t, err)
		at := slices.IndexFunc(records, func(r configstore.Record) bool { return r.Broken != "" })
		assert.Equal(t, configstore.Record{
			Client: configstore.Client{ClientID: name}, Broken: records[at].Broken,
			Version: records[at].Version, CreatedAt: records[at].CreatedAt, UpdatedAt: records[at].UpdatedAt,
		}, records[at])
		assert.Contains(t, records[at].Broken, test.get)

		repaired := testClient(name)
		record, err := s.Put(ctx, repaired, configstore.AnyVersion)
		require.NoError(t, err, name)
		got, err := s.Get(ctx, name)
		require.NoError(t, err, name)
		assert.Equal(t, record, got)
		assert.Positive(t, got.Version)
		require.NoError(t, s.Delete(ctx, name, got.Version))
	}
}
