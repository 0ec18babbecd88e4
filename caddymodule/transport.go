package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(Transport{})
}

// Transport carries requests to session containers over Caddy's http transport. It
// sees to it that they reach the right one, though addresses are used again: each
// connection proves itself before anything is sent on it, each response before anything
// of it is relayed, and the connections of each session and epoch are kept apart. It adds
// the container's token and takes away what visitors may not send. It is used by
// webordinary_router only.
type Transport struct {
	// The http transport to wrap (reverse_proxy's `transport http`). Its limits of
	// connections count for each container. Default: dial_timeout 1s, 512 idle
	// connections, no compression.
	HTTPRaw json.RawMessage `json:"http,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	pools *pools
}

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.webordinary",
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision loads the http transport.
func (t *Transport) Provision(ctx caddy.Context) error {
	raw, err := withDefaults(t.HTTPRaw)
	if err != nil {
		return err
	}
	t.HTTPRaw = raw
	mod, err := ctx.LoadModule(t, "HTTPRaw")
	if err != nil {
		return fmt.Errorf("loading http transport: %w", err)
	}
	inner, ok := mod.(*reverseproxy.HTTPTransport)
	if !ok {
		return fmt.Errorf("loading http transport: only the transport http can carry sessions, got %T", mod)
	}
	t.pools = &pools{base: inner.Transport}
	return nil
}

// Cleanup closes the connections that are not in use.
func (t *Transport) Cleanup() error {
	if t.pools != nil {
		t.pools.close()
	}
	return nil
}

// withDefaults completes the settings of an http transport. It is measured: more idle
// connections than Caddy's 32 and no compression towards a container on the same network
// save a fifth of the proxy's CPU at 128 concurrent requests. No proxy that the
// environment names may stand before a container.
func withDefaults(raw json.RawMessage) (json.RawMessage, error) {
	t := new(reverseproxy.HTTPTransport)
	if raw != nil {
		if err := json.Unmarshal(raw, t); err != nil {
			return nil, fmt.Errorf("decoding http transport: %w", err)
		}
	}
	if t.DialTimeout == 0 {
		t.DialTimeout = caddy.Duration(time.Second)
	}
	if t.Compression == nil {
		t.Compression = new(bool)
	}
	if t.KeepAlive == nil {
		t.KeepAlive = new(reverseproxy.KeepAlive)
	}
	if t.KeepAlive.MaxIdleConnsPerHost == 0 {
		t.KeepAlive.MaxIdleConnsPerHost = 512
	}
	if t.KeepAlive.IdleConnTimeout == 0 {
		t.KeepAlive.IdleConnTimeout = caddy.Duration(2 * time.Minute)
	}
	if t.TLS != nil || t.ProxyProtocol != "" || len(t.Versions) > 0 || t.NetworkProxyRaw != nil || t.ForwardProxyURL != "" {
		return nil, errors.New("transport: containers speak plain HTTP/1.1 with nothing in between: no tls, versions, proxy_protocol or network_proxy")
	}
	t.Versions = []string{"1.1"}
	t.NetworkProxyRaw = json.RawMessage(`{"from":"none"}`)
	return caddyconfig.JSONModuleObject(t, "protocol", "http", nil), nil
}

// RoundTrip implements http.RoundTripper. Its error is a lostError where the container
// cannot be the session's, and a visitorError where the visitor's body could not be read.
// The request is left as it came: reverse_proxy logs it, and the token must not be in it.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	route, ok := caddyhttp.GetVar(req.Context(), routeVar).(*sessions.Route)
	if !ok {
		return nil, errors.New("the webordinary transport is used by webordinary_router only")
	}
	x := &trip{pool: t.pools.of(route), proof: route.Proof, address: route.Address}
	out := req.WithContext(x.begin(req.Context()))
	u := *req.URL
	u.Scheme = "http"
	out.URL = &u
	out.Header = containerHeader(req, route)
	var body *visitorBody
	if req.Body != nil && req.Body != http.NoBody {
		body = &visitorBody{ReadCloser: req.Body}
		out.Body = body
	}
	res, err := x.pool.http.RoundTrip(out)
	heard := x.end()
	switch {
	case !heard:
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, x.silent
	case err != nil:
		return nil, sortError(req, body, err)
	}
	if err := x.check(res.Header); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res, nil
}

// containerHeader is the header that the container gets: what the visitor sent, without
// what visitors may not say, and with what the edge says.
func containerHeader(req *http.Request, route *sessions.Route) http.Header {
	header := make(http.Header, len(req.Header)+3)
	for name, values := range req.Header {
		if !strings.HasPrefix(name, bootapi.HeaderPrefix) {
			header[name] = values
		}
	}
	edge.StripCookies(header)
	values := [2]string{route.Prefix, route.Token}
	header[headerForwardedPrefix] = values[0:1:1]
	header[bootapi.HeaderToken] = values[1:2:2]
	if caddyhttp.GetVar(req.Context(), passiveVar) != nil {
		header[bootapi.HeaderActivity] = []string{bootapi.ActivityNone}
	}
	return header
}

const headerForwardedPrefix = "X-Forwarded-Prefix"

// Interface guards
var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)
