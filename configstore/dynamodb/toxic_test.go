package dynamodb

import (
	"net/http"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamodblocal"
)

// toxic is a way to DynamoDB Local that can be spoiled.
type toxic struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newToxic(t *testing.T) *toxic {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	upstream := strings.TrimPrefix(dynamodblocal.Start(t).URL, "http://")
	proxy := toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream)
	require.NoError(t, proxy.Start())
	t.Cleanup(proxy.Stop)
	return &toxic{t, proxy}
}

// add adds a toxic in toxiproxy's own JSON.
func (x *toxic) add(toxic string) {
	x.t.Helper()
	_, err := x.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	require.NoError(x.t, err)
}

func (x *toxic) remove(name string) {
	x.t.Helper()
	require.NoError(x.t, x.proxy.Toxics.RemoveToxic(x.t.Context(), name))
}

// client returns a client through the proxy. before is called with the name of each
// operation, before each attempt of it.
func (x *toxic) client(before func(operation string)) *dynamodb.Client {
	x.t.Helper()
	client := newClient(x.t)
	return dynamodb.New(client.Options(), func(o *dynamodb.Options) {
		o.BaseEndpoint = aws.String("http://" + x.proxy.Listen)
		o.HTTPClient = &hooked{o.HTTPClient, before}
	})
}

// hooked is an HTTP client that tells of its requests.
type hooked struct {
	dynamodb.HTTPClient
	before func(operation string)
}

func (h *hooked) Do(request *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	h.before(operation)
	return h.HTTPClient.Do(request)
}
