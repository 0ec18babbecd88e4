package dynamodb_test

import (
	"context"
	"errors"
	"testing"

	aws_dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/internal/leaktest"
	"github.com/webordinary/router/sessions/dynamodb"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

// client returns a client of DynamoDB Local, or of what stands before it at url.
func client(t testing.TB, url string) *aws_dynamodb.Client {
	t.Helper()
	dynamodblocal.Start(t).Setenv(t)
	c, err := dynamo.NewClient(context.Background(), dynamo.ClientOptions{Endpoint: url})
	require.NoError(t, err)
	t.Cleanup(func() { dynamo.CloseIdle(c) })
	return c
}

// table makes a table for the test.
func table(t testing.TB) string {
	t.Helper()
	name := dynamodblocal.Prefix() + "edit-sessions"
	c := client(t, dynamodblocal.Start(t).URL)
	remove(t, c, name)
	_, err := dynamodb.CreateTable(context.Background(), c, name, false)
	require.NoError(t, err)
	return name
}

// remove removes a table, if there is one, at the end of the test. DynamoDB Local keeps a
// thread for each table whose items expire; seven of them leave it none to make indexes.
func remove(t testing.TB, c *aws_dynamodb.Client, name string) {
	t.Helper()
	t.Cleanup(func() {
		_, err := c.DeleteTable(context.Background(), &aws_dynamodb.DeleteTableInput{TableName: &name})
		if missing := (*types.ResourceNotFoundException)(nil); !errors.As(err, &missing) {
			assert.NoError(t, err)
		}
	})
}

// open opens a registry on a table.
func open(t testing.TB, name string, log *zap.Logger) *dynamodb.Registry {
	t.Helper()
	r, err := dynamodb.Open(dynamodb.Options{Client: client(t, dynamodblocal.Start(t).URL), Table: name, Logger: log})
	require.NoError(t, err)
	return r
}

// registryOn returns a registry on a table.
func registryOn(t testing.TB, name string) *dynamodb.Registry {
	t.Helper()
	r := open(t, name, nil)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}
