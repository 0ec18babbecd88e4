package dynamodb

import (
	"strings"
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

func TestCreateTables(t *testing.T) {
	dynamodblocal.Start(t).Setenv(t)
	client, tables := newClient(t), TableNames(dynamodblocal.Prefix())
	ctx := t.Context()
	would, err := CreateTables(ctx, client, tables, true)
	require.NoError(t, err)
	require.Len(t, would, 3)
	for i, name := range tables.all() {
		assert.Equal(t, name, would[i].Table)
		assert.Contains(t, would[i].String(), "table "+name+": create it, billed on demand, encrypted")
		assert.Contains(t, would[i].What, "point-in-time recovery")
	}
	assert.Contains(t, would[2].What, "items that expire")
	again, err := CreateTables(ctx, client, tables, true)
	require.NoError(t, err)
	assert.Equal(t, would, again, "nothing was done")

	done, err := CreateTables(ctx, client, tables, false)
	require.NoError(t, err)
	require.Len(t, done, 4)
	assert.Equal(t, TableChange{Table: tables.ConfigChanges, What: "let items expire by the attribute expires"}, done[3])
	for _, dryRun := range []bool{false, true} {
		done, err = CreateTables(ctx, client, tables, dryRun)
		require.NoError(t, err)
		assert.Empty(t, done, "all is as it should be")
	}
	put(t, openStore(t, client, tables), "amelia")
}

// The older tools' table keeps its rows and gets what it lacks.
func TestCreateTablesOverOlder(t *testing.T) {
	dynamodblocal.Start(t).Setenv(t)
	client, tables := newClient(t), TableNames(dynamodblocal.Prefix())
	ctx := t.Context()
	create := func(table, key string, kind types.ScalarAttributeType) {
		t.Helper()
		_, err := client.CreateTable(ctx, &dynamodb.CreateTableInput{
			TableName:             &table,
			ProvisionedThroughput: &types.ProvisionedThroughput{ReadCapacityUnits: aws.Int64(5), WriteCapacityUnits: aws.Int64(5)},
			AttributeDefinitions:  []types.AttributeDefinition{{AttributeName: &key, AttributeType: kind}},
			KeySchema:             []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
		})
		require.NoError(t, err)
	}
	create(tables.ClientConfigs, attrClientID, types.ScalarAttributeTypeS)
	s := openStore(t, client, tables)
	rawPut(t, s, tables.ClientConfigs, fixture(t, "amelia.json"))

	would, err := CreateTables(ctx, client, tables, true)
	require.NoError(t, err)
	assert.Contains(t, would, TableChange{Table: tables.ClientConfigs, What: "bill it on demand"})
	done, err := CreateTables(ctx, client, tables, false)
	require.NoError(t, err)
	assert.Equal(t, would[0], done[0])
	got, err := s.Get(ctx, "amelia")
	require.NoError(t, err)
	assert.Equal(t, ameliaBefore(), got.Client)

	foreign := TableNames(dynamodblocal.Prefix())
	create(foreign.ClientConfigs, attrClientID, types.ScalarAttributeTypeN)
	create(foreign.EditHosts, "hostname", types.ScalarAttributeTypeS)
	_, err = CreateTables(ctx, client, foreign, false)
	require.ErrorContains(t, err, "table "+foreign.ClientConfigs+": its key is clientId (N) instead of clientId (S)")
	findings := Examine(ctx, client, foreign)
	assert.Contains(t, findings, Finding{
		Check: "table " + foreign.EditHosts, Detail: "its key is hostname (S) instead of host (S)",
		Remedy: "it belongs to something else: use another table prefix, or remove it",
	})
}

func TestExamine(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	findings := Examine(ctx, s.client, s.tables)
	checks := make([]string, len(findings))
	for i, f := range findings {
		checks[i] = f.Check
		assert.True(t, f.OK, "%+v", f)
		assert.NotEmpty(t, f.Detail, f.Check)
		assert.Empty(t, f.Remedy, f.Check)
		assert.NotContains(t, f.Detail, "SECRET")
	}
	var want []string
	for _, name := range s.tables.all() {
		want = append(want, "table "+name)
		if name == s.tables.ConfigChanges {
			want = append(want, "expiry of "+name)
		}
		want = append(want, "recovery of "+name, "reading "+name, "writing "+name)
	}
	assert.Equal(t, append([]string{"credentials", "connection", "clock"}, want...), checks)
	entries, _ := scan(t, s)
	assert.Empty(t, entries, "nothing was written")
	assert.Nil(t, rawGet(t, s, s.tables.ClientConfigs, rowKey("!doctor-0")))

	_, err := s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.tables.EditHosts})
	require.NoError(t, err)
	faulty := faults(Examine(ctx, s.client, s.tables))
	require.Len(t, faulty, 1)
	assert.Equal(t, Finding{
		Check: "table " + s.tables.EditHosts, Detail: "it does not exist in region eu-central-1",
		Remedy: "run `caddy webordinary tables create`, or correct the region or the table prefix",
	}, faulty[0])
}

