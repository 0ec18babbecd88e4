package dynamodb

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/internal/freeport"
)

// answering returns a store on a server that answers every call alike, as AWS does where
// DynamoDB Local never would. Its clock is ahead of ours.
func answering(t *testing.T, status int, ahead time.Duration, body string) *Store {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
		rw.Header().Set("X-Amzn-Requestid", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		rw.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		rw.WriteHeader(status)
		fmt.Fprint(rw, body)
	}))
	t.Cleanup(server.Close)
	return openAt(t, server.URL)
}

// openAt opens a store at an endpoint.
func openAt(t *testing.T, endpoint string) *Store {
	t.Helper()
	dynamodblocal.Endpoint{URL: endpoint}.Setenv(t)
	return openStore(t, newClient(t), TableNames(""))
}

// callAll calls every method at the same time and returns the errors.
func callAll(t *testing.T, s *Store, limit time.Duration) map[string]error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	calls := map[string]func(context.Context) error{
		"get":    func(ctx context.Context) error { _, err := s.Get(ctx, "amelia"); return err },
		"put":    func(ctx context.Context) error { _, err := s.Put(ctx, testClient("amelia"), 1); return err },
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "amelia", 1) },
		"list":   func(ctx context.Context) error { _, err := s.List(ctx, "", 1); return err },
		"scan": func(ctx context.Context) error {
			_, err := s.Scan(ctx, func(configstore.Entry) error { return nil })
			return err
		},
		"changes": func(ctx context.Context) error { _, _, err := s.Changes(ctx, "LOG:1"); return err },
	}
	errs := make(map[string]error)
	var lock sync.Mutex
	var running sync.WaitGroup
	for method, call := range calls {
		running.Go(func() {
			err := call(ctx)
			lock.Lock()
			defer lock.Unlock()
			errs[method] = err
		})
	}
	running.Wait()
	return errs
}

func awsError(code, message string) string {
	return fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":%q}`, code, message)
}

func coralError(code, message string) string {
	return fmt.Sprintf(`{"__type":"com.amazon.coral.service#%s","message":%q}`, code, message)
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		ahead  time.Duration // of the server's clock
		body   string
		say    []string
		final  bool // not ErrUnavailable: trying again does not help
	}{
		"denied": {
			400, 0, coralError("AccessDeniedException", "User: arn:aws:iam::123456789012:user/edge is not authorized to perform: dynamodb:Scan on resource: arn:aws:dynamodb:eu-central-1:123456789012:table/webordinary-client-configs"),
			[]string{"denies", "dynamodb:Scan", "table/webordinary-client-configs", "allow the action"},
			false,
		},
		"throttled":    {400, 0, coralError("ThrottlingException", "Rate exceeded"), []string{"throttles", "Rate exceeded", "wait", "on demand"}, false},
		"table's rate": {400, 0, awsError("ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded."), []string{"throttles", "on demand"}, false},
		"no table":     {400, 0, awsError("ResourceNotFoundException", "Requested resource not found"), []string{"webordinary-", "not exist", "region eu-central-1", "caddy webordinary tables create"}, false},
		"clock behind": {
			400, time.Hour + time.Minute/2, coralError("InvalidSignatureException", "Signature expired: 20250101T000000Z is now earlier than 20250101T005500Z (20250101T010000Z - 5 min.)"),
			[]string{"clock is 1h0m", "behind", "set the clock"},
			false,
		},
		"clock ahead": {
			400, -time.Hour - time.Minute/2, coralError("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
			[]string{"clock is 1h0m", "ahead", "set the clock"},
			false,
		},
		"wrong secret": {
			400, 0, coralError("InvalidSignatureException", "The request signature we calculated does not match the signature you provided."),
			[]string{"does not accept the credentials", "renew or correct"},
			false,
		},
		"expired token": {400, 0, coralError("ExpiredTokenException", "The security token included in the request is expired"), []string{"does not accept the credentials", "expired", "renew"}, false},
		"unknown key":   {400, 0, coralError("UnrecognizedClientException", "The security token included in the request is invalid."), []string{"does not accept the credentials"}, false},
		"server fault":  {500, 0, awsError("InternalServerError", "The request processing has failed"), []string{"failed", "InternalServerError", "try again"}, false},
		"no JSON":       {503, 0, "<html>Service Unavailable</html>", []string{"config store unavailable"}, false},
		"refused":       {400, 0, awsError("ValidationException", "One or more parameter values were invalid"), []string{"refused the request", "parameter values"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, test.status, test.ahead, test.body)
			for method, err := range callAll(t, s, time.Minute) {
				require.Error(t, err, method)
				for _, say := range test.say {
					assert.ErrorContains(t, err, say, method)
				}
				assert.Equal(t, !test.final, isUnavailable(err), "%s: %v", method, err)
				assert.NotContains(t, err.Error(), "operation error", "%s: it is in our words", method)
			}
		})
	}
}

