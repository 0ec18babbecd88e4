package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(Upstreams{})
}

// Upstreams hands the container that webordinary_router found to reverse_proxy. It
// does no look-up of its own.
type Upstreams struct{}

// CaddyModule returns the Caddy module information.
func (Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.webordinary",
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// GetUpstreams returns the request's container, as a fresh Upstream: the proxy writes into it.
func (Upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	route, ok := caddyhttp.GetVar(r.Context(), routeVar).(*sessions.Route)
	if !ok {
		return nil, errors.New("the upstream source webordinary is used by webordinary_router only")
	}
	return []*reverseproxy.Upstream{{Dial: route.Address}}, nil
}

// ResetCache has nothing to reset.
func (Upstreams) ResetCache(*http.Request) error { return nil }

// Interface guards
var (
	_ reverseproxy.UpstreamSource        = Upstreams{}
	_ reverseproxy.CachingUpstreamSource = Upstreams{}
)
