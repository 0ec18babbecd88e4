package edge

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// target parses a request target as net/http does.
func target(t *testing.T, requestTarget string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(requestTarget)
	require.NoError(t, err)
	return u
}

func TestParsePath(t *testing.T) {
	session := func(place Place, id, prefix, rest string) Target {
		return Target{Place: place, SessionID: id, Via: ViaPath, Prefix: prefix, Rest: rest}
	}
	own := func(place Place, id, path string) Target {
		return Target{Place: place, SessionID: id, Via: ViaPath, Rest: path}
	}
	other := func(rest string) Target { return Target{Place: PlaceOther, Rest: rest} }
	query := func(t Target, q string) Target { t.Query = q; return t }
	long := strings.Repeat("a", MaxSessionID)

	for in, want := range map[string]Target{
		"/session/abc":                session(PlaceSessionRoot, "abc", "/session/abc", ""),
		"/session/abc?x=1":            query(session(PlaceSessionRoot, "abc", "/session/abc", ""), "x=1"),
		"/session/abc/":               session(PlaceSession, "abc", "/session/abc", "/"),
		"/session/abc/a%20b/?q=%2f":   query(session(PlaceSession, "abc", "/session/abc", "/a%20b/"), "q=%2f"),
		"/session/abc//x":             session(PlaceSession, "abc", "/session/abc", "//x"),
		"/session/abc/a%2Fb":          session(PlaceSession, "abc", "/session/abc", "/a%2Fb"),
		"/session/c%23u%23t/x":        session(PlaceSession, "c#u#t", "/session/c%23u%23t", "/x"),
		"/session/c#u#t/x":            session(PlaceSession, "c#u#t", "/session/c%23u%23t", "/x"),
		"/session/a%40b.example/x":    session(PlaceSession, "a@b.example", "/session/a%40b.example", "/x"),
		"/session/%C3%A4/":            session(PlaceSession, "ä", "/session/%C3%A4", "/"),
		"/session/" + long + "/":      session(PlaceSession, long, "/session/"+long, "/"),
		"/session/" + long + "a/":     {},
		"/session/abc/api/health":     session(PlaceOwnAPI, "abc", "/session/abc", "/api/health"),
		"/session/abc/api/status?x":   query(session(PlaceOwnAPI, "abc", "/session/abc", "/api/status"), "x"),
		"/session/abc/api/events":     session(PlaceOwnAPI, "abc", "/session/abc", "/api/events"),
		"/session/abc/api/health/":    session(PlaceSession, "abc", "/session/abc", "/api/health/"),
		"/session/abc/api/rebuild":    session(PlaceSession, "abc", "/session/abc", "/api/rebuild"),
		"/session":                    {},
		"/session/":                   {},
		"/session//x":                 {},
		"/session/a%2Fb/":             {},
		"/session/a%5Cb/":             {},
		"/session/%00/":               {},
		"/session/a%0D%0Ab/":          {},
		"/session/%FF/":               {},
		"/session/abc/%0d%0aX-Evil:1": {},
		"/session/../x":               {},
		"/session/%2e%2e/x":           {},
		"/session/abc/../def/":        {},
		"/session/abc/.%2E/def/":      {},
		"/session/abc/%252e%252e/def": {},
		"/session/abc/..%5cdef":       {},
		"/session/abc/.well-known/x":  session(PlaceSession, "abc", "/session/abc", "/.well-known/x"),
		"/session/abc/...":            session(PlaceSession, "abc", "/session/abc", "/..."),
		"/sessions/abc":               other("/sessions/abc"),
		"/%73ession/abc/":             other("/%73ession/abc/"),
		"/new":                        {Place: PlaceNew, Rest: "/new"},
		"/new?x":                      {Place: PlaceNew, Rest: "/new", Query: "x"},
		"/new/":                       other("/new/"),
		"/news":                       other("/news"),

		"/.webordinary/sessions/abc/events":      own(PlaceEvents, "abc", "/.webordinary/sessions/abc/events"),
		"/.webordinary/sessions/abc/wake":        own(PlaceWake, "abc", "/.webordinary/sessions/abc/wake"),
		"/.webordinary/sessions/c%23u%23t/sleep": own(PlaceSleep, "c#u#t", "/.webordinary/sessions/c%23u%23t/sleep"),
		"/.webordinary/sessions/abc/":            {},
		"/.webordinary/sessions/abc":             {},
		"/.webordinary/sessions//wake":           {},
		"/.webordinary/sessions/abc/wake/x":      {},
		"/.webordinary/x":                        {},
		"/.webordinary":                          {},

		"/":                       other("/"),
		"/_astro/x.css?v=1":       query(other("/_astro/x.css"), "v=1"),
		"//evil.example/x":        other("//evil.example/x"),
		"/a\\b":                   other("/a%5Cb"),
		"/a?b#c":                  query(other("/a"), "b%23c"),
		"/a?b c\"<>\\é":           query(other("/a"), "b%20c%22%3C%3E%5C%C3%A9"),
		"http://host":             other("/"),
		"http://host/session/a/b": session(PlaceSession, "a", "/session/a", "/b"),
		"*":                       {},
		"http:opaque":             {},
		"http:.boot/claim":        {},
	} {
		assert.Equal(t, want, ParsePath(target(t, in)), in)
	}
}

