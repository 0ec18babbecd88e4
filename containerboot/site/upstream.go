package site

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	upstreamDial = 5 * time.Second
	// upstreamHeaders is how long an agent may work before it begins to answer.
	upstreamHeaders = 15 * time.Minute
	upstreamIdle    = 90 * time.Second
)

// NewUpstream returns a proxy to one origin, "http://host:port", with WebSockets and
// with streams passed on as they come. Host and X-Forwarded-* stay as they arrive: a
// server that compares a socket's Origin with the host it was asked for sees the
// visitor's. What the origin says in X-Webordinary-* headers is dropped. Where the origin does not answer the visitor gets a 502. NewUpstream
// fails for anything but such an origin.
func NewUpstream(origin string) (http.Handler, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, fmt.Errorf("parsing upstream origin: %w", errors.Unwrap(err))
	}
	bare := url.URL{Scheme: "http", Host: u.Host}
	if u.Hostname() == "" || u.Port() == "" || strings.TrimSuffix(origin, "/") != bare.String() {
		return nil, fmt.Errorf("upstream origin must be http://host:port, got %q", u.Redacted())
	}
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = bare.Scheme, bare.Host
			// ReverseProxy drops what it cannot vouch for or parse; the edge in
			// front of this container has vouched for it.
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := pr.In.Header[name]; ok {
					pr.Out.Header[name] = values
				}
			}
		},
		// What the edge believes of this container must not come from the client's code.
		ModifyResponse: func(resp *http.Response) error {
			for name := range resp.Header {
				if strings.HasPrefix(name, bootapi.HeaderPrefix) {
					delete(resp.Header, name)
				}
			}
			return nil
		},
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: upstreamDial}).DialContext,
			ResponseHeaderTimeout: upstreamHeaders,
			IdleConnTimeout:       upstreamIdle,
			MaxIdleConnsPerHost:   32,
			DisableCompression:    true,
		},
		FlushInterval: -1,
		BufferPool:    &buffers{},
		// It tells of visitors who left and of an upstream that is down, which the
		// 502 says.
		ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			writeText(w, r, http.StatusBadGateway, "The editing agent does not answer.")
		},
	}, nil
}

// buffers lends the proxy what it copies through.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
