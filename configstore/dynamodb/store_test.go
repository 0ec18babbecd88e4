package dynamodb

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/storetest"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) {
	if prefix := os.Getenv(writerPrefix); prefix != "" {
		if err := writerMain(prefix); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	dynamodblocal.Start(t).Setenv(t)
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		tables := makeTables(t)
		return func() (configstore.Store, error) { return Open(Options{Client: newClient(t), Tables: tables}) }
	})
}

// newStore opens a store on new tables.
func newStore(t *testing.T) *Store {
	t.Helper()
	dynamodblocal.Start(t).Setenv(t)
	return openStore(t, newClient(t), makeTables(t))
}

// openStore opens a further handle, as another process would.
func openStore(tb testing.TB, client *dynamodb.Client, tables Tables) *Store {
	tb.Helper()
	s, err := Open(Options{Client: client, Tables: tables})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

func testClient(id string, aliases ...string) configstore.Client {
	return configstore.Client{
		ClientID:   id,
		Domains:    configstore.Domains{Production: id + ".example", Edit: "edit." + id + ".example", Aliases: aliases},
		Repository: configstore.Repository{URL: "https://git.example/" + id, Branch: "main"},
		Settings:   configstore.Settings{ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}
}

func put(tb testing.TB, s *Store, id string, aliases ...string) configstore.Record {
	tb.Helper()
	record, err := s.Put(context.Background(), testClient(id, aliases...), configstore.AnyVersion)
	require.NoError(tb, err)
	return record
}

func scan(tb testing.TB, s *Store) (map[string]configstore.Entry, configstore.Position) {
	tb.Helper()
	entries := make(map[string]configstore.Entry)
	position, err := s.Scan(context.Background(), func(e configstore.Entry) error {
		entries[e.ClientID] = e
		return nil
	})
	require.NoError(tb, err)
	return entries, position
}

// newClient returns a client of DynamoDB Local, by the environment that the test has set.
func newClient(tb testing.TB) *dynamodb.Client {
	tb.Helper()
	client, err := dynamo.NewClient(context.Background(), dynamo.ClientOptions{})
	require.NoError(tb, err)
	tb.Cleanup(func() { dynamo.CloseIdle(client) })
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
