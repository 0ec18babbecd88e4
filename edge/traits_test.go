package edge

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/session/x/", nil)
	r.Host = "edit.amelia.localhost:8080"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestClassifyKind(t *testing.T) {
	for _, c := range []struct {
		name string
		req  *http.Request
		want Kind
	}{
		{"navigation", request("GET", "Sec-Fetch-Mode", "navigate", "Accept", "*/*"), Document},
		{"navigation of a frame", request("GET", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), Document},
		{"script that accepts html", request("GET", "Sec-Fetch-Mode", "cors", "Accept", "text/html"), Fetch},
		{"metadata without a mode", request("GET", "Sec-Fetch-Dest", "image", "Accept", "text/html"), Fetch},
		{"metadata with the site only", request("GET", "Sec-Fetch-Site", "same-origin", "Accept", "text/html"), Fetch},
		{"browser on plain http", request("GET", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8"), Document},
		{"html in capitals, second line", request("GET", "Accept", "image/png", "Accept", "Text/HTML"), Document},
		{"anything", request("GET", "Accept", "*/*"), Fetch},
		{"nothing", request("GET"), Fetch},
		{"an image", request("GET", "Accept", "image/avif,image/webp"), Fetch},
		{"HEAD that navigates", request("HEAD", "Sec-Fetch-Mode", "navigate"), Fetch},
		{"a part of a page", request("GET", "Accept", "text/html", "Range", "bytes=0-9"), Document},
		{"form", request("POST", "Sec-Fetch-Mode", "navigate"), Write},
		{"OPTIONS", request("OPTIONS"), Write},
		{"DELETE", request("DELETE"), Write},
		{"method of its own", request("PURGE"), Write},
		{"GET that waits", request("GET", "Prefer", "wait=10"), Write},
		{"HEAD that waits", request("HEAD", "Prefer", "wait=0"), Write},
		{"navigation that waits", request("GET", "Prefer", "wait=10", "Sec-Fetch-Mode", "navigate"), Write},
		{"GET with another preference", request("GET", "Prefer", "respond-async"), Fetch},
		{"socket", request("GET", "Connection", "Upgrade", "Upgrade", "websocket"), Socket},
		{"socket, spelled otherwise", request("GET", "Connection", "keep-alive, upgrade", "Upgrade", "WebSocket"), Socket},
		{"socket that waits", request("GET", "Connection", "Upgrade", "Upgrade", "websocket", "Prefer", "wait=3"), Socket},
		{"another protocol", request("GET", "Connection", "Upgrade", "Upgrade", "h2c"), Fetch},
		{"upgrade without connection", request("GET", "Upgrade", "websocket"), Fetch},
		{"POST with an upgrade", request("POST", "Connection", "Upgrade", "Upgrade", "websocket"), Write},
		{"CONNECT", request("CONNECT"), Write},
	} {
		assert.Equal(t, c.want, Classify(c.req).Kind, c.name)
	}

	h2 := request("CONNECT")
	h2.ProtoMajor = 2
	h2.Header[":protocol"] = []string{"websocket"}
	assert.Equal(t, Socket, Classify(h2).Kind)
	h2.Header[":protocol"] = []string{"connect-udp"}
	assert.Equal(t, Write, Classify(h2).Kind)
	h3 := request("CONNECT")
	h3.ProtoMajor, h3.Proto = 3, "websocket"
	assert.Equal(t, Socket, Classify(h3).Kind)
}

func TestClassifyWait(t *testing.T) {
	for _, c := range []struct {
		prefer string
		waits  bool
		wait   time.Duration
	}{
		{"wait=10", true, 10 * time.Second},
		{"Wait = 10", true, 10 * time.Second},
		{`respond-async, wait="5"; x=y, wait=9`, true, 5 * time.Second},
		{"wait=0", true, 0},
		{"wait=601", true, MaxWait},
		{"wait=2147483647", true, MaxWait},
		{"wait=99999999999999999999", false, 0},
		{"wait=-1", false, 0},
		{"wait=1.5", false, 0},
		{"wait", false, 0},
		{"waits=3", false, 0},
		{"", false, 0},
		{",,,", false, 0},
	} {
		got := Classify(request("GET", "Prefer", c.prefer))
		assert.Equal(t, c.waits, got.Waits, c.prefer)
		assert.Equal(t, c.wait, got.Wait, c.prefer)
	}
	got := Classify(request("GET", "Prefer", "handling=strict", "Prefer", "wait=4"))
	assert.Equal(t, 4*time.Second, got.Wait, "a second line counts too")
}

func TestClassifyPassive(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"Sec-Purpose", "prefetch"},
		{"Sec-Purpose", "prefetch;prerender"},
		{"Sec-Purpose", "Prefetch;anonymous-client-ip"},
		{"Purpose", "prefetch"},
		{"X-Purpose", "preview"},
		{"X-Moz", "prefetch"},
	} {
		assert.True(t, Classify(request("GET", c.name, c.value)).Passive, "%s: %s", c.name, c.value)
	}
	assert.False(t, Classify(request("GET", "Purpose", "navigation")).Passive)
	assert.False(t, Classify(request("GET")).Passive)
}

func TestAgents(t *testing.T) {
	agents := Agents{"uptimerobot", "", "bot/"}
	assert.True(t, agents.Match("Mozilla/5.0+(compatible; UptimeRobot/2.0)"))
	assert.True(t, agents.Match("SomeBot/1"))
	assert.False(t, agents.Match("Mozilla/5.0 (X11; Linux x86_64) Firefox/140"))
	assert.False(t, agents.Match(""))
	assert.False(t, Agents(nil).Match("UptimeRobot"))
}

func TestClassifySameOrigin(t *testing.T) {
	const own = "edit.amelia.localhost:8080"
	for _, c := range []struct {
		name    string
		headers []string
		tls     bool
		want    bool
	}{
		{"same origin", []string{"Sec-Fetch-Site", "same-origin"}, false, true},
		{"typed by a person", []string{"Sec-Fetch-Site", "none"}, false, true},
		{"same site", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://" + own}, false, false},
		{"cross site", []string{"Sec-Fetch-Site", "cross-site"}, false, false},
		{"metadata counts before Origin", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://evil.example"}, false, true},
		{"Origin", []string{"Origin", "http://" + own}, false, true},
		{"Origin in capitals", []string{"Origin", "http://EDIT.Amelia.localhost:8080"}, false, true},
		{"TLS ended before us", []string{"Origin", "https://" + own}, false, true},
		{"TLS", []string{"Origin", "https://" + own}, true, true},
		{"plain page, TLS request", []string{"Origin", "http://" + own}, true, false},
		{"another port", []string{"Origin", "http://edit.amelia.localhost:9999"}, false, false},
		{"another client", []string{"Origin", "http://edit.bramble.localhost:8080"}, false, false},
		{"opaque origin", []string{"Origin", "null"}, false, false},
		{"empty origin", []string{"Origin", ""}, false, false},
		{"another scheme", []string{"Origin", "ftp://" + own}, false, false},
		{"two origins", []string{"Origin", "http://" + own, "Origin", "http://evil.example"}, false, false},
		{"no browser", nil, false, true},
	} {
		r := request("POST", c.headers...)
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		assert.Equal(t, c.want, Classify(r).SameOrigin, c.name)
	}
}
