package site

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// holdFor is how long a request waits for a program that is being started again.
	holdFor = 15 * time.Second
	// maxHeld is how many requests may wait at once; more are answered at once.
	maxHeld = 128
	// dialAgain is how soon a program that just ended is looked for again.
	dialAgain = 50 * time.Millisecond
	// refreshAfter is how soon a browser asks again for a page, in seconds.
	refreshAfter = "2"
)

// Target is where a program listens, which may change.
type Target interface {
	// Wait returns the address, as soon as there is one, or an error at the end of ctx.
	Wait(ctx context.Context) (addr string, err error)
}

// ProgramConfig says how a client's own server is proxied.
type ProgramConfig struct {
	Target Target
	// Prefix is the session's path: see Config.
	Prefix string
	// KnowsPrefix: the program serves below the prefix itself (a development server).
	// Default: the prefix is taken off what it gets and put before what it links. In
	// both cases the Host that it sees is the address at which it listens, so that a
	// site which fetches from itself by its Host reaches itself.
	KnowsPrefix bool
	// Serves returns the path below which a program that KnowsPrefix serves after all: a
	// site's own setting may win over what it was told. Nil: the prefix.
	Serves func() string
	// Hosts are those that a visitor may ask a program for that KnowsPrefix, besides
	// addresses, "localhost" and what is below it: what a development server tells
	// must not be had through a name that somebody else points here.
	Hosts []string
	// AssetDirs: see Config.
	AssetDirs []string
	// Base is the path below which the program serves and links, as Astro's option base
	// says. It is put before what is asked for without it, as the session's home page is.
	// Default: the root.
	Base string
}

// Program proxies to a client's own server: bodies, streams, WebSockets and 1xx answers
// as they come. While the server is being started again, requests wait for a time.
type Program struct {
	prefix  string
	base    string // decoded, no slash at its end
	knows   bool
	serves  func() string // the path below which it serves, where it knows the prefix
	hosts   []string
	rewrite *rewriter // of addresses in headers
	pages   *rewriter // of documents
	proxy   *httputil.ReverseProxy
	http    *http.Transport
	target  Target
	held    chan struct{}
	live    []byte // set by Site
}

// NewProgram returns the proxy of a program. Close it when it is not used any more.
func NewProgram(c ProgramConfig) *Program {
	p := &Program{
		prefix: decodePrefix(c.Prefix),
		base:   decodePrefix(c.Base),
		knows:  c.KnowsPrefix,
		serves: c.Serves,
		hosts:  c.Hosts,
		target: c.Target,
		held:   make(chan struct{}, maxHeld),
		http: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: upstreamDial}).DialContext,
			ResponseHeaderTimeout: upstreamHeaders,
			IdleConnTimeout:       upstreamIdle,
			MaxIdleConnsPerHost:   32,
			DisableCompression:    true,
		},
	}
	if p.serves == nil {
		p.serves = func() string { return p.prefix }
	}
	p.rewrite = newRewriter(p.prefix, assetDirs(c.AssetDirs))
	if p.base != "" {
		p.rewrite = p.rewrite.below(escapePath(p.base))
	}
	p.pages = p.rewrite
	if p.knows {
		p.pages = newRewriter("", nil) // it puts the prefix before its links itself
	}
	p.proxy = &httputil.ReverseProxy{
		Rewrite:        p.outgoing,
		ModifyResponse: p.incoming,
		Transport:      homePage{p},
		FlushInterval:  -1,
		BufferPool:     &buffers{},
		// It tells of visitors who left, and of what the answer says.
		ErrorLog:     log.New(io.Discard, "", 0),
		ErrorHandler: notAnswered,
	}
	return p
}

// Close drops the idle connections.
func (p *Program) Close() { p.http.CloseIdleConnections() }

// ServeHTTP proxies a request for a path with the prefix or without it.
func (p *Program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.knows && !p.isOwn(r.Host) {
		refuseHost(w, r)
		return
	}
	p.proxy.ServeHTTP(w, r)
}

