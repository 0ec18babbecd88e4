package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/sessions"
)

// asBrowser is an ordinary request for a session that is active.
func asBrowser() *http.Request {
	r := httptest.NewRequest("GET", "http://edit.amelia.localhost:8080/session/"+sid+"/_astro/index.css?v=1", nil)
	r.Header = http.Header{
		"Accept":         {"text/css,*/*;q=0.1"},
		"Cookie":         {"theme=dark; consent=yes"},
		"Referer":        {"http://edit.amelia.localhost:8080/session/" + sid + "/"},
		"Sec-Fetch-Dest": {"style"},
		"Sec-Fetch-Mode": {"no-cors"},
		"Sec-Fetch-Site": {"same-origin"},
		"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}
	return r
}

func decideOnce(r *http.Request, agents Agents, k Known) Decision {
	traits := Classify(r)
	traits.Passive = traits.Passive || agents.Match(r.UserAgent())
	d := Decide(traits, Resolve(r, ParsePath(r.URL)), k)
	StripCookies(r.Header)
	return d
}

func TestActiveSessionAllocatesNothing(t *testing.T) {
	r, agents, k := asBrowser(), Agents{"uptimerobot", "pingdom"}, served(sessions.StatusActive)
	assert.Equal(t, Proxy, decideOnce(r, agents, k).Action)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { decideOnce(r, agents, k) }))
}

func BenchmarkDecideActive(b *testing.B) {
	r, agents, k := asBrowser(), Agents{"uptimerobot", "pingdom"}, served(sessions.StatusActive)
	b.ReportAllocs()
	for b.Loop() {
		decideOnce(r, agents, k)
	}
}

// The worst that a path of a common header limit can cost.
func BenchmarkParsePathHostile(b *testing.B) {
	long := "/session/a/"
	for len(long) < 64<<10 {
		long += "%25252e"
	}
	r := httptest.NewRequest("GET", long, nil)
	b.ReportAllocs()
	for b.Loop() {
		ParsePath(r.URL)
	}
}
