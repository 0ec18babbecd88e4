package harness

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// Request is a request to the edge.
type Request struct {
	Method string // default: GET
	Host   string // the Host header, as it is sent
	Path   string
	Body   string
	Header http.Header
}

// Answer is the edge's answer, read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// Took is the time from the request to the answer's end.
	Took time.Duration
}

// newHTTPClient makes a client that finds every name on the loopback address and
// follows no redirect.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout:       Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				var d net.Dialer
				return d.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			},
			MaxIdleConnsPerHost: 256,
			DisableCompression:  true,
		},
	}
}

// Try sends a request and reads the answer.
func (e *Edge) Try(q Request) (Answer, error) {
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, q.Method, fmt.Sprintf("http://127.0.0.1:%d%s", e.HTTPPort, q.Path), strings.NewReader(q.Body))
	if err != nil {
		return Answer{}, err
	}
	r.Host = q.Host
	maps.Copy(r.Header, q.Header)
	start := time.Now()
	resp, err := e.client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols { // there is no end
		return Answer{Status: resp.StatusCode, Header: resp.Header, Took: time.Since(start)}, nil
	}
	body, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body), Took: time.Since(start)}, err
}

// Do is Try for a request that must be answered.
func (e *Edge) Do(q Request) Answer {
	e.t.Helper()
	a, err := e.Try(q)
	require.NoError(e.t, err)
	return a
}

// Header makes a header of names and values; of two of the same name the last counts.
func Header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

// DocumentHeader is what browsers send where a person opens a page.
func DocumentHeader(more ...string) http.Header {
	return Header(append([]string{
		"Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none",
	}, more...)...)
}

// Path is the path of something below the session.
func (s *Session) Path(rest string) string { return "/session/" + url.PathEscape(s.SessionID) + rest }

// Host is the host that the session's site is served on.
func (s *Session) Host() string { return s.host }

// Document is a request for a page of the session by a person.
func (s *Session) Document(path string, more ...string) Request {
	return Request{Host: s.host, Path: s.Path(path), Header: DocumentHeader(more...)}
}

// Fetch is a request for something of the session by a page: a script, an image.
func (s *Session) Fetch(path string, more ...string) Request {
	return Request{Host: s.host, Path: s.Path(path), Header: Header(append([]string{
		"Accept", "*/*", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Site", "same-origin",
	}, more...)...)}
}

// Post is a request that writes, to the session.
func (s *Session) Post(path, body string, more ...string) Request {
	return Request{Method: http.MethodPost, Host: s.host, Path: s.Path(path), Body: body, Header: Header(append([]string{
		"Content-Type", "application/json", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin",
	}, more...)...)}
}

// Upgrade is a WebSocket handshake with the session.
func (s *Session) Upgrade(path string, more ...string) Request {
	return Request{Host: s.host, Path: s.Path(path), Header: Header(append([]string{
		"Connection", "Upgrade", "Upgrade", "websocket",
		"Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==",
	}, more...)...)}
}

// Open is what a person does: open the session's first page, and look again until the
// site is there. It returns the site's page.
func (s *Session) Open() Answer {
	s.edge.t.Helper()
	var a Answer
	EventuallyEvery(s.edge.t, Patience, 50*time.Millisecond, "the site is there", func() bool {
		a = s.edge.Do(s.Document("/"))
		if a.Status != http.StatusOK && a.Status != http.StatusAccepted {
			require.Failf(s.edge.t, "neither site nor waiting page", "%s: %s", strconv.Itoa(a.Status), a.Body)
		}
		return a.Status == http.StatusOK
	})
	return a
}