func isUnavailable(err error) bool {
	return strings.Contains(err.Error(), configstore.ErrUnavailable.Error())
}

func TestThrottledTransaction(t *testing.T) {
	s := answering(t, 400, 0, `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"Transaction cancelled","CancellationReasons":[{"Code":"None"},{"Code":"ThrottlingError","Message":"Throughput exceeds the current capacity of your table"}]}`)
	tx := new(transaction)
	tx.check(s.tables.ClientConfigs, rowKey("a"), absent(attrClientID))
	err := s.commit(t.Context(), tx)
	require.ErrorIs(t, err, dynamo.ErrThrottled)
	require.ErrorIs(t, err, errContended, "it begins anew")

	s = answering(t, 400, 0, `{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","message":"Transaction cancelled","CancellationReasons":[{"Code":"ValidationError","Message":"Item size to update has exceeded the maximum allowed size"}]}`)
	err = s.commit(t.Context(), tx)
	require.ErrorContains(t, err, "Item size to update has exceeded")
	require.NotErrorIs(t, err, configstore.ErrUnavailable)
}

// The tables that are missing are named, also where a call is about several.
func TestMissingTables(t *testing.T) {
	s := newStore(t)
	ctx := t.Context()
	_, err := s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.tables.EditHosts})
	require.NoError(t, err)
	_, err = s.Put(ctx, testClient("amelia"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	require.ErrorContains(t, err, "table "+s.tables.EditHosts+" does not exist in region eu-central-1: run `caddy webordinary tables create`")
	var named *configstore.WriteError
	require.ErrorAs(t, err, &named)
	_, err = s.client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &s.tables.ConfigChanges})
	require.NoError(t, err)
	_, err = s.Put(ctx, testClient("amelia"), configstore.AnyVersion)
	require.ErrorContains(t, err, s.tables.ConfigChanges+", "+s.tables.EditHosts+" do not exist")
}

func TestUnreachable(t *testing.T) {
	ports, err := freeport.Find(1)
	require.NoError(t, err)
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	s := openAt(t, "http://"+address)
	for method, err := range callAll(t, s, time.Minute) {
		require.ErrorIs(t, err, configstore.ErrUnavailable, method)
		assert.ErrorContains(t, err, address, method)
		assert.ErrorContains(t, err, "does not answer", method)
	}
}

// A store that takes connections and never answers does not hold its callers.
func TestHangs(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	s := openAt(t, "http://"+listener.Addr().String())
	for method, err := range callAll(t, s, 50*time.Millisecond) {
		require.ErrorIs(t, err, context.DeadlineExceeded, method)
		require.ErrorIs(t, err, configstore.ErrUnavailable, method)
		assert.ErrorContains(t, err, "in time", method)
	}
}

func TestNoCredentials(t *testing.T) {
	dynamodblocal.Endpoint{URL: "http://127.0.0.1:1"}.Setenv(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	s := openStore(t, newClient(t), TableNames(""))
	for method, err := range callAll(t, s, time.Minute) {
		require.ErrorIs(t, err, configstore.ErrUnavailable, method)
		assert.ErrorContains(t, err, "there are no AWS credentials", method)
		assert.ErrorContains(t, err, "AWS_PROFILE", method)
	}
}

func TestNoRegion(t *testing.T) {
	dynamodblocal.Endpoint{}.Setenv(t)
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	_, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{})
	require.ErrorContains(t, err, "AWS_REGION")
	client, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{Region: "us-west-2", Endpoint: "http://127.0.0.1:1"})
	require.NoError(t, err)
	assert.Equal(t, "us-west-2", client.Options().Region)
	assert.Equal(t, "http://127.0.0.1:1", aws.ToString(client.Options().BaseEndpoint))
}

func TestOpenErrors(t *testing.T) {
	_, err := Open(Options{})
	require.ErrorContains(t, err, "no DynamoDB client")
	dynamodblocal.Endpoint{}.Setenv(t)
	_, err = Open(Options{Client: newClient(t), Tables: Tables{ClientConfigs: "a", EditHosts: "b"}})
	require.ErrorContains(t, err, "the name of a table is empty")
	assert.Equal(t, Tables{"webordinary-client-configs", "webordinary-edit-hosts", "webordinary-config-changes"}, TableNames(""))
	assert.Equal(t, "test-edit-hosts", TableNames("test-").EditHosts)
}
