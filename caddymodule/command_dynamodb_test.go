package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	dynamodbstore "github.com/webordinary/router/configstore/dynamodb"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
)

// newDynamoDBCLI is newTestCLI on tables of its own, which do not exist yet.
func newDynamoDBCLI(t *testing.T) (c *testCLI, prefix string) {
	t.Helper()
	dynamodblocal.Start(t).Setenv(t)
	prefix = dynamodblocal.Prefix()
	c = newTestCLI(t)
	text, err := os.ReadFile(c.config)
	require.NoError(t, err)
	changed := strings.Replace(string(text), "public_origin",
		"config_store dynamodb {\ntable_prefix "+prefix+"\n}\nrunner process {\nbinary "+containerboot+"\n}\npublic_origin", 1)
	require.NoError(t, os.WriteFile(c.config, []byte(changed), 0o600))
	return c, prefix
}

func TestCommandsOnDynamoDB(t *testing.T) {
	c, prefix := newDynamoDBCLI(t)

	// Without tables, everything says what to do.
	for _, args := range [][]string{{"client", "list"}, {"client", "get", "acme"}, {"client", "import"}, {"client", "delete", "acme"}} {
		_, _, err := c.run("", args...)
		require.ErrorContains(t, err, prefix)
		require.ErrorContains(t, err, "caddy webordinary tables create")
	}
	_, _, err := c.run(acme, "client", "put", "-")
	require.ErrorContains(t, err, "caddy webordinary tables create")
	out, _, err := c.run("", "doctor")
	require.ErrorContains(t, err, "checks failed")
	assert.Contains(t, out, "FAIL  table "+prefix+"edit-hosts: it does not exist")

	out, errs, err := c.run("", "tables", "create", "--dry-run")
	require.NoError(t, err)
	assert.Equal(t, "dry run: nothing was done\n", errs)
	assert.Contains(t, out, prefix+"config-changes: create it, billed on demand")
	out, _, err = c.run("", "tables", "create")
	require.NoError(t, err)
	assert.Contains(t, out, prefix+"client-configs: create it")
	out, _, err = c.run("", "tables", "create")
	require.NoError(t, err)
	assert.Equal(t, "all tables are as they should be\n", out)
	out, _, err = c.run("", "doctor")
	require.NoError(t, err, out)
	assert.NotContains(t, out, "FAIL")
	for _, check := range []string{"data folder", "clock", "credentials", "connection", "table " + prefix + "client-configs", "session registry", "containerboot", "edge"} {
		assert.Contains(t, out, "ok    "+check+": ")
	}

	out, _, err = c.run(acme+variant("b", "", ""), "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "acme  created (version 1)\nb  created (version 1)\n", out)
	out, _, err = c.run(acme+variant("b", ":10", ":20"), "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "acme  unchanged (version 1)\nb  changed (version 2)\n  settings.idleTimeoutMinutes: 10 → 20\n", out)
	_, _, err = c.run(variant("b", ":10", ":30"), "client", "put", "-", "--if-version", "1")
	require.EqualError(t, err, `client "b" is at version 2, not 1: somebody changed it since; read it again`)
	_, _, err = c.run(variant("d", "Edit.d.Example.", "edit.b.example"), "client", "put", "-")
	require.ErrorContains(t, err, `host "edit.b.example" is taken by another client`)
	out, _, err = c.run(strings.Replace(acme, "Edit.Acme.Example.", "edit.b.example", 1)+variant("b", "Edit.b.Example.", "edit.acme.example"), "client", "put", "-")
	require.NoError(t, err)
	assert.Contains(t, out, `domains.edit: "edit.acme.example" → "edit.b.example"`)
	out, _, err = c.run("", "client", "list", "--links")
	require.NoError(t, err)
	assert.Equal(t, "acme  https://edit.b.example:8443/new\nb  https://edit.acme.example:8443/new\n", out)
	_, _, err = c.run("", "client", "delete", "acme", "--if-version", "9")
	require.ErrorContains(t, err, "not 9")
	_, _, err = c.run("", "client", "delete", "acme")
	require.NoError(t, err)
}

// A row as the older tools wrote it is upgraded in place, with everything that it holds.
func TestImportUpgradesRowsOfOlderTools(t *testing.T) {
	c, prefix := newDynamoDBCLI(t)
	_, _, err := c.run("", "tables", "create")
	require.NoError(t, err)
	client, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{})
	require.NoError(t, err)
	table := dynamodbstore.TableNames(prefix).ClientConfigs
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	object := func(m map[string]types.AttributeValue) types.AttributeValue {
		return &types.AttributeValueMemberM{Value: m}
	}
	old := func(id string, minutes string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{
			"clientId":  text(id),
			"createdAt": text("2024-05-01T10:00:00.000Z"),
			"updatedAt": text("2024-05-02T10:00:00.000Z"),
			"owner":     text("jo"),
			"config": object(map[string]types.AttributeValue{
				"clientId":   text(id),
				"domains":    object(map[string]types.AttributeValue{"production": text(id + ".com"), "edit": text("edit." + id + ".com")}),
				"repository": object(map[string]types.AttributeValue{"url": text("git@github.com:studio/" + id + ".git"), "branch": text("main")}),
				"infrastructure": object(map[string]types.AttributeValue{
					"targetGroupArn": text("arn:aws:elasticloadbalancing:us-west-2:1:targetgroup/" + id + "/1"), "hostedZoneId": text("Z1"),
				}),
				"settings": object(map[string]types.AttributeValue{
					"containerSize": text("small"), "idleTimeoutMinutes": number(minutes), "maxConcurrentSessions": number("5"),
				}),
				"flags": &types.AttributeValueMemberSS{Value: []string{"beta"}},
			}),
		}
	}
	for id, minutes := range map[string]string{"amelia": "30", "broken": "0"} {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: old(id, minutes)})
		require.NoError(t, err)
	}
	out, _, err := c.run("", "client", "get", "amelia", "--json")
	require.NoError(t, err)
	assert.Contains(t, out, `"version": 0`)

	plan := "1 to upgrade: amelia\n0 up to date\n1 faulty, left as they are:\n" +
		"  broken: settings.idleTimeoutMinutes: must be between 1 and 1440, got 0\namelia: unknown field, kept: flags\n"
	out, _, err = c.run("", "client", "import", "--dry-run")
	require.ErrorContains(t, err, "1 faulty")
	assert.Equal(t, plan, out)
	out, _, err = c.run("", "client", "import", "--yes")
	require.ErrorContains(t, err, "1 faulty")
	assert.Equal(t, plan+"1 of 1 client written\n", out)

	got, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"clientId": text("amelia")}})
	require.NoError(t, err)
	assert.Equal(t, number("1"), got.Item["version"])
	want := old("amelia", "30")
	for _, name := range []string{"createdAt", "owner", "config"} {
		assert.Equal(t, want[name], got.Item[name], name)
	}
	_, _, err = c.run(variant("thief", "Edit.thief.Example.", "edit.amelia.com"), "client", "put", "-")
	require.ErrorContains(t, err, `host "edit.amelia.com" is taken`)
	out, _, err = c.run("", "client", "import", "--dry-run", "--json")
	require.Error(t, err)
	assert.Contains(t, out, `"unchanged": 1`)
}

func TestDynamoDBIdentity(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"} {
		t.Setenv(name, "")
	}
	store := DynamoDBConfigStore{Region: "eu-central-1"}
	assert.Equal(t, "dynamodb:aws eu-central-1 webordinary-client-configs", store.Identity("/data"))
	same := store
	same.PollInterval, same.Reconcile = 1, 1
	assert.Equal(t, store.Identity("/a"), same.Identity("/b"), "neither the machine nor tunables tell stores apart")
	t.Setenv("AWS_REGION", "us-west-2")
	assert.Equal(t, "dynamodb:http://127.0.0.1:1 us-west-2 x-client-configs",
		(&DynamoDBConfigStore{Endpoint: "http://127.0.0.1:1", TablePrefix: "x-"}).Identity(filepath.Join("/data")))
}