// outgoing makes the request that the program gets.
func (p *Program) outgoing(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "program" // RoundTrip knows the address
	// ReverseProxy drops what it cannot parse; the edge in front has vouched for it.
	out.URL.RawQuery = pr.In.URL.RawQuery
	if values, ok := pr.In.Header["X-Forwarded-For"]; ok {
		out.Header["X-Forwarded-For"] = values
	}
	trimmed, had := TrimURL(pr.In.URL, p.prefix)
	if p.knows {
		p.belowBase(out.URL, trimmed, had)
	} else {
		out.URL.Path, out.URL.RawPath = trimmed.Path, trimmed.RawPath
		if _, below := TrimPrefix(trimmed.Path, p.base); p.base != "" && !below {
			out.URL.Path, out.URL.RawPath = p.base+trimmed.Path, "" // the standard escapes will do
		}
	}
	// What it believes of its scheme and host is what it can reach itself by.
	for name := range out.Header {
		if strings.HasPrefix(name, "X-Forwarded-") && name != "X-Forwarded-For" && name != "X-Forwarded-Prefix" {
			delete(out.Header, name)
		}
	}
	// What is coded cannot be rewritten; the edge may encode it.
	out.Header.Del("Accept-Encoding")
}

// RoundTrip sends a request to where the program listens, and waits for one that is being
// started again. What asks for nothing but an answer is sent once more where its connection
// is reset: one that ends takes connections to its last moment, and drops them.
func (p *Program) RoundTrip(r *http.Request) (*http.Response, error) {
	addr, err := p.wait(r.Context())
	if err != nil {
		return nil, &downError{err}
	}
	mayRepeat := r.Body == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	for end := time.Now().Add(holdFor); ; {
		resp, err := p.http.RoundTrip(p.addressed(r, addr))
		var dial *net.OpError
		switch {
		case err == nil, time.Now().After(end):
			return resp, err
		case r.Body == nil && errors.As(err, &dial) && dial.Op == "dial":
		case mayRepeat && errors.Is(err, syscall.ECONNRESET):
			mayRepeat = false
		default:
			return nil, err
		}
		// It ended a moment ago, which its target is about to learn.
		pause := time.NewTimer(dialAgain)
		select {
		case <-pause.C:
		case <-r.Context().Done():
			pause.Stop()
			return nil, context.Cause(r.Context())
		}
		if addr, err = p.wait(r.Context()); err != nil {
			return nil, &downError{err}
		}
	}
}

// wait returns the program's address, at once where it is up.
func (p *Program) wait(ctx context.Context) (string, error) {
	select {
	case p.held <- struct{}{}:
		defer func() { <-p.held }()
	default:
		return "", errHeld
	}
	ctx, cancel := context.WithTimeout(ctx, holdFor)
	defer cancel()
	return p.target.Wait(ctx)
}

// downError: the program does not listen.
type downError struct{ error }

func (e *downError) Unwrap() error { return e.error }

// errHeld: too many wait already.
var errHeld = errors.New("too many requests wait for the site's server")

// addressed is a request for an address.
func (p *Program) addressed(r *http.Request, addr string) *http.Request {
	out := r.WithContext(r.Context())
	u := *r.URL
	u.Host = addr
	out.URL = &u
	out.Header = r.Header.Clone()
	// A server that compares where a form or a socket comes from with its own host
	// sees the same relation as the visitor's browser.
	for _, name := range []string{"Origin", "Referer"} {
		if from, err := url.Parse(r.Header.Get(name)); err == nil && from.Host != "" && strings.EqualFold(from.Host, r.Host) {
			from.Scheme, from.Host = "http", addr
			if !p.knows {
				from, _ = TrimURL(from, p.prefix)
			}
			out.Header.Set(name, from.String())
		}
	}
	out.Host = addr
	return out
}