func faults(findings []Finding) []Finding {
	var faulty []Finding
	for _, f := range findings {
		if !f.OK {
			faulty = append(faulty, f)
		}
	}
	return faulty
}

func TestExamineFaults(t *testing.T) {
	dynamodblocal.Start(t)
	t.Run("denied", func(t *testing.T) {
		s := answering(t, 400, 0, coralError("AccessDeniedException", "User: arn:aws:iam::123456789012:user/edge is not authorized to perform: dynamodb:DescribeTable"))
		faulty := faults(Examine(t.Context(), s.client, s.tables))
		require.Len(t, faulty, 3)
		assert.Contains(t, faulty[0].Detail, "dynamodb:DescribeTable")
		assert.Contains(t, faulty[0].Remedy, "allow the action")
	})
	t.Run("clock", func(t *testing.T) {
		s := answering(t, 400, -90*time.Second, awsError("ResourceNotFoundException", "Requested resource not found"))
		findings := Examine(t.Context(), s.client, s.tables)
		require.Equal(t, "clock", findings[2].Check)
		assert.False(t, findings[2].OK)
		assert.Contains(t, findings[2].Detail, "clock is 1m3")
		assert.Contains(t, findings[2].Detail, "ahead")
		assert.Contains(t, findings[2].Remedy, "set the clock")
	})
	t.Run("no connection", func(t *testing.T) {
		s := openAt(t, "http://127.0.0.1:1")
		findings := Examine(t.Context(), s.client, s.tables)
		require.Len(t, findings, 2)
		assert.Equal(t, "connection", findings[1].Check)
		assert.Contains(t, findings[1].Detail, "does not answer")
		assert.NotEmpty(t, findings[1].Remedy)
	})
	t.Run("no credentials", func(t *testing.T) {
		dynamodblocal.Endpoint{URL: "http://127.0.0.1:1"}.Setenv(t)
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "")
		findings := Examine(t.Context(), newClient(t), TableNames(""))
		require.Len(t, findings, 1)
		assert.Equal(t, "credentials", findings[0].Check)
		assert.True(t, strings.HasPrefix(findings[0].Remedy, "set AWS_PROFILE"))
	})
	assert.Equal(t, "configuration", Examine(t.Context(), nil, Tables{})[0].Check)
}

// Two who make the tables at the same time both succeed.
func TestCreateTablesTwice(t *testing.T) {
	dynamodblocal.Start(t).Setenv(t)
	tables := TableNames(dynamodblocal.Prefix())
	errs := make(chan error)
	for range 2 {
		client := newClient(t)
		go func() {
			_, err := CreateTables(t.Context(), client, tables, false)
			errs <- err
		}()
	}
	require.NoError(t, <-errs)
	require.NoError(t, <-errs)
	_, err := openStore(t, newClient(t), tables).Put(t.Context(), testClient("amelia"), configstore.NoVersion)
	require.NoError(t, err)
}
