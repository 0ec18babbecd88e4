package edge

import (
	"net/http"
	"net/url"
	"strings"
)

// Resolve completes a target by the request's Referer and cookie: for a path without a
// session it finds the session, for a form of the edge's own the page that it stood on.
// Other targets are returned as they are.
func Resolve(r *http.Request, t Target) Target {
	switch t.Place {
	case PlaceOther, PlaceNew:
		if id, ok := SessionFromReferer(r, r.Host); ok {
			t.SessionID, t.Via = id, ViaReferer
		} else if id, ok := SessionFromCookie(r); ok {
			t.SessionID, t.Via = id, ViaCookie
		}
	case PlaceWake, PlaceSleep:
		t.From, _ = SessionFromReferer(r, r.Host)
	}
	return t
}

// SessionFromReferer returns the session whose page, on the same host, made the request.
// Ports don't count, as they don't for cookies; case and a trailing dot don't either.
func SessionFromReferer(r *http.Request, host string) (id string, ok bool) {
	referer := r.Header.Get("Referer")
	if referer == "" {
		return "", false
	}
	u, err := url.Parse(referer)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return "", false
	}
	if h := bareHost(u.Host); h == "" || !strings.EqualFold(h, bareHost(host)) {
		return "", false
	}
	t := ParsePath(u)
	switch t.Place {
	case PlaceSession, PlaceSessionRoot, PlaceOwnAPI:
		return t.SessionID, true
	default:
		return "", false
	}
}

// bareHost takes port and trailing dot off a host.
func bareHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}
