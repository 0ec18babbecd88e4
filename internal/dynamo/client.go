// Package dynamo is what all parts on DynamoDB need alike, whatever they keep there: a client,
// errors that say what to do, tables, and their examination.
package dynamo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
)

// Limits of one attempt of a call. A store that does not answer must be noticed, and its
// return too, within seconds; an answer that takes longer than attemptTimeout is lost.
const (
	dialTimeout    = 2 * time.Second
	attemptTimeout = 5 * time.Second
	attempts       = 4
	maxBackoff     = time.Second
)

// ClientOptions say which DynamoDB. The zero value is AWS with what its environment says.
type ClientOptions struct {
	// Region is that of the tables. Default: as AWS_REGION, the profile or the instance say.
	Region string
	// Endpoint is the URL of a DynamoDB other than AWS's, such as DynamoDB Local. Default:
	// as AWS_ENDPOINT_URL_DYNAMODB says, else AWS's of the region.
	Endpoint string
}

// NewClient returns a client with AWS's default chain of credentials: environment, shared
// files, web identity, container, instance. It uses no network, except that an instance is
// asked for its region where nothing else names one. The error says where no region is
// known, or the shared files are faulty.
func NewClient(ctx context.Context, o ClientOptions) (*dynamodb.Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(builder()),
		config.WithRetryer(newRetryer),
		config.WithLogger(logging.Nop{}), // what matters is in the errors
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region: name one in the configuration, or set AWS_REGION")
	}
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // by now with AWS_CA_BUNDLE
		cfg.HTTPClient = newTransport(b)
	}
	return dynamodb.NewFromConfig(cfg, func(options *dynamodb.Options) {
		if o.Endpoint != "" {
			options.BaseEndpoint = aws.String(o.Endpoint)
		}
		// DynamoDB Local sends wrong checksums with its errors.
		options.DisableValidateResponseChecksum = options.BaseEndpoint != nil
	}), nil
}

func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.MaxBackoff = maxBackoff
		// Callers bound their calls; a budget that an outage has used up would make
		// the first calls after it fail at their first fault.
		o.RateLimiter = ratelimit.None
	})
}

// transport forgets its idle connections when an attempt fails: after an outage each of
// them may be dead without knowing, and would cost the next attempts a time-out each. An
// attempt that was given up, as by a visitor who left, says nothing about them.
type transport struct{ client *http.Client }

func builder() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = dialTimeout
			d.KeepAlive = 10 * time.Second
		}).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = dialTimeout
			t.MaxIdleConnsPerHost = 16
		})
}

func newTransport(b *awshttp.BuildableClient) *transport {
	return &transport{&http.Client{
		Transport: b.GetTransport(),
		Timeout:   b.GetTimeout(),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // DynamoDB does not redirect
		},
	}}
}

// Do implements aws.HTTPClient.
func (t *transport) Do(request *http.Request) (*http.Response, error) {
	response, err := t.client.Do(request)
	if err != nil && !errors.Is(request.Context().Err(), context.Canceled) {
		t.client.CloseIdleConnections()
	}
	return response, err
}

// CloseIdleConnections closes the connections that no call uses.
func (t *transport) CloseIdleConnections() { t.client.CloseIdleConnections() }

// CloseIdle closes the connections of a client that no call uses.
func CloseIdle(client *dynamodb.Client) {
	if c, ok := client.Options().HTTPClient.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
