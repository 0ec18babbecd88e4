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
// adds the container's token, takes away what visitors may not send, and keeps the
// connections of each session and epoch apart, so that an address that was reused never
// meets an old connection. It is used by webordinary_router only.
type Transport struct {
	// The http transport to wrap (reverse_proxy's `transport http`). Default:
	// dial_timeout 1s, 512 idle connections per container, no compression towards it.
	HTTPRaw json.RawMessage `json:"http,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	http http.RoundTripper
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
	t.http = inner
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
	if t.NetworkProxyRaw == nil {
		t.NetworkProxyRaw = json.RawMessage(`{"from":"none"}`)
	}
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
	out := req.WithContext(req.Context())
	u := *req.URL
	// The URL's host is the key of the connection pool; what is dialed is the
	// upstream's address, and what is sent is the request's own Host.
	u.Host = route.PoolKey
	out.URL = &u
	out.Header = containerHeader(req, route)
	var body *visitorBody
	if req.Body != nil && req.Body != http.NoBody {
		body = &visitorBody{ReadCloser: req.Body}
		out.Body = body
	}
	res, err := t.http.RoundTrip(out)
	if err != nil {
		return nil, sortError(req, body, err)
	}
	if res.StatusCode == http.StatusMisdirectedRequest && res.Header.Get(bootapi.HeaderRefused) != "" {
		_ = res.Body.Close()
		return nil, &lostError{errMisdirected}
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
	_ caddy.Provisioner = (*Transport)(nil)
	_ http.RoundTripper = (*Transport)(nil)
)
