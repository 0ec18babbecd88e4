package edge

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// Place is what a path leads to.
type Place uint8

// The places of an edit host.
const (
	// PlaceNone: nothing, for anybody: a malformed path, an empty or overlong id.
	PlaceNone Place = iota
	// PlaceForbidden: what only an edge may say to a container. It is answered like
	// PlaceNone and exists apart from it for logs and tests.
	PlaceForbidden
	// PlaceSession: /session/{id}/ and below.
	PlaceSession
	// PlaceSessionRoot: /session/{id} without the slash that relative links need.
	PlaceSessionRoot
	// PlaceOwnAPI: /session/{id}/api/health, /status and /events, which the edge
	// answers for a session that cannot.
	PlaceOwnAPI
	// PlaceNew: /new.
	PlaceNew
	// PlaceEvents: /.webordinary/sessions/{id}/events, the edge's event stream.
	PlaceEvents
	// PlaceWake: /.webordinary/sessions/{id}/wake.
	PlaceWake
	// PlaceSleep: /.webordinary/sessions/{id}/sleep.
	PlaceSleep
	// PlaceOther: any other path. It belongs to the session that Resolve finds.
	PlaceOther
)

// Via is how a session was found for a request.
type Via uint8

// The ways to a session.
const (
	ViaNone Via = iota
	ViaPath
	ViaReferer
	ViaCookie
)

// Target is where a request leads.
type Target struct {
	Place Place
	// SessionID is the session's id, decoded; "" if the request leads to none.
	SessionID string
	// Via is how SessionID was found.
	Via Via
	// Prefix is "/session/{id}" as it stands in the path, escaped; "" where it does not.
	Prefix string
	// Rest is the path below Prefix, or all of it without one, escaped. It begins
	// with a slash, except that for PlaceSessionRoot it is empty.
	Rest string
	// Query is the query, escaped, without its question mark.
	Query string
	// From is the session whose page a form of the edge's own was sent from, by
	// its Referer; "" if none or unknown.
	From string
}

// MaxSessionID is the length, in bytes, of the longest id that is looked up.
const MaxSessionID = 200

const (
	sessionPrefix = "/session/"
	ownPrefix     = "/.webordinary/"
)

// ParsePath says where a path leads, by its escaped form: an encoded slash separates
// nothing. What might reach a private path of a container by any reading of it
// (encoded once or more often, doubled slashes, backslashes) leads nowhere.
func ParsePath(u *url.URL) Target {
	// The opaque form ("GET http:x") would be sent on as it stands, past any check.
	if u.Opaque != "" {
		return Target{}
	}
	p := u.EscapedPath()
	if p == "" {
		p = "/"
	}
	if p[0] != '/' {
		return Target{}
	}
	switch checkPath(p) {
	case pathPrivate:
		return Target{Place: PlaceForbidden}
	case pathMalformed:
		return Target{}
	}
	t := Target{Place: PlaceOther, Rest: p, Query: escapeQuery(u.RawQuery)}
	switch {
	case p == "/new":
		t.Place = PlaceNew
	case p == "/session":
		return Target{}
	case strings.HasPrefix(p, sessionPrefix):
		return parseSession(p, t.Query)
	case p == ownPrefix[:len(ownPrefix)-1], strings.HasPrefix(p, ownPrefix):
		return parseOwn(p, t.Query)
	}
	return t
}

func parseSession(p, query string) Target {
	end := len(p)
	if i := strings.IndexByte(p[len(sessionPrefix):], '/'); i >= 0 {
		end = len(sessionPrefix) + i
	}
	id, ok := decodeID(p[len(sessionPrefix):end])
	if !ok {
		return Target{}
	}
	t := Target{
		Place: PlaceSession, SessionID: id, Via: ViaPath,
		Prefix: p[:end], Rest: p[end:], Query: query,
	}
	switch t.Rest {
	case "":
		t.Place = PlaceSessionRoot
	case pathHealth, pathStatus, pathEvents:
		t.Place = PlaceOwnAPI
	}
	return t
}

// The paths of a container that the edge answers while there is none.
const (
	pathHealth = "/api/health"
	pathStatus = "/api/status"
	pathEvents = "/api/events"
)

// parseOwn reads the edge's own paths; the folder is reserved as a whole.
func parseOwn(p, query string) Target {
	rest, ok := strings.CutPrefix(p, ownPrefix+"sessions/")
	if !ok {
		return Target{}
	}
	segment, verb, ok := strings.Cut(rest, "/")
	if !ok {
		return Target{}
	}
	id, ok := decodeID(segment)
	if !ok {
		return Target{}
	}
	t := Target{SessionID: id, Via: ViaPath, Rest: p, Query: query}
	switch verb {
	case "events":
		t.Place = PlaceEvents
	case "wake":
		t.Place = PlaceWake
	case "sleep":
		t.Place = PlaceSleep
	default:
		return Target{}
	}
	return t
}

// SessionPath is the path of a session, without a slash at its end: "/session/{id}".
func SessionPath(id string) string { return sessionPrefix + url.PathEscape(id) }

// decodeID decodes a path segment as a session id. checkPath has refused control characters.
func decodeID(segment string) (string, bool) {
	id := segment
	if strings.IndexByte(segment, '%') >= 0 {
		var err error
		if id, err = url.PathUnescape(segment); err != nil {
			return "", false
		}
	}
	return id, validID(id)
}

// validID reports whether a text may be looked up as a session id. Ids of the older
// tools hold '#' and whatever users and threads were called, but no separator of paths.
func validID(id string) bool {
	if id == "" || len(id) > MaxSessionID || id == "." || id == ".." || !utf8.ValidString(id) {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c < 0x20 || c == 0x7f || c == '/' || c == '\\' {
			return false
		}
	}
	return true
}

// escapeQuery escapes what must not stand in a Location header and what would end the
// query there, as the request line may hold a bare '#'. A clean query is returned as it is.
func escapeQuery(q string) string {
	for i := range len(q) {
		if !queryByte(q[i]) {
			return escapeQueryFrom(q, i)
		}
	}
	return q
}

func escapeQueryFrom(q string, i int) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(q) + 8)
	b.WriteString(q[:i])
	for ; i < len(q); i++ {
		if c := q[i]; queryByte(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func queryByte(c byte) bool {
	return c > 0x20 && c < 0x7f && c != '#' && c != '"' && c != '<' && c != '>' && c != '\\'
}
