package dynamodb_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/sessions/dynamodb"
)

// proxy stands before DynamoDB Local and does what DynamoDB does at times, but DynamoDB
// Local never: it turns transactions away because of others, throttles, and loses answers.
type proxy struct {
	*httptest.Server
	t      *testing.T
	target string // DynamoDB Local

	mu    sync.Mutex
	calls map[string]int // by operation
	moods []mood
}

// mood is what becomes of the next call of an operation.
type mood struct {
	operation string
	// reply is sent instead of making the call; "" makes it. Its status is 400 by default.
	reply  string
	status int
	// lost: the call is made, and its answer is lost with the connection.
	lost bool
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{t: t, target: dynamodblocal.Start(t).URL, calls: make(map[string]int)}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// registry returns a registry behind the proxy.
func (p *proxy) registry(table string) *dynamodb.Registry {
	p.t.Helper()
	r, err := dynamodb.Open(dynamodb.Options{Client: client(p.t, p.URL), Table: table})
	require.NoError(p.t, err)
	p.t.Cleanup(func() { assert.NoError(p.t, r.Close()) })
	return r
}

// next says what becomes of the next calls, each mood of one call.
func (p *proxy) next(moods ...mood) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moods = append(p.moods, moods...)
}

// spent checks that every mood had its call, and returns how often an operation was called.
func (p *proxy) spent(operation string) int {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	assert.Empty(p.t, p.moods)
	return p.calls[operation]
}

func (p *proxy) mood(operation string) mood {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[operation]++
	for i, m := range p.moods {
		if m.operation == operation {
			p.moods = append(p.moods[:i:i], p.moods[i+1:]...)
			return m
		}
	}
	return mood{}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if !assert.NoError(p.t, err) {
		return
	}
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	m := p.mood(operation)
	if m.reply != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(cmp.Or(m.status, http.StatusBadRequest))
		_, _ = io.WriteString(w, m.reply)
		return
	}
	out, err := http.NewRequestWithContext(req.Context(), req.Method, p.target, bytes.NewReader(body))
	if !assert.NoError(p.t, err) {
		return
	}
	out.Header = req.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler) // the caller has gone away
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if m.lost || err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
}

const namespace = "com.amazonaws.dynamodb.v20120810#"

// cancelled is DynamoDB's answer to a transaction that it turns away, with a reason for
// each action.
func cancelled(codes ...string) string {
	reasons := make([]string, len(codes))
	for i, code := range codes {
		reasons[i] = fmt.Sprintf(`{"Code":%q}`, code)
	}
	return fmt.Sprintf(`{"__type":"%sTransactionCanceledException","Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [%s]","CancellationReasons":[%s]}`,
		namespace, strings.Join(codes, ", "), strings.Join(reasons, ","))
}

func refused(kind, message string) string {
	return fmt.Sprintf(`{"__type":"%s%s","message":%q}`, namespace, kind, message)
}
