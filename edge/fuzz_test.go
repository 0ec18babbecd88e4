package edge

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// readings returns how the software behind an edge might understand a path: decoded
// never, once or up to five times, with backslashes as slashes, cleaned, in lower case,
// with and without the session's prefix.
func readings(p string) []string {
	var all []string
	for range 6 {
		flat := strings.ToLower(strings.ReplaceAll(p, `\`, "/"))
		for _, form := range []string{flat, path.Clean("/" + flat)} {
			all = append(all, form)
			if rest, ok := strings.CutPrefix(form, "/session/"); ok {
				_, rest, _ = strings.Cut(rest, "/")
				all = append(all, path.Clean("/"+rest))
			}
		}
		decoded, err := url.PathUnescape(p)
		if err != nil || decoded == p {
			break
		}
		p = decoded
	}
	return all
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"/session/abc/x?y=z", "/session/c%23u%23t", "/.boot/claim", "/session/a/%252e%62oot/", "/new",
		"//evil.example", "/session/a/..%5c.boot", "http:x", "/session/%2F/x", "/a?b#c", "/.webordinary/sessions/a/wake",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, requestTarget string) {
		u, err := url.ParseRequestURI(requestTarget)
		if err != nil {
			return
		}
		got := ParsePath(u)
		assert.Equal(t, got, ParsePath(u), "the same twice")

		if got.Place != PlaceNone && got.Place != PlaceForbidden {
			// What a proxy sends is the request URI, not what we parsed.
			sent, _, _ := strings.Cut(u.RequestURI(), "?")
			for _, reading := range readings(sent) {
				require.NotEqual(t, "/.boot", reading)
				require.False(t, strings.HasPrefix(reading, "/.boot/"), "%q may be read as %q", sent, reading)
			}
		}
		if got.SessionID != "" {
			require.LessOrEqual(t, len(got.SessionID), MaxSessionID)
			require.NotContains(t, got.SessionID, "/")
			again := ParsePath(mustParse(t, SessionPath(got.SessionID)+"/"))
			require.Equal(t, got.SessionID, again.SessionID, "the id survives its way through a path")
		}
		if got.Prefix != "" {
			require.Equal(t, u.EscapedPath(), got.Prefix+got.Rest)
		}
	})
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(raw)
	require.NoError(t, err)
	return u
}

func FuzzDecide(f *testing.F) {
	f.Add("GET", "/_astro/x.css?q#f", "http://h/session/a%23b/x", "webordinary_session=b", "text/html", uint64(0))
	f.Add("POST", "/.webordinary/sessions/a/sleep", "http://h/session/b/", "", "", uint64(0xffff))
	f.Add("GET", "//evil.example/x", "", "webordinary_session=b", "", uint64(1))
	statuses := []sessions.Status{
		"", sessions.StatusActive, sessions.StatusInitializing, sessions.StatusInactive, sessions.StatusDraining, sessions.StatusFailed,
	}
	f.Fuzz(func(t *testing.T, method, requestTarget, referer, cookie, accept string, bits uint64) {
		u, err := url.ParseRequestURI(requestTarget)
		if err != nil {
			return
		}
		bit := func(n int) bool { return bits>>n&1 == 1 }
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL, r.Host = method, u, "h"
		r.Header = http.Header{"Referer": {referer}, "Cookie": {cookie}, "Accept": {accept}}
		if bit(0) {
			r.Header["Sec-Fetch-Site"] = []string{"cross-site"}
		}
		if bit(1) {
			r.Header["Upgrade"], r.Header["Connection"] = []string{"websocket"}, []string{"upgrade"}
		}
		traits := Classify(r)
		to := Resolve(r, ParsePath(u))
		k := Known{
			Host: Host(bits >> 8 & 3), ClientID: "amelia", NewSessions: bit(2), ThreadLinks: bit(3),
			Manage: bit(4), RegistryDown: bit(5), AtLimit: bit(6),
			Session: Session{
				ID: to.SessionID, ClientID: "amelia", Guessable: bit(7), BackOff: time.Duration(bits>>16&1) * time.Second,
				Status: statuses[int(bits>>20&7)%len(statuses)],
			},
		}
		if bit(17) {
			k.Session.ClientID = "bramble"
		}
		if bit(18) {
			k.WakeOn = configstore.WakeOnAny
		}
		d := Decide(traits, to, k)

		require.NotEqual(t, "unknown", d.Action.String())
		if d.Location != "" {
			require.True(t, strings.HasPrefix(d.Location, "/session/") || d.Location == "/new", d.Location)
			parsed, err := url.Parse("http://h/base")
			require.NoError(t, err)
			parsed, err = parsed.Parse(d.Location)
			require.NoError(t, err)
			require.Equal(t, "h", parsed.Host, "it stays on the host")
			require.Empty(t, parsed.Fragment)
			for i := range len(d.Location) {
				require.True(t, d.Location[i] > 0x20 && d.Location[i] < 0x7f, "%q", d.Location)
			}
			if to.SessionID != "" && d.Action == Redirect {
				require.Equal(t, to.SessionID, ParsePath(parsed).SessionID)
			}
		}
		if d.Action == Redirect {
			require.NotEmpty(t, d.Location)
		}
		if d.Action == Proxy || d.Action == Hold || d.Action == WaitingPage {
			require.Equal(t, HostServed, k.Host)
			require.Equal(t, k.ClientID, k.Session.ClientID, "never another client's session")
			require.NotEmpty(t, to.SessionID)
			require.NotEqual(t, PlaceForbidden, to.Place)
		}
		if d.Action == Proxy {
			require.Equal(t, sessions.StatusActive, k.Session.Status)
		}
		if d.Wake {
			require.False(t, k.RegistryDown)
			require.False(t, k.AtLimit && k.Session.Status != sessions.StatusDraining)
			require.True(t, d.Action == CreateSession || d.Action == WakeNow || d.Action == Hold || d.Action == WaitingPage)
		}
		if d.Action == CreateSession || d.Action == WakeNow || d.Action == SleepNow {
			require.True(t, traits.SameOrigin)
			require.Equal(t, http.MethodPost, method)
		}
		require.Equal(t, d.Action == Proxy || d.Action == Hold, d.Status == 0)
	})
}
