package dynamodb

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/storetest"
	"github.com/webordinary/router/internal/dynamodblocal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	dynamodblocal.Start(t).Setenv(t)
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		tables := makeTables(t)
		return func() (configstore.Store, error) { return Open(Options{Client: newClient(t), Tables: tables}) }
	})
}

// newClient returns a client of DynamoDB Local, by the environment that the test has set.
func newClient(tb testing.TB) *dynamodb.Client {
	tb.Helper()
	client, err := NewClient(context.Background(), ClientOptions{})
	require.NoError(tb, err)
	tb.Cleanup(func() { closeIdle(client) })
	return client
}

// makeTables makes new tables.
func makeTables(tb testing.TB) Tables {
	tb.Helper()
	tables := TableNames(dynamodblocal.Prefix())
	done, err := CreateTables(context.Background(), newClient(tb), tables, false)
	require.NoError(tb, err)
	assert.NotEmpty(tb, done)
	return tables
}
