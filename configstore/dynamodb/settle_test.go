package dynamodb

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// conflicting is an HTTP client that answers as DynamoDB does while a transaction that
// writes the same items is under way, which DynamoDB Local has no time to do.
type conflicting struct {
	dynamodb.HTTPClient
	operation string

	lock  sync.Mutex
	left  int            // answers of this kind
	calls map[string]int // by operation
}

func (c *conflicting) Do(request *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	c.lock.Lock()
	c.calls[operation]++
	conflict := operation == c.operation && c.left > 0
	if conflict {
		c.left--
	}
	c.lock.Unlock()
	if !conflict {
		return c.HTTPClient.Do(request)
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, Request: request, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(`{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",` +
			`"Message":"Transaction cancelled","CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}]}`)),
	}, nil
}

func (c *conflicting) open(t *testing.T, s *Store) *Store {
	t.Helper()
	c.calls = make(map[string]int)
	client := dynamodb.New(s.client.Options(), func(o *dynamodb.Options) {
		c.HTTPClient = o.HTTPClient
		o.HTTPClient = c
	})
	return openStore(t, client, s.tables)
}

// A scan begins once the newest transactions are visible in all of their items.
func TestScanWaitsForTransactions(t *testing.T) {
	s := newStore(t)
	c := &conflicting{operation: "TransactGetItems", left: 3}
	reader := c.open(t, s)
	_, _ = scan(t, reader)
	assert.Zero(t, c.calls["TransactGetItems"], "there is no transaction yet")

	fill(t, s, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l")
	entries, _ := scan(t, reader)
	assert.Len(t, entries, 12)
	assert.Equal(t, 3+2, c.calls["TransactGetItems"], "three conflicts, the log's items, their rows")

	c.left = 1000
	_, err := reader.Scan(t.Context(), func(configstore.Entry) error { return nil })
	require.ErrorIs(t, err, configstore.ErrUnavailable)
}

// A write that meets another one under way begins anew.
func TestWriteConflict(t *testing.T) {
	s := newStore(t)
	c := &conflicting{operation: "TransactWriteItems", left: 3}
	record, err := c.open(t, s).Put(t.Context(), testClient("amelia"), configstore.NoVersion)
	require.NoError(t, err)
	assert.Equal(t, int64(1), record.Version)
	assert.Equal(t, 4, c.calls["BatchGetItem"], "it is read again each time")
	assert.Equal(t, 4, c.calls["TransactWriteItems"])
	assertNoGaps(t, s, 1)
}
