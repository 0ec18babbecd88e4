package caddymodule

import (
	"encoding/json"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("webordinary_router", parseRouter)
	httpcaddyfile.RegisterDirectiveOrder("webordinary_router", httpcaddyfile.Before, "reverse_proxy")
}

// parseRouter sets up the router from its directive. Syntax:
//
//	webordinary_router [<matcher>] {
//		new_sessions   off|open
//		thread_links
//		hold_timeout   <duration>
//		max_held       <per_session> [<in_all>]
//		passive_agents <parts...>
//
//		# as in reverse_proxy:
//		header_up, header_down, trusted_proxies, flush_interval, request_buffers,
//		response_buffers, stream_buffer_size, stream_timeout, stream_close_delay,
//		proxy_status_name, verbose_logs
//		transport http { ... }
//	}
func parseRouter(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	router := new(Router)
	if err := router.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return router, nil
}

// proxyOptions are the subdirectives of reverse_proxy that the router passes on. The
// others choose, check or replace upstreams, or answer in a container's place.
var proxyOptions = map[string]bool{
	"header_up": true, "header_down": true, "trusted_proxies": true, "flush_interval": true,
	"request_buffers": true, "response_buffers": true, "stream_buffer_size": true,
	"stream_timeout": true, "stream_close_delay": true, "proxy_status_name": true,
	"verbose_logs": true, "transport": true,
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler; see parseRouter for the syntax.
func (h *Router) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	directive := d.Token()
	if d.NextArg() {
		return d.Errf("webordinary_router takes no upstream: containers are found by host and path, got %q", d.Val())
	}
	var passedOn []caddyfile.Token
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if proxyOptions[option] {
			passedOn = append(passedOn, d.NextSegment()...)
			continue
		}
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	if err := h.Validate(); err != nil {
		return d.WrapErr(err)
	}
	proxy, err := unmarshalProxy(directive, passedOn)
	if err != nil {
		return err
	}
	if _, err := completeProxy(proxy); err != nil { // at the earliest point; Provision does it again
		return d.WrapErr(err)
	}
	h.ProxyRaw = proxy
	return nil
}

func (h *Router) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "new_sessions":
		if !d.AllArgs(&h.NewSessions) {
			return d.ArgErr()
		}
	case "thread_links":
		if d.NextArg() {
			return d.ArgErr()
		}
		h.ThreadLinks = true
	case "hold_timeout":
		return unmarshalDuration(d, &h.HoldTimeout)
	case "max_held":
		args := d.RemainingArgs()
		if len(args) < 1 || len(args) > 2 {
			return d.ArgErr()
		}
		for i, to := range []*int{&h.MaxHeldPerSession, &h.MaxHeld}[:len(args)] {
			n, err := strconv.Atoi(args[i])
			if err != nil || n <= 0 {
				return d.Errf("max_held: must be a positive number, got %q", args[i])
			}
			*to = n
		}
	case "passive_agents":
		if h.PassiveAgents = d.RemainingArgs(); len(h.PassiveAgents) == 0 {
			return d.ArgErr()
		}
	default:
		return d.Errf("unrecognized subdirective %q: of reverse_proxy's, webordinary_router takes those that do not choose an upstream", option)
	}
	return nil
}

// unmarshalProxy parses subdirectives of reverse_proxy as reverse_proxy does.
func unmarshalProxy(directive caddyfile.Token, options []caddyfile.Token) (json.RawMessage, error) {
	open, end := directive, directive
	directive.Text, open.Text, end.Text = "reverse_proxy", "{", "}"
	if n := len(options); n > 0 {
		end.Line = options[n-1].Line + 1
		end.File = options[n-1].File
	} else {
		end.Line++
	}
	tokens := append([]caddyfile.Token{directive, open}, options...)
	d := caddyfile.NewDispenser(append(tokens, end))
	proxy := new(reverseproxy.Handler)
	if err := proxy.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil), nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Router)(nil)