// Each of these would reach a private path of a container by one reading or another.
func TestParsePathForbidsPrivatePaths(t *testing.T) {
	for _, suffix := range []string{
		"/.boot", "/.boot/", "/.boot/claim", "//.boot/claim", "/./.boot/claim", "/x/../.boot/claim",
		"/%2eboot/claim", "/.%62oot/claim", "/%2E%62%6F%6F%74/claim", "/.boot%2fclaim", "/%2f.boot/claim",
		"/x%2f..%2f.boot/claim", "/%252eboot/claim", "/%25252eboot/claim", "/.BOOT/claim", "/.Boot/claim",
		"/\\.boot\\claim", "/%5c.boot/claim", "/.boot;x=1/claim", "/.boot%3bx/claim", "/x/.boot/claim",
		"/.boot/%0a", "/.boot/../x", "/%252%65boot/claim",
	} {
		for _, prefix := range []string{"", "/session/abc", "/session/c%23u%23t", "/.webordinary", "/session/a/session/b"} {
			got := ParsePath(target(t, prefix+suffix))
			assert.Equal(t, Target{Place: PlaceForbidden}, got, prefix+suffix)
		}
	}
	for _, harmless := range []string{"/session/abc/.bootstrap/x", "/session/abc/boot/x", "/session/abc/x.boot", "/session/abc/100%25"} {
		assert.Equal(t, PlaceSession, ParsePath(target(t, harmless)).Place, harmless)
	}
	assert.Equal(t, PlaceNone, ParsePath(target(t, "/"+strings.Repeat("%25", 3)+"25252525aa")).Place, "layers without end")
}

func TestParsePathSurvivesRewrites(t *testing.T) {
	u := &url.URL{Path: "/session/abc/x", RawPath: "/.boot/claim"}
	assert.Equal(t, "/x", ParsePath(u).Rest, "a raw path that is not the path's is not used, here or on the way to the container")
	assert.Equal(t, Target{}, ParsePath(&url.URL{Path: "session/abc"}))
}

func TestOwnPaths(t *testing.T) {
	for _, id := range []string{"abc", "c#u@example.com#t", "a b", "100%", "ä"} {
		for place, path := range map[Place]string{
			PlaceEvents: EventsPath(id), PlaceWake: WakePath(id), PlaceSleep: SleepPath(id), PlaceSessionRoot: SessionPath(id),
		} {
			got := ParsePath(target(t, path))
			assert.Equal(t, place, got.Place, path)
			assert.Equal(t, id, got.SessionID, path)
		}
	}
}

func TestSessionPath(t *testing.T) {
	assert.Equal(t, "/session/abc", SessionPath("abc"))
	assert.Equal(t, "/session/c%23u%3Fa%2F", SessionPath("c#u?a/"))
}

func TestSessionFromReferer(t *testing.T) {
	for referer, want := range map[string]string{
		"http://edit.amelia.localhost:8080/session/abc/about?x#y":   "abc",
		"http://edit.amelia.localhost:8080/session/abc":             "abc",
		"https://EDIT.amelia.localhost.:8443/session/abc/":          "abc",
		"http://edit.amelia.localhost/session/c%23u%23t/":           "c#u#t",
		"http://edit.amelia.localhost/session/abc/api/health":       "abc",
		"http://edit.amelia.localhost/":                             "",
		"http://edit.amelia.localhost/new":                          "",
		"http://edit.amelia.localhost/.webordinary/sessions/a/wake": "",
		"http://edit.bramble.localhost:8080/session/abc/":           "",
		"http://edit.amelia.localhost.evil.example/session/abc/":    "",
		"http://edit.amelia.localhost@evil.example/session/abc/":    "",
		"ftp://edit.amelia.localhost/session/abc/":                  "",
		"/session/abc/": "",
		"://":           "",
		"":              "",
	} {
		r := request("GET", "Referer", referer)
		id, ok := SessionFromReferer(r, r.Host)
		assert.Equal(t, want, id, referer)
		assert.Equal(t, want != "", ok, referer)
	}
	r := request("GET", "Referer", "http:///session/abc/")
	_, ok := SessionFromReferer(r, "")
	assert.False(t, ok, "no host is not the same host")
	r = request("GET", "Referer", "http://[::1]:8080/session/abc/")
	_, ok = SessionFromReferer(r, "[::1]")
	assert.True(t, ok)
}

func TestResolve(t *testing.T) {
	const host = "http://edit.amelia.localhost:8080"
	resolve := func(path string, headers ...string) Target {
		r := httptest.NewRequest("POST", host+path, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return Resolve(r, ParsePath(r.URL))
	}
	cookie, referer := []string{"Cookie", CookieSession + "=two"}, []string{"Referer", host + "/session/one/"}

	got := resolve("/x.css", append(referer, cookie...)...)
	assert.Equal(t, Target{Place: PlaceOther, SessionID: "one", Via: ViaReferer, Rest: "/x.css"}, got)
	got = resolve("/x.css", cookie...)
	assert.Equal(t, Target{Place: PlaceOther, SessionID: "two", Via: ViaCookie, Rest: "/x.css"}, got)
	assert.Equal(t, Target{Place: PlaceOther, Rest: "/x.css"}, resolve("/x.css"))
	got = resolve("/session/three/x", append(referer, cookie...)...)
	assert.Equal(t, "three", got.SessionID)
	assert.Equal(t, ViaPath, got.Via)
	assert.Equal(t, "one", resolve("/.webordinary/sessions/three/sleep", append(referer, cookie...)...).From)
	assert.Empty(t, resolve("/.webordinary/sessions/three/sleep", cookie...).From)
	assert.Equal(t, Target{Place: PlaceForbidden}, resolve("/.boot/claim", append(referer, cookie...)...))
}
