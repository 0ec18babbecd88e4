// Package edge decides what becomes of a request. From what the request is (Traits),
// where its path leads (Target) and what the edge knows of the client and the session
// (Known), Decide makes one Decision. Nothing here does I/O, and the ordinary case, a
// request for a session that is active, allocates nothing.
//
// The order of use:
//
//	traits := edge.Classify(r)
//	target := edge.Resolve(r, edge.ParsePath(r.URL))
//	known := … // the client by its host, the session by target.SessionID
//	decision := edge.Decide(traits, target, known)
package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Kind is what a request is to a session: it decides whether the session wakes for it
// and whether it is held until the session can answer.
type Kind uint8

// The kinds of requests.
const (
	// Fetch is a GET or HEAD that is not a Document: a script, an image, a poll.
	Fetch Kind = iota
	// Document is a page that a person asks for.
	Document
	// Write is any method other than GET and HEAD, and any request that says with
	// `Prefer: wait=N` that it would rather wait than be refused.
	Write
	// Socket is a WebSocket handshake, over any version of HTTP.
	Socket
)

// String names the kind for logs and metrics.
func (k Kind) String() string {
	switch k {
	case Fetch:
		return "fetch"
	case Document:
		return "document"
	case Write:
		return "write"
	case Socket:
		return "socket"
	default:
		return "unknown"
	}
}

// MaxWait bounds what `Prefer: wait=N` can ask for: as long as a boot may take.
const MaxWait = 10 * time.Minute

// Traits are what a request says of itself.
type Traits struct {
	Kind   Kind
	Method string
	// Waits: the request carries `Prefer: wait=N`, and Wait is N, at most MaxWait.
	// N may be zero: wake, but answer at once.
	Waits bool
	Wait  time.Duration
	// Passive requests wake nothing and count as nobody's activity: a browser's
	// prefetch, a bot, a monitor. Classify knows prefetches only; the caller adds
	// what its list of user agents says (Agents).
	Passive bool
	// Navigate: the answer will be shown to a person as a page of its own, also
	// where the request is a form's POST.
	Navigate bool
	// SameOrigin is false for what a page of another origin made a browser send.
	SameOrigin bool
}

// safe reports whether the method only reads.
func (t Traits) safe() bool { return t.Method == http.MethodGet || t.Method == http.MethodHead }

// Classify reads a request's traits from its method and headers. It never touches the body.
func Classify(r *http.Request) Traits {
	t := Traits{
		Method:     r.Method,
		Passive:    prefetches(r.Header),
		Navigate:   navigates(r.Header),
		SameOrigin: sameOrigin(r),
	}
	t.Wait, t.Waits = preferWait(r.Header)
	switch {
	case isSocket(r):
		t.Kind = Socket
	case !t.safe() || t.Waits:
		t.Kind = Write
	case t.Navigate && r.Method == http.MethodGet:
		t.Kind = Document
	default:
		t.Kind = Fetch
	}
	return t
}

// navigates trusts Fetch Metadata where a browser sends any of it. Only where there is
// none does Accept decide: browsers on plain http send no metadata, but they name
// text/html; scripts and tools accept anything or say nothing.
func navigates(h http.Header) bool {
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	if h.Get("Sec-Fetch-Dest") != "" || h.Get("Sec-Fetch-Site") != "" {
		return false
	}
	for _, accept := range h["Accept"] {
		if containsFold(accept, "text/html") {
			return true
		}
	}
	return false
}

// prefetches knows the header of the standard and those which browsers sent before it.
func prefetches(h http.Header) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, v := range h[name] {
			if containsFold(v, "prefetch") || containsFold(v, "prerender") || containsFold(v, "preview") {
				return true
			}
		}
	}
	return false
}

// isSocket knows the handshake of HTTP/1.1 and the extended CONNECT of RFC 8441 (HTTP/2,
// where Go keeps the pseudo header among the others) and RFC 9220 (HTTP/3, where it
// stands in Proto).
func isSocket(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet:
		return hasToken(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade")
	case http.MethodConnect:
		return r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" ||
			r.ProtoMajor == 3 && r.Proto == "websocket"
	default:
		return false
	}
}

// preferWait returns the first well-formed wait preference (RFC 7240).
func preferWait(h http.Header) (time.Duration, bool) {
	for _, line := range h["Prefer"] {
		for line != "" {
			var preference string
			preference, line, _ = strings.Cut(line, ",")
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				continue
			}
			return min(time.Duration(seconds)*time.Second, MaxWait), true
		}
	}
	return 0, false
}

// sameOrigin guards what changes something against forged requests. Forging one takes a
// browser, and every browser sends Sec-Fetch-Site, or at least Origin with a
// cross-origin POST. So a request with neither comes from no browser and is let
// through: refusing it would stop nobody but people with command-line tools.
func sameOrigin(r *http.Request) bool {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "same-origin", "none":
		return true
	case "":
	default:
		return false
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	scheme, host, ok := strings.Cut(origins[0], "://")
	if !ok || !strings.EqualFold(host, r.Host) {
		return false
	}
	// Behind something that ends TLS the request looks like plain http, so that
	// there either scheme is its own.
	return scheme == "https" || scheme == "http" && r.TLS == nil
}

// Agents are the user agents that wake nothing: each a part of the User-Agent header in
// lower case, such as "uptimerobot". The zero value matches none.
type Agents []string

// Match reports whether a User-Agent header contains one of the parts, whatever its case.
func (a Agents) Match(userAgent string) bool {
	for _, part := range a {
		if part != "" && containsFold(userAgent, part) {
			return true
		}
	}
	return false
}

// hasToken reports whether a comma-separated header holds a token, whatever its case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for line != "" {
			var item string
			item, line, _ = strings.Cut(line, ",")
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// containsFold is strings.Contains for an ASCII needle in lower case, whatever the case
// of s, without allocating.
func containsFold(s, needle string) bool {
	for i := 0; i+len(needle) <= len(s); i++ {
		if equalFoldASCII(s[i:i+len(needle)], needle) {
			return true
		}
	}
	return false
}

func equalFoldASCII(s, lower string) bool {
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
