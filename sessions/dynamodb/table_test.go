package dynamodb_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/sessions/dynamodb"
)

func TestCreateTable(t *testing.T) {
	c := client(t, dynamodblocal.Start(t).URL)
	name := dynamodblocal.Prefix() + "edit-sessions"
	remove(t, c, name)
	would, err := dynamodb.CreateTable(t.Context(), c, name, true)
	require.NoError(t, err)
	require.Len(t, would, 1)
	assert.Equal(t, "table "+name+": create it, billed on demand, encrypted, with index by-client by clientId (S), sessionId (S), "+
		"with index by-queue by queue (S), queueAt (N), with items that expire, with point-in-time recovery", would[0].String())
	did, err := dynamodb.CreateTable(t.Context(), c, name, false)
	require.NoError(t, err)
	assert.NotEmpty(t, did)
	again, err := dynamodb.CreateTable(t.Context(), c, name, false)
	require.NoError(t, err)
	assert.Empty(t, again)
	for _, f := range dynamodb.Examine(t.Context(), c, name) {
		assert.True(t, f.OK, "%+v", f)
	}
}

// The older tools' table keeps its rows and their index, and gets what it lacks.
func TestOlderToolsTable(t *testing.T) {
	c := client(t, dynamodblocal.Start(t).URL)
	name := dynamodblocal.Prefix() + "edit-sessions"
	remove(t, c, name)
	createTable(t, c, &aws_dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("sessionId"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("status"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("lastActivity"), AttributeType: types.ScalarAttributeTypeN},
		},
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("sessionId"), KeyType: types.KeyTypeHash}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("StatusIndex"),
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("status"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("lastActivity"), KeyType: types.KeyTypeRange},
			},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}},
	})
	rows := raw{t, c, name}
	for _, it := range fixtures(t, "older") {
		if _, isText := it["lastActivity"].(*types.AttributeValueMemberS); !isText { // their index would not take it
			rows.put(it)
		}
	}

	findings := failures(dynamodb.Examine(t.Context(), c, name))
	for _, check := range []string{"index by-client of " + name, "index by-queue of " + name, "expiry of " + name, "reading " + name} {
		assert.Contains(t, findings, check)
		assert.Contains(t, findings[check].Remedy, "tables create", check)
	}
	did, err := dynamodb.CreateTable(t.Context(), c, name, false)
	require.NoError(t, err)
	assert.Len(t, did, 3)
	assert.Empty(t, failures(dynamodb.Examine(t.Context(), c, name)))

	r := registryOn(t, name)
	want := wantRecord(t, "composite")
	got, err := r.ByThread(t.Context(), "amelia", want.ThreadID)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	woken, err := r.Update(t.Context(), after(t, got, wake), 1)
	require.NoError(t, err, "our attributes are of the types that their index wants")
	_, err = r.Update(t.Context(), after(t, woken, ready), 1)
	require.NoError(t, err)
	due, err := r.Due(t.Context(), ready.AskAt, 10)
	require.NoError(t, err)
	assert.Len(t, due, 1)
}

func TestTableOfSomethingElse(t *testing.T) {
	c := client(t, dynamodblocal.Start(t).URL)
	name := dynamodblocal.Prefix() + "edit-sessions"
	remove(t, c, name)
	createTable(t, c, &aws_dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("sessionId"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("userId"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("sessionId"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("userId"), KeyType: types.KeyTypeRange},
		},
	})
	_, err := dynamodb.CreateTable(t.Context(), c, name, false)
	require.ErrorContains(t, err, "its key is sessionId (S), userId (S) instead of sessionId (S)")
	found := dynamodb.Examine(t.Context(), c, name)
	assert.Equal(t, "table "+name, found[len(found)-1].Check)
	assert.False(t, found[len(found)-1].OK)

	found = dynamodb.Examine(t.Context(), c, "no-such-table")
	assert.Contains(t, found[len(found)-1].Remedy, "tables create")
}

// createTable makes a table as other tools do.
func createTable(t *testing.T, c *aws_dynamodb.Client, in *aws_dynamodb.CreateTableInput) {
	t.Helper()
	_, err := c.CreateTable(t.Context(), in)
	if exists := (*types.ResourceInUseException)(nil); errors.As(err, &exists) {
		return // made by an attempt whose answer came too late
	}
	require.NoError(t, err)
}

// failures are the checks that found something, by what they looked at.
func failures(findings []dynamo.Finding) map[string]dynamo.Finding {
	bad := make(map[string]dynamo.Finding)
	for _, f := range findings {
		if !f.OK {
			bad[f.Check] = f
		}
	}
	return bad
}
