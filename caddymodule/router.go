package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/edge"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(Router{})
}

// Router sends each request to the edit session that it belongs to: it resolves the
// host to a client and the path to a session, wakes the session where the request may,
// and proxies to its container by reverse_proxy. Requests of sessions that cannot answer
// yet get a waiting page or are held.
//
// A host that is nobody's is answered with a 404 page; the handler never calls the next one.
type Router struct {
	// The reverse_proxy handler that carries requests to containers. The router sets its
	// upstreams, and its transport around the http transport that may be configured here.
	ProxyRaw json.RawMessage `json:"proxy,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	// Whether visitors may make sessions at /new: "off" or "open". Default: off.
	NewSessions string `json:"new_sessions,omitempty"`

	// Accept the id of a thread in a path. Threads can be guessed. Default: false.
	ThreadLinks bool `json:"thread_links,omitempty"`

	// How long a request is held for a session that is waking, where it does not say
	// itself with `Prefer: wait=N`. Default: 60s.
	HoldTimeout caddy.Duration `json:"hold_timeout,omitempty"`

	// How many requests are held at most for one session. Default: 100.
	MaxHeldPerSession int `json:"max_held_per_session,omitempty"`

	// How many requests are held at most for all sessions. Default: 2000.
	MaxHeld int `json:"max_held,omitempty"`

	// Parts of the User-Agent of bots and monitors, whose requests wake nothing and
	// count as nobody's activity. Default: none.
	PassiveAgents []string `json:"passive_agents,omitempty"`

	app      *App
	proxy    caddyhttp.MiddlewareHandler
	logger   *zap.Logger
	agents   edge.Agents
	stopping <-chan struct{} // closed when this configuration stops: event streams end
}

// The values of Router.NewSessions.
const (
	newSessionsOff  = "off"
	newSessionsOpen = "open"
)

// CaddyModule returns the Caddy module information.
func (Router) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.webordinary_router",
		New: func() caddy.Module { return new(Router) },
	}
}

// Provision sets up the router.
func (h *Router) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	app, err := loadApp(ctx)
	if err != nil {
		return err
	}
	h.app = app
	if h.NewSessions == "" {
		h.NewSessions = newSessionsOff
	}
	if h.HoldTimeout == 0 {
		h.HoldTimeout = caddy.Duration(edge.DefaultHoldTimeout)
	}
	if h.MaxHeldPerSession == 0 {
		h.MaxHeldPerSession = 100
	}
	if h.MaxHeld == 0 {
		h.MaxHeld = 2000
	}
	for _, agent := range h.PassiveAgents {
		h.agents = append(h.agents, strings.ToLower(agent))
	}
	rememberConns(ctx)

	if h.ProxyRaw, err = completeProxy(h.ProxyRaw); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	mod, err := ctx.LoadModule(h, "ProxyRaw")
	if err != nil {
		return fmt.Errorf("loading proxy: %w", err)
	}
	h.proxy = mod.(caddyhttp.MiddlewareHandler)

	stopping, stop := context.WithCancel(context.Background())
	h.stopping = stopping.Done()
	ctx.OnCancel(stop) // also where this configuration never runs
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	return events.(*caddyevents.App).On("stopping", onStopping(stop))
}

// onStopping ends event streams before the http app waits for its requests to end.
type onStopping context.CancelFunc

// Handle implements caddyevents.Handler.
func (stop onStopping) Handle(context.Context, caddy.Event) error {
	stop()
	return nil
}

// Validate checks the settings.
func (h *Router) Validate() error {
	switch h.NewSessions {
	case "", newSessionsOff, newSessionsOpen:
	case "authorised":
		return errors.New("new_sessions: authorised is not supported yet: say off or open")
	default:
		return fmt.Errorf("new_sessions: must be off or open, got %q", h.NewSessions)
	}
	if h.HoldTimeout < 0 {
		return fmt.Errorf("hold_timeout: must not be negative, got %s", time.Duration(h.HoldTimeout))
	}
	if slices.Contains(h.PassiveAgents, "") {
		return errors.New("passive_agents: an empty part would match every request")
	}
	if h.MaxHeldPerSession < 0 || h.MaxHeld < 0 {
		return fmt.Errorf("max_held: must not be negative, got %d and %d", h.MaxHeldPerSession, h.MaxHeld)
	}
	return nil
}

// request is a request on its way, with what is known of it so far.
type request struct {
	r        *http.Request
	live     *running
	client   configstore.Route
	traits   edge.Traits
	target   edge.Target
	known    edge.Known
	route    *sessions.Route // of an active session
	view     sessions.View   // of any other session
	decision edge.Decision
	lost     bool // its container was not there when it was to be sent
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Router) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	req := request{r: r, live: h.app.state.live()}
	h.resolve(&req)
	req.decision = edge.Decide(req.traits, req.target, req.known)
	if req.decision.Action == edge.Proxy && req.route != nil {
		return h.serveProxied(w, &req, next)
	}
	return h.answer(w, &req, next)
}

// resolve finds out what the decision needs: from memory for hosts, and for sessions
// that are known to this edge.
func (h *Router) resolve(req *request) {
	r := req.r
	req.traits = edge.Classify(r)
	req.traits.Passive = req.traits.Passive || h.agents.Match(r.UserAgent())
	req.known = edge.Known{
		NewSessions: h.NewSessions == newSessionsOpen,
		ThreadLinks: h.ThreadLinks,
		Manage:      h.NewSessions == newSessionsOpen,
		HoldTimeout: time.Duration(h.HoldTimeout),
	}
	if req.live == nil || !req.live.table.Loaded() {
		req.known.Host = edge.HostNoTable
		return
	}
	host, ok := configstore.LookupHost(r.Host)
	if ok {
		req.client, ok = req.live.table.Lookup(host)
	}
	if !ok {
		return
	}
	req.known.ClientID = req.client.ClientID
	req.known.WakeOn = req.client.Settings.WakeOn
	req.known.Host = edge.HostServed
	if req.client.Disabled {
		req.known.Host = edge.HostDisabled
		return
	}
	req.target = edge.Resolve(r, edge.ParsePath(r.URL))
	if req.target.SessionID != "" {
		h.resolveSession(req)
	}
}

// resolveSession finds the session that the request names.
func (h *Router) resolveSession(req *request) {
	id := req.target.SessionID
	if route, ok := req.live.service.Route(id); ok {
		req.route = route
		req.known.Session = edge.Session{
			ID: route.SessionID, ClientID: route.ClientID,
			Status: sessions.StatusActive, Guessable: !sessions.IsUnguessable(id),
		}
		return
	}
	view, err := req.live.service.Lookup(req.r.Context(), id)
	guessable := !sessions.IsUnguessable(id)
	if errors.Is(err, sessions.ErrNotFound) && h.ThreadLinks && guessable {
		view, err = req.live.service.LookupThread(req.r.Context(), req.client.ClientID, id)
	}
	switch {
	case err == nil:
		h.setView(req, view)
		req.known.Session.Guessable = guessable
	case errors.Is(err, sessions.ErrNotFound):
	default:
		req.known.RegistryDown = true
	}
}

// setView puts what is known of a session into the request.
func (h *Router) setView(req *request, view sessions.View) {
	rec := view.Record
	req.view = view
	req.known.Session.ID = rec.SessionID
	req.known.Session.ClientID = rec.ClientID
	req.known.Session.Status = rec.Status
	req.known.Session.BackOff = time.Until(rec.RetryAt())
	if rec.Status == sessions.StatusActive {
		req.route, _ = req.live.service.Route(rec.SessionID)
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Router)(nil)
	_ caddy.Validator             = (*Router)(nil)
	_ caddyhttp.MiddlewareHandler = (*Router)(nil)
	_ caddyevents.Handler         = onStopping(nil)
)
