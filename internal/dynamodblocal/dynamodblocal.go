// Package dynamodblocal starts the real DynamoDB Local for tests: one for each test binary,
// in memory, on a free port, which ends with the binary however that ends. It needs Java 17,
// and Node's npm the first time, to install the version that package-lock.json pins.
package dynamodblocal

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// What a client of DynamoDB Local signs with; it takes any.
const (
	Region          = "eu-central-1"
	AccessKeyID     = "local"
	SecretAccessKey = "local"
)

// Endpoint is a running DynamoDB Local.
type Endpoint struct {
	// URL is where it answers: http://127.0.0.1:PORT.
	URL string
}

var shared struct {
	sync.Mutex
	server *server
}

// Start returns the DynamoDB Local of this test binary, and starts it where none runs yet.
// It fails the test where that cannot be done, and says what is missing.
func Start(tb testing.TB) Endpoint {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		folder, err := install()
		if err != nil {
			tb.Fatalf("installing DynamoDB Local: %v", err)
		}
		if shared.server, err = start(folder); err != nil {
			tb.Fatalf("starting DynamoDB Local: %v", err)
		}
	}
	return Endpoint{URL: shared.server.url}
}

// Prefix returns a random prefix of table names, so that tests share nothing.
func Prefix() string { return "test-" + strings.ToLower(rand.Text()[:10]) + "-" }

// Environment returns the variables with which an AWS client uses the endpoint, for a
// process or, one by one, for testing.T.Setenv. They keep it from any other credentials.
func (e Endpoint) Environment() map[string]string {
	return map[string]string{ //nolint:gosec // G101: no secret, DynamoDB Local takes any
		"AWS_REGION":                  Region,
		"AWS_ACCESS_KEY_ID":           AccessKeyID,
		"AWS_SECRET_ACCESS_KEY":       SecretAccessKey,
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_CONFIG_FILE":             "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_ENDPOINT_URL_DYNAMODB":   e.URL,
	}
}

// Setenv sets Environment for a test, which must not be parallel then.
func (e Endpoint) Setenv(tb testing.TB) {
	tb.Helper()
	for name, value := range e.Environment() {
		tb.Setenv(name, value)
	}
}

// Environ is Environment in the form of os.Environ, to be appended to it.
func (e Endpoint) Environ() []string {
	var environ []string
	for name, value := range e.Environment() {
		environ = append(environ, fmt.Sprintf("%s=%s", name, value))
	}
	return environ
}
