package edge

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CookieSession is the cookie that remembers the session which a browser last saw a
// document of, for requests whose path and Referer name none.
const CookieSession = "webordinary_session"

// cookiePrefix begins the names of all cookies of ours.
const cookiePrefix = "webordinary_"

// SessionCookie makes the cookie that remembers a session. It ends with the browser, is
// sent to this host only, and, where secure, only over TLS.
func SessionCookie(id string, secure bool) *http.Cookie {
	return &http.Cookie{
		Name: CookieSession, Value: url.PathEscape(id), Path: "/",
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// SessionFromCookie returns the session that the browser last saw a document of.
func SessionFromCookie(r *http.Request) (id string, ok bool) {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name != CookieSession {
				continue
			}
			// A path segment is what may hold an id, so that nothing gets in by
			// the cookie that could not by a path.
			if checkPath(value) != pathClean {
				continue
			}
			if id, ok = decodeID(value); ok {
				return id, true
			}
		}
	}
	return "", false
}

// StripCookies removes the cookies of ours from a request's header and leaves all
// others byte for byte. A header without any is not touched.
func StripCookies(h http.Header) {
	lines := h["Cookie"]
	if !slices.ContainsFunc(lines, hasOwnCookie) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if line = stripOwn(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		h.Del("Cookie")
		return
	}
	h["Cookie"] = kept
}

func hasOwnCookie(line string) bool {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		if isOwn(pair) {
			return true
		}
	}
	return false
}

func isOwn(pair string) bool {
	return strings.HasPrefix(strings.TrimLeft(pair, " \t"), cookiePrefix)
}

func stripOwn(line string) string {
	if !hasOwnCookie(line) {
		return line
	}
	var b strings.Builder
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		if isOwn(pair) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(';')
		} else {
			pair = strings.TrimLeft(pair, " \t")
		}
		b.WriteString(pair)
	}
	return b.String()
}
