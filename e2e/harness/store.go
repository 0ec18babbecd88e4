package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamodblocal"
)

// Store is a config store on DynamoDB, which any number of edges share.
type Store struct {
	t        testing.TB
	endpoint dynamodblocal.Endpoint
	prefix   string
}

// NewStore names tables in this test binary's DynamoDB Local; CreateTables makes them.
func NewStore(t testing.TB) *Store {
	t.Helper()
	return &Store{t: t, endpoint: dynamodblocal.Start(t), prefix: dynamodblocal.Prefix()}
}

// CreateTables makes the tables, by the CLI.
func (s *Store) CreateTables() {
	s.t.Helper()
	New(s.t, s.Edge(nil, Options{})).CLI("tables", "create")
}

// Edge are the options of an edge on the store, by a link or, for nil, directly.
func (s *Store) Edge(by *Link, o Options) Options {
	endpoint := s.endpoint.URL
	if by != nil {
		endpoint = by.URL
	}
	o.Env = append(o.Env, s.endpoint.Environ()...)
	o.Config = func(config string) string {
		return strings.Replace(config, "\twebordinary {\n", fmt.Sprintf(
			"\twebordinary {\n\t\tconfig_store dynamodb {\n\t\t\tendpoint %s\n\t\t\ttable_prefix %s\n\t\t}\n", endpoint, s.prefix), 1)
	}
	return o
}

// Link is an edge's way to the store, which counts its calls and can be cut.
type Link struct {
	// URL is where an edge finds it.
	URL string

	calls   atomic.Int64
	proxy   *toxiproxy.Proxy
	refuses bool
}

// Link makes one for the time of the test.
func (s *Store) Link() *Link {
	s.t.Helper()
	l := new(Link)
	target, err := url.Parse(s.endpoint.URL)
	require.NoError(s.t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // whose edge has gone
	counter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.calls.Add(1)
		forward.ServeHTTP(w, r)
	}))
	s.t.Cleanup(func() {
		counter.CloseClientConnections()
		counter.Close()
	})
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l.proxy = toxiproxy.NewProxy(server, "store", fmt.Sprintf("127.0.0.1:%d", FreePorts(s.t, 1)[0]), counter.Listener.Addr().String())
	require.NoError(s.t, l.proxy.Start())
	s.t.Cleanup(l.proxy.Stop)
	l.URL = "http://" + l.proxy.Listen
	return l
}

// Calls is how many calls of the store came over the link so far.
func (l *Link) Calls() int64 { return l.calls.Load() }

// Refuse has the link refuse connections, and breaks those that are open.
func (l *Link) Refuse() {
	l.refuses = true
	l.proxy.Stop()
}

// Hang has the link take everything and answer nothing.
func (l *Link) Hang(t testing.TB) {
	t.Helper()
	for _, stream := range []string{"upstream", "downstream"} {
		_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
			fmt.Sprintf(`{"name": %q, "type": "timeout", "stream": %[1]q, "attributes": {"timeout": 0}}`, stream)))
		require.NoError(t, err)
	}
}

// Restore makes the link whole again. What hangs by then is never answered.
func (l *Link) Restore(t testing.TB) {
	t.Helper()
	if l.refuses {
		l.refuses = false
		require.NoError(t, l.proxy.Start())
	}
	l.proxy.Toxics.ResetToxics(t.Context())
}

// RoutingTable is what the admin API tells of an edge's routing table.
type RoutingTable struct {
	Loaded    bool      `json:"loaded"`
	Clients   int       `json:"clients"`
	Bytes     int       `json:"bytes"`
	Source    string    `json:"source"`
	LoadedAt  time.Time `json:"loadedAt"`
	LastError string    `json:"lastError"`
	Failing   bool      `json:"failing"`
}

// RoutingTable asks the running edge for it, which may have begun to serve a moment ago:
// its admin endpoint knows of it only then.
func (e *Edge) RoutingTable() RoutingTable {
	e.t.Helper()
	var table RoutingTable
	Eventually(e.t, Patience, "the admin endpoint tells of the routing table", func() bool {
		status, body := e.AskAdmin(http.MethodGet, "/webordinary/routing-table", "")
		if status == http.StatusServiceUnavailable {
			return false
		}
		require.Equal(e.t, http.StatusOK, status, body)
		require.NoError(e.t, json.Unmarshal([]byte(body), &table), body)
		return true
	})
	return table
}

// AskAdmin sends a request to the edge's admin endpoint.
func (e *Edge) AskAdmin(method, path, body string) (status int, answer string) {
	e.t.Helper()
	r, err := http.NewRequestWithContext(e.t.Context(), method, "http://"+e.Admin+path, strings.NewReader(body))
	require.NoError(e.t, err)
	resp, err := e.client.Do(r)
	require.NoError(e.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(e.t, err)
	return resp.StatusCode, string(text)
}

// heapAlloc is the line of a heap profile that tells of the live heap, in bytes.
var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// HeapAfterGC is how many bytes the running edge holds on its heap.
func (e *Edge) HeapAfterGC() int64 {
	e.t.Helper()
	var least int64
	for range 3 { // what a finalizer keeps is free after the next one
		status, body := e.AskAdmin(http.MethodGet, "/debug/pprof/heap?gc=1&debug=1", "")
		require.Equal(e.t, http.StatusOK, status)
		found := heapAlloc.FindStringSubmatch(body)
		require.NotNil(e.t, found)
		n, err := strconv.ParseInt(found[1], 10, 64)
		require.NoError(e.t, err)
		if least == 0 || n < least {
			least = n
		}
	}
	return least
}

// Prefix is what the names of the store's tables begin with.
func (s *Store) Prefix() string { return s.prefix }

// PutOlder writes a client's row as the older tools did, past any store of ours. extra are
// further fields of its configuration, as DynamoDB JSON.
func (s *Store) PutOlder(id, host string, idleMinutes int, extra map[string]any) {
	s.t.Helper()
	text := func(v string) map[string]any { return map[string]any{"S": v} }
	number := func(v int) map[string]any { return map[string]any{"N": strconv.Itoa(v)} }
	config := map[string]any{
		"clientId":   text(id),
		"domains":    map[string]any{"M": map[string]any{"production": text("www." + id + ".example"), "edit": text(host)}},
		"repository": map[string]any{"M": map[string]any{"url": text("git@git.example.com:studio/" + id + ".git"), "branch": text("main")}},
		"settings": map[string]any{"M": map[string]any{
			"containerSize": text("small"), "idleTimeoutMinutes": number(idleMinutes), "maxConcurrentSessions": number(5),
		}},
	}
	maps.Copy(config, extra)
	body, err := json.Marshal(map[string]any{"TableName": s.prefix + "client-configs", "Item": map[string]any{
		"clientId": text(id), "config": map[string]any{"M": config},
		"createdAt": text("2024-05-01T10:00:00.000Z"), "updatedAt": text("2024-05-02T10:00:00.000Z"),
	}})
	require.NoError(s.t, err)
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.endpoint.URL, bytes.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.PutItem")
	// DynamoDB Local asks for a signature and takes any.
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+dynamodblocal.AccessKeyID+"/20250101/"+dynamodblocal.Region+
		"/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, resp.StatusCode, string(answer))
}
