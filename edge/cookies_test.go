package edge

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSessionCookieRoundTrip(t *testing.T) {
	for _, id := range []string{"abc", "c#u#t", "a b;c=\"d\",e", "ä@example", "100%", "a%20b"} {
		c := SessionCookie(id, true)
		assert.True(t, c.HttpOnly && c.Secure && c.SameSite == http.SameSiteLaxMode && c.Path == "/" && c.Domain == "")
		r := request("GET", "Cookie", "theirs=1; "+c.Name+"="+c.Value+"; more=2")
		got, ok := SessionFromCookie(r)
		assert.True(t, ok, id)
		assert.Equal(t, id, got)
	}
	assert.False(t, SessionCookie("abc", false).Secure)
}

func TestSessionFromCookie(t *testing.T) {
	for line, want := range map[string]string{
		"webordinary_session=abc":                           "abc",
		"a=b;webordinary_session=abc;c=d":                   "abc",
		"webordinary_session=a%2fb; webordinary_session=ok": "ok",
		"webordinary_session=":                              "",
		"webordinary_session":                               "",
		"webordinary_session=..":                            "",
		"webordinary_session=.boot":                         "",
		"webordinary_session=a\x01":                         "",
		"webordinary_session=%zz":                           "",
		"webordinary_session=a%25252525252525aa":            "",
		"xwebordinary_session=abc":                          "",
		"webordinary_session=" + strings.Repeat("a", 201):   "",
		"": "",
	} {
		got, ok := SessionFromCookie(request("GET", "Cookie", line))
		assert.Equal(t, want, got, line)
		assert.Equal(t, want != "", ok, line)
	}
	got, _ := SessionFromCookie(request("GET", "Cookie", "a=b", "Cookie", "webordinary_session=abc"))
	assert.Equal(t, "abc", got, "HTTP/2 may split the header")
}

func TestStripCookies(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"a=b"}, []string{"a=b"}},
		{[]string{"webordinary_session=x"}, nil},
		{[]string{"webordinary_session=x; a=b"}, []string{"a=b"}},
		{[]string{"a=b; webordinary_session=x"}, []string{"a=b"}},
		{[]string{"a=b; webordinary_grant=x;  c = d ;e"}, []string{"a=b;  c = d ;e"}},
		{[]string{"a=webordinary_session=x; xwebordinary_y=z"}, []string{"a=webordinary_session=x; xwebordinary_y=z"}},
		{[]string{"a=b", "webordinary_x=y", "c=d;webordinary_z=1"}, []string{"a=b", "c=d"}},
		{[]string{";; ,odd;"}, []string{";; ,odd;"}},
	} {
		h := http.Header{"X": {"y"}}
		if c.in != nil {
			h["Cookie"] = append([]string(nil), c.in...)
		}
		StripCookies(h)
		assert.Equal(t, c.want, h["Cookie"], c.in)
		assert.Equal(t, "y", h.Get("X"))
	}
}

func TestStripCookiesLeavesSharedValuesAlone(t *testing.T) {
	lines := []string{"webordinary_session=x; a=b"}
	h := http.Header{"Cookie": lines}
	StripCookies(h)
	assert.Equal(t, "webordinary_session=x; a=b", lines[0], "a shallow copy of a header shares its values")
}