// notAnswered tells a visitor that the program gave no answer.
func notAnswered(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		return // the visitor left
	}
	h := w.Header()
	h.Set("Retry-After", refreshAfter)
	var dial *net.OpError
	isDown := errors.As(err, new(*downError)) || errors.As(err, &dial) && dial.Op == "dial"
	if r.Method == http.MethodGet && wantsDocument(r) {
		h.Set("Refresh", refreshAfter)
	}
	if isDown {
		writeText(w, r, http.StatusServiceUnavailable, "The site's server is being started again.")
		return
	}
	writeText(w, r, http.StatusBadGateway, "The site's server did not answer.")
}

// incoming makes the answer that the visitor gets.
func (p *Program) incoming(resp *http.Response) error {
	// What the edge believes of this container must not come from the client's code.
	for name := range resp.Header {
		if strings.HasPrefix(name, bootapi.HeaderPrefix) {
			delete(resp.Header, name)
		}
	}
	p.ownHeaders(resp)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	if p.knows {
		if err := p.ownSockets(resp); err != nil {
			return err
		}
	}
	if !isHTML(resp.Header) {
		return nil
	}
	// Its length is another now, and its bytes are not those that the tag names.
	resp.Header.Del("Content-Length")
	resp.ContentLength = -1
	if tag := resp.Header.Get("Etag"); strings.HasPrefix(tag, `"`) {
		resp.Header.Set("Etag", "W/"+tag)
	}
	if resp.Request.Method == http.MethodHead || resp.Body == nil || resp.Header.Get("Content-Range") != "" {
		return nil
	}
	resp.Body = p.pages.stream(resp.Body, p.live, ownOrigins(resp.Request.URL.Host), resp.Header.Get("Content-Security-Policy") != "")
	return nil
}

func isHTML(h http.Header) bool {
	if h.Get("Content-Encoding") != "" {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/html")
}

// ownHeaders puts the prefix before the program's own addresses in headers.
func (p *Program) ownHeaders(resp *http.Response) {
	for _, name := range []string{"Location", "Content-Location"} {
		if to := resp.Header.Get(name); to != "" {
			resp.Header.Set(name, p.visible(to, resp.Request.URL.Host))
		}
	}
	for i, link := range resp.Header["Link"] {
		if to, changed := p.rewrite.references([]byte(link), startsInLink); changed {
			resp.Header["Link"][i] = string(to)
		}
	}
	// A cookie of a path below the root is one of a path below the prefix. One of the
	// root stays: a form that is sent to /x is proxied as it is, and needs it.
	for i, cookie := range resp.Header["Set-Cookie"] {
		resp.Header["Set-Cookie"][i] = p.cookie(cookie)
	}
}

// visible is the address by which a visitor reaches one of the program's own.
func (p *Program) visible(to, addr string) string {
	for _, origin := range ownOrigins(addr) {
		rest, ok := strings.CutPrefix(to, origin)
		if ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
			if !strings.HasPrefix(rest, "/") {
				rest = "/" + rest
			}
			to = rest
			break
		}
	}
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
		return to
	}
	prefix := string(p.rewrite.prefix)
	if rest, ok := strings.CutPrefix(to, prefix); ok && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
		return to
	}
	return prefix + to
}

// ownOrigins are those that the program may take for its own. Astro's Node adapter calls
// a host that the site's configuration does not allow "localhost".
func ownOrigins(addr string) []string {
	_, port, _ := net.SplitHostPort(addr)
	return []string{"http://" + addr, "http://localhost:" + port, "http://localhost", "https://localhost"}
}

func (p *Program) cookie(cookie string) string {
	parts := strings.Split(cookie, ";")
	for i, part := range parts[1:] {
		name, path, _ := strings.Cut(part, "=")
		path = strings.TrimSpace(path)
		if strings.EqualFold(strings.TrimSpace(name), "path") && len(path) > 1 && path[0] == '/' {
			parts[i+1] = " Path=" + p.visible(path, "")
		}
	}
	return strings.Join(parts, ";")
}

// startsInLink holds at the beginning of a link's target.
func startsInLink(before []byte) bool { return endsWithAny(before, "<") }

// Interface guards
var (
	_ http.Handler      = (*Program)(nil)
	_ http.RoundTripper = (*Program)(nil)
)
