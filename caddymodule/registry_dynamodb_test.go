package caddymodule

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
)

// newRegistryCLI is newTestCLI with the sessions in a table that does not exist yet.
func newRegistryCLI(t *testing.T) (c *testCLI, table string) {
	t.Helper()
	dynamodblocal.Start(t).Setenv(t)
	prefix := dynamodblocal.Prefix()
	c = newTestCLI(t)
	text, err := os.ReadFile(c.config)
	require.NoError(t, err)
	changed := strings.Replace(string(text), "public_origin", "runner docker {\ndeployment tests\n}\nregistry dynamodb {\ntable_prefix "+prefix+"\n}\npublic_origin", 1)
	require.NoError(t, os.WriteFile(c.config, []byte(changed), 0o600))
	return c, prefix + "edit-sessions"
}

func TestSessionCommandsOnDynamoDB(t *testing.T) {
	c, table := newRegistryCLI(t)
	_, _, err := c.run(acme, "client", "put", "-")
	require.NoError(t, err)

	// Without the table, everything says what to do.
	for _, args := range [][]string{{"list"}, {"list", "acme"}, {"get", "x"}, {"create", "acme"}, {"delete", "x"}} {
		_, _, err := c.run("", append([]string{"session"}, args...)...)
		require.ErrorContains(t, err, "table "+table+" does not exist")
		require.ErrorContains(t, err, "caddy webordinary tables create")
	}
	out, _, err := c.run("", "doctor")
	require.ErrorContains(t, err, "checks failed")
	assert.Contains(t, out, "FAIL  table "+table+": it does not exist")

	out, _, err = c.run("", "tables", "create", "--dry-run")
	require.NoError(t, err)
	assert.Contains(t, out, table+": create it, billed on demand")
	_, _, err = c.run("", "tables", "create")
	require.NoError(t, err)
	out, _, err = c.run("", "tables", "create")
	require.NoError(t, err)
	assert.Equal(t, "all tables are as they should be\n", out)
	out, _, _ = c.run("", "doctor")
	for _, check := range []string{
		"credentials", "connection", "table " + table, "index by-client of " + table, "index by-queue of " + table,
		"expiry of " + table, "recovery of " + table, "reading " + table, "writing " + table,
	} {
		assert.Contains(t, out, "ok    "+check+": ")
	}

	var made [3]sessionInfo
	for i := range made {
		out, _, err := c.run("", "session", "create", "acme", "--thread", string(rune('a'+i)), "--json")
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(out), &made[i]))
	}
	out, _, err = c.run("", "session", "create", "acme", "--thread", "a", "--json")
	require.NoError(t, err)
	var again sessionInfo
	require.NoError(t, json.Unmarshal([]byte(out), &again))
	assert.Equal(t, made[0].SessionID, again.SessionID, "a thread has one session")
	for _, args := range [][]string{{"list"}, {"list", "acme"}} {
		out, _, err = c.run("", append([]string{"session", "--json"}, args...)...)
		require.NoError(t, err)
		var listed []sessionInfo
		require.NoError(t, json.Unmarshal([]byte(out), &listed))
		require.Len(t, listed, len(made))
		assert.True(t, slices.IsSortedFunc(listed, func(a, b sessionInfo) int { return strings.Compare(a.SessionID, b.SessionID) }))
	}
	for _, s := range made {
		_, _, err = c.run("", "session", "get", s.SessionID)
		require.NoError(t, err)
		_, _, err = c.run("", "session", "delete", s.SessionID)
		require.NoError(t, err)
	}
	_, _, err = c.run("", "session", "get", made[0].SessionID)
	require.Error(t, err)
}

func TestSessionImport(t *testing.T) {
	c, table := newRegistryCLI(t)
	_, _, err := c.run("", "tables", "create")
	require.NoError(t, err)
	client, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{})
	require.NoError(t, err)
	defer dynamo.CloseIdle(client)
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	for _, item := range []map[string]types.AttributeValue{
		{"sessionId": text("acme#jo#menu"), "lastActivityAt": text("2025-05-02T08:20:00Z"), "fargateTaskArn": text("arn:jos-task")},
		{"sessionId": text("acme#kim#menu"), "lastActivityAt": text("2025-05-03T08:20:00Z")},
		{"sessionId": text("nobodys")},
	} {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item})
		require.NoError(t, err)
	}
	const plan = "acme#kim#menu: client acme, thread menu\n" +
		"acme#jo#menu: client acme, thread menu, which stays that of acme#kim#menu; task arn:jos-task may still run\n"
	const faulty = "left as they are: 1 faulty"

	out, errs, err := c.run("", "session", "import", "--dry-run")
	require.ErrorContains(t, err, faulty)
	assert.Contains(t, out, plan)
	assert.Contains(t, out, `nobodys: left as it is: record of session "nobodys" is broken: clientId`)
	assert.Contains(t, errs, "dry run: nothing was written")
	_, _, err = c.run("", "session", "import")
	require.ErrorContains(t, err, "--yes carries the plan out")
	listed := func() string {
		out, _, err := c.run("", "session", "list", "acme", "--json")
		require.NoError(t, err)
		return out
	}
	assert.NotContains(t, listed(), "acme#kim#menu", "it has no client of its own yet, by which it could be listed")

	out, _, err = c.run("", "session", "import", "--yes")
	require.ErrorContains(t, err, faulty)
	assert.Contains(t, out, plan)
	assert.Contains(t, out, "2 of 2 sessions written\n")
	assert.Contains(t, listed(), "acme#kim#menu")
	assert.Contains(t, listed(), "acme#jo#menu")
	out, _, err = c.run("", "session", "import", "--yes", "--json")
	require.ErrorContains(t, err, faulty)
	var left importedSessions
	require.NoError(t, json.Unmarshal([]byte(out), &left))
	require.Len(t, left.Sessions, 1, "the faulty one alone is left")
	assert.Zero(t, left.Written)

	_, _, err = newTestCLI(t).run("", "session", "import")
	require.ErrorContains(t, err, "never held sessions of older tools")
}

func TestDynamoDBRegistryRetention(t *testing.T) {
	require.ErrorContains(t, (&DynamoDBRegistry{Retention: 15552000}).Validate(), "retention: must be off, or at least an hour, got 15.552ms")
	require.NoError(t, (&DynamoDBRegistry{Retention: -1}).Validate())
	require.NoError(t, (&DynamoDBRegistry{}).Validate())
}

func TestDynamoDBRegistryIdentity(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"} {
		t.Setenv(name, "")
	}
	identity := func(r DynamoDBRegistry) string { return r.Identity("/data") }
	one := identity(DynamoDBRegistry{Region: "eu-central-1"})
	assert.Equal(t, "dynamodb:aws eu-central-1 webordinary-edit-sessions", one)
	assert.Equal(t, one, identity(DynamoDBRegistry{Region: "eu-central-1", TablePrefix: "webordinary-", Retention: 1}))
	assert.NotEqual(t, one, identity(DynamoDBRegistry{Region: "eu-west-1"}))
	assert.NotEqual(t, one, identity(DynamoDBRegistry{Region: "eu-central-1", Table: "sessions"}))
	assert.NotEqual(t, one, identity(DynamoDBRegistry{Region: "eu-central-1", Endpoint: "http://127.0.0.1:8000"}))
	t.Setenv("AWS_REGION", "eu-central-1")
	assert.Equal(t, one, identity(DynamoDBRegistry{}))
	assert.False(t, new(DynamoDBRegistry).Exclusive())
}
