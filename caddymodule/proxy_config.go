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
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/webordinary/router/containerboot/bootapi"
)

// defaultStreamCloseDelay is for how long WebSockets live on after a reload. Caddy's own
// default closes them at once, and editors would lose them whenever anything is changed.
const defaultStreamCloseDelay = 24 * time.Hour

// completeProxy reads the configuration of the router's reverse_proxy and gives it upstream
// source, transport and defaults. It refuses what would send requests anywhere but to
// their session's container.
func completeProxy(raw json.RawMessage) (json.RawMessage, error) {
	proxy := new(reverseproxy.Handler)
	if raw != nil {
		var module struct {
			Handler string `json:"handler"`
		}
		if err := json.Unmarshal(raw, &module); err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
		if module.Handler != "reverse_proxy" {
			return nil, fmt.Errorf("handler: must be reverse_proxy, got %q", module.Handler)
		}
		if err := json.Unmarshal(raw, proxy); err != nil {
			return nil, fmt.Errorf("decoding: %w", err)
		}
	}
	if len(proxy.Upstreams) > 0 || proxy.DynamicUpstreamsRaw != nil {
		return nil, errors.New("upstreams: containers are found by host and path, none may be configured")
	}
	if proxy.LoadBalancing != nil || proxy.HealthChecks != nil || proxy.CBRaw != nil {
		return nil, errors.New("load balancing, health checks and circuit breakers don't apply: a session has one container")
	}
	if len(proxy.HandleResponse) > 0 || proxy.Rewrite != nil {
		return nil, errors.New("handle_response and rewrite would come between a session and its container")
	}
	if err := checkHeaders(proxy.Headers); err != nil {
		return nil, err
	}
	if proxy.TransportRaw != nil {
		var module struct {
			Protocol string `json:"protocol"`
		}
		if err := json.Unmarshal(proxy.TransportRaw, &module); err != nil || module.Protocol != "http" {
			return nil, fmt.Errorf("transport: only http can carry sessions, got %q", module.Protocol)
		}
	}
	proxy.TransportRaw = caddyconfig.JSONModuleObject(Transport{HTTPRaw: proxy.TransportRaw}, "protocol", "webordinary", nil)
	proxy.DynamicUpstreamsRaw = caddyconfig.JSONModuleObject(Upstreams{}, "source", "webordinary", nil)
	if proxy.StreamCloseDelay == 0 {
		proxy.StreamCloseDelay = caddy.Duration(defaultStreamCloseDelay)
	}
	return caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil), nil
}

// checkHeaders refuses request headers that the transport would take away again.
func checkHeaders(h *headers.Handler) error {
	if h == nil || h.Request == nil {
		return nil
	}
	for _, set := range []http.Header{h.Request.Add, h.Request.Set} {
		for name := range set {
			if strings.HasPrefix(http.CanonicalHeaderKey(name), bootapi.HeaderPrefix) {
				return fmt.Errorf("header_up: %s is the router's own", name)
			}
		}
	}
	return nil
}
