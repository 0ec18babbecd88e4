package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// phaseOf asks the session's own API how far it is, which never wakes it.
func phaseOf(e *harness.Edge, session *harness.Session) (phase string, code int) {
	a, err := e.Try(session.Fetch("/api/health"))
	if err != nil {
		return "", 0
	}
	var status struct {
		Phase string `json:"phase"`
	}
	_ = json.Unmarshal([]byte(a.Body), &status) // "" if it is something else
	return status.Phase, a.Status
}

func awaitPhase(t *testing.T, e *harness.Edge, session *harness.Session, want string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the session is "+want, func() bool {
		phase, _ := phaseOf(e, session)
		return phase == want
	})
}

// expectUnavailable expects what is refused for now to say when to come again.
func expectUnavailable(t *testing.T, e *harness.Edge, q harness.Request, what string) {
	t.Helper()
	a := e.Do(q)
	assert.Equal(t, http.StatusServiceUnavailable, a.Status, what)
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	assert.NoError(t, err, what)
	assert.Positive(t, seconds, what)
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"), what)
}

func expectWaitingPage(t *testing.T, a harness.Answer) {
	t.Helper()
	assert.Equal(t, http.StatusAccepted, a.Status)
	assert.Contains(t, a.Body, "data-phase=")
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	assert.Less(t, len(a.Body), 12<<10)
}

func TestActive(t *testing.T) {
	parallel(t)
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()

	a := e.Do(session.Document("/"))
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Contains(t, a.Header.Get("Set-Cookie"), "webordinary_session=")
	assert.Contains(t, a.Header.Get("Set-Cookie"), "HttpOnly")
	a = e.Do(session.Post("/api/echo", "a body"))
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Equal(t, "a body", a.Body)
	a = e.Do(session.Fetch("/_astro/site.abcdefgh.css"))
	assert.Equal(t, http.StatusOK, a.Status)
	a = e.Do(session.Fetch("/nowhere"))
	assert.Equal(t, http.StatusNotFound, a.Status)
	assert.Contains(t, a.Body, "Not here", "the site's own 404 page")
	session.OpenSocket("/api/echo").Echoes("hello")
	_, code := phaseOf(e, session)
	assert.Equal(t, http.StatusOK, code, "health")

	for name := range e.Do(session.Document("/")).Header {
		assert.NotContains(t, name, "X-Webordinary", "a header between edge and container")
	}
	for _, path := range []string{"/.boot/proof", "/.boot/claim", "/.boot/quiesce", "/%2eboot/quiesce", "/x/../.boot/quiesce", "//.boot/quiesce"} {
		a := e.Do(harness.Request{
			Method: http.MethodPost, Host: site.Host, Path: session.Path(path), Body: `{"idleMillis":0}`,
			Header: harness.Header("Authorization", "Bearer x", "X-Webordinary-Token", "x"),
		})
		assert.Equal(t, http.StatusNotFound, a.Status, path)
	}
}

func TestInitializing(t *testing.T) {
	parallel(t)
	gate := filepath.Join(t.TempDir(), "gate")
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{Build: fmt.Sprintf("awaitFile(%q);", gate)})
	t.Cleanup(func() { _ = os.WriteFile(gate, nil, 0o600) })
	e.Start()
	session := e.CreateSession(site)
	awaitPhase(t, e, session, "building")

	expectWaitingPage(t, e.Do(session.Document("/")))
	for name, q := range map[string]harness.Request{
		"POST":   session.Post("/api/echo", "x", "Prefer", "wait=1"),
		"fetch":  session.Fetch("/about/", "Prefer", "wait=1"),
		"socket": session.Upgrade("/api/echo", "Prefer", "wait=1"),
	} {
		start := time.Now()
		expectUnavailable(t, e, q, name)
		assert.GreaterOrEqual(t, time.Since(start), time.Second, "%s: was not held", name)
		assert.Less(t, time.Since(start), 30*time.Second, "%s: was held for as long as any other", name)
	}
	_, code := phaseOf(e, session)
	assert.Equal(t, http.StatusServiceUnavailable, code, "health")

	// What is held reaches the site once it is there.
	held := map[string]harness.Request{
		"POST":   session.Post("/api/echo", "held body"),
		"fetch":  session.Fetch("/_astro/site.abcdefgh.css"),
		"socket": session.Upgrade("/api/echo"),
	}
	type answered struct {
		name string
		harness.Answer
	}
	answers := make(chan answered, len(held))
	for name, q := range held {
		go func() {
			a, err := e.Try(q)
			assert.NoError(t, err, name)
			answers <- answered{name, a}
		}()
	}
	select {
	case a := <-answers:
		assert.Failf(t, "was not held", "%s: %d", a.name, a.Status)
	case <-time.After(time.Second):
	}
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	for range held {
		a := <-answers
		switch a.name {
		case "POST":
			assert.Equal(t, http.StatusOK, a.Status, a.name)
			assert.Equal(t, "held body", a.Body)
		case "fetch":
			assert.Equal(t, http.StatusOK, a.Status, a.name)
		case "socket":
			assert.Equal(t, http.StatusSwitchingProtocols, a.Status, a.name)
		}
	}
}

func TestInactive(t *testing.T) {
	parallel(t)
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{})
	eager := e.NewSite("bramble", harness.SiteOptions{Client: func(c map[string]any) {
		c["settings"].(map[string]any)["wakeOn"] = "any"
	}})
	// No edge runs yet, so they stay asleep.
	document, post, prefer, quiet, woken := e.CreateSession(site), e.CreateSession(site), e.CreateSession(site), e.CreateSession(site), e.CreateSession(eager)
	e.Start()

	expectUnavailable(t, e, quiet.Fetch("/about/"), "fetch")
	expectUnavailable(t, e, quiet.Upgrade("/api/echo"), "socket")
	expectUnavailable(t, e, quiet.Document("/", "Sec-Purpose", "prefetch"), "prefetch")
	_, code := phaseOf(e, quiet)
	assert.Equal(t, http.StatusServiceUnavailable, code, "health")
	assert.Zero(t, e.Started(), "containers started by what must not wake")
	assert.Equal(t, "inactive", quiet.Now().Status)

	expectWaitingPage(t, e.Do(document.Document("/")))
	document.Open()
	a := e.Do(post.Post("/api/echo", "a body that was kept"))
	assert.Equal(t, http.StatusOK, a.Status, "POST")
	assert.Equal(t, "a body that was kept", a.Body)
	a = e.Do(prefer.Fetch("/about/", "Prefer", "wait=60"))
	assert.Equal(t, http.StatusOK, a.Status, "fetch that prefers to wait")
	a = e.Do(woken.Fetch("/about/"))
	assert.Equal(t, http.StatusOK, a.Status, "fetch, where any request wakes")
	assert.Equal(t, 4, e.Started())
}

func TestAtLimit(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{Client: func(c map[string]any) {
		c["settings"].(map[string]any)["maxConcurrentSessions"] = 1
	}})
	first, second := e.CreateSession(site), e.CreateSession(site)
	e.Start()
	first.Open()

	a := e.Do(second.Document("/"))
	assert.Equal(t, http.StatusTooManyRequests, a.Status, "document")
	assert.Contains(t, a.Header.Get("Content-Type"), "text/html")
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	assert.Equal(t, http.StatusTooManyRequests, e.Do(second.Post("/", "x")).Status, "POST")
	expectUnavailable(t, e, second.Fetch("/"), "fetch")
	expectUnavailable(t, e, second.Upgrade("/"), "socket")
	made := e.Do(harness.Request{Method: http.MethodPost, Host: site.Host, Path: "/new", Header: harness.DocumentHeader("Sec-Fetch-Site", "same-origin")})
	assert.Equal(t, http.StatusTooManyRequests, made.Status, "a new session")
	assert.Equal(t, 1, e.Started(), "containers ever started")

	// A slot that is given back is there for the other.
	e.CLI("session", "sleep", first.SessionID)
	second.Open()
	assert.Equal(t, http.StatusTooManyRequests, e.Do(first.Document("/")).Status)
}

func TestFailed(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{Build: "console.error('the oven is cold'); process.exit(3);"})
	e.Start()
	session := e.CreateSession(site)
	awaitPhase(t, e, session, "failed")
	const failures = 4 // the more there were, the longer it rests
	for n := 2; n <= failures; n++ {
		e.Do(wakeNow(session))
		harness.Eventually(t, harness.Patience, "it failed again", func() bool {
			phase, _ := phaseOf(e, session)
			return phase == "failed" && e.Started() == n
		})
	}

	a := e.Do(session.Document("/"))
	assert.Equal(t, http.StatusServiceUnavailable, a.Status, "document")
	assert.Contains(t, a.Body, "/.webordinary/sessions/"+session.SessionID+"/wake", "the retry button")
	expectUnavailable(t, e, session.Post("/", "x"), "POST")
	expectUnavailable(t, e, session.Fetch("/"), "fetch")
	expectUnavailable(t, e, session.Upgrade("/"), "socket")
	assert.Equal(t, failures, e.Started(), "containers ever started")

	harness.EventuallyEvery(t, harness.Patience, 200*time.Millisecond, "a document wakes once the back-off is over", func() bool {
		return e.Do(session.Document("/")).Status == http.StatusAccepted
	})
}

// wakeNow is the retry button.
func wakeNow(session *harness.Session) harness.Request {
	return harness.Request{
		Method: http.MethodPost, Host: session.Host(), Path: "/.webordinary/sessions/" + session.SessionID + "/wake",
		Header: harness.DocumentHeader("Sec-Fetch-Site", "same-origin"),
	}
}

func TestDraining(t *testing.T) {
	parallel(t)
	ending, gate := filepath.Join(t.TempDir(), "ending"), filepath.Join(t.TempDir(), "gate")
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{
		APIUpstream: api.URL, // without the race detector: a container may take 30 s to end
		// A container that takes its time to end.
		Containerboot: func(binary string) string {
			return fmt.Sprintf(`trap 'touch %q; while [ ! -e %q ]; do sleep 0.05; done; kill -TERM $pid' TERM
%q "$@" &
pid=$!
wait $pid
wait $pid`, ending, gate, binary)
		},
	})
	t.Cleanup(func() { _ = os.WriteFile(gate, nil, 0o600) })
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	edit(t, session, "edited before draining")

	slept := make(chan harness.Result, 1)
	go func() { slept <- e.Run("", "webordinary", "session", "sleep", session.SessionID) }()
	harness.Eventually(t, harness.Patience, "the container is told to end", func() bool {
		_, err := os.Stat(ending)
		return err == nil
	})
	requireSaved(t, site, session, "edited before draining")
	assert.Equal(t, "draining", session.Now().Status)

	expectUnavailable(t, e, session.Fetch("/about/"), "fetch")
	expectUnavailable(t, e, session.Upgrade("/api/echo"), "socket")
	expectWaitingPage(t, e.Do(session.Document("/")))
	posted := make(chan harness.Answer, 1)
	go func() {
		a, err := e.Try(session.Post("/api/echo", "posted while draining"))
		assert.NoError(t, err)
		posted <- a
	}()
	select {
	case a := <-posted:
		assert.Failf(t, "POST was not held", "%d", a.Status)
	case <-time.After(time.Second):
	}
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	a := <-posted
	assert.Equal(t, http.StatusOK, a.Status)
	assert.Equal(t, "posted while draining", a.Body)
	requireRestored(t, session, "edited before draining", session.Open())
	<-slept
}

func TestDisabledClient(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{Client: func(c map[string]any) { c["disabled"] = true }})
	e.Start()
	for _, path := range []string{"/", "/new", "/session/x/"} {
		assert.Equal(t, http.StatusForbidden, e.Do(harness.Request{Host: site.Host, Path: path, Header: harness.DocumentHeader()}).Status, path)
	}
	r := e.Run("", "webordinary", "session", "create", "amelia")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Err, "disabled")
}

func TestPathsOutsideOfASession(t *testing.T) {
	parallel(t)
	api := harness.NewAPI(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t), APIUpstream: api.URL})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	referer := fmt.Sprintf("http://%s:%d%s", site.Host, e.HTTPPort, session.Path("/about/"))
	cookie := "webordinary_session=" + session.SessionID

	for _, test := range []struct {
		name     string
		request  harness.Request
		status   int
		location string
	}{
		{"the session without a slash", harness.Request{Path: session.Path("")}, http.StatusTemporaryRedirect, session.Path("/")},
		{"by Referer", harness.Request{Path: "/_astro/x.css?v=1", Header: harness.Header("Referer", referer)}, http.StatusTemporaryRedirect, session.Path("/_astro/x.css?v=1")},
		{"by cookie", harness.Request{Path: "/about", Header: harness.Header("Cookie", cookie)}, http.StatusTemporaryRedirect, session.Path("/about")},
		{"HEAD", harness.Request{Method: http.MethodHead, Path: "/about", Header: harness.Header("Cookie", cookie)}, http.StatusTemporaryRedirect, session.Path("/about")},
		{"a Referer of another host", harness.Request{Path: "/about", Header: harness.Header("Referer", "http://edit.bramble.localhost"+session.Path("/"))}, http.StatusNotFound, ""},
		{"neither", harness.Request{Path: "/about", Header: harness.DocumentHeader()}, http.StatusNotFound, ""},
		{"POST by Referer", harness.Request{Method: http.MethodPost, Path: "/api/echo", Body: "x", Header: harness.Header("Referer", referer)}, http.StatusOK, ""},
		{"socket by cookie", harness.Request{Path: "/api/echo", Header: harness.Header("Cookie", cookie, "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")}, http.StatusSwitchingProtocols, ""},
		{"socket of nobody", harness.Request{Path: "/api/echo", Header: harness.Header("Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-Websocket-Version", "13", "Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")}, http.StatusConflict, ""},
		{"the page with the button", harness.Request{Path: "/new", Header: harness.DocumentHeader()}, http.StatusOK, ""},
		{"another site's form", harness.Request{Method: http.MethodPost, Path: "/new", Header: harness.DocumentHeader("Sec-Fetch-Site", "cross-site")}, http.StatusForbidden, ""},
		{"another site's form, by Origin", harness.Request{Method: http.MethodPost, Path: "/new", Header: harness.Header("Origin", "http://evil.example")}, http.StatusForbidden, ""},
		{"another site's retry", harness.Request{Method: http.MethodPost, Path: "/.webordinary/sessions/" + session.SessionID + "/wake", Header: harness.Header("Origin", "http://evil.example")}, http.StatusForbidden, ""},
	} {
		test.request.Host = site.Host
		a := e.Do(test.request)
		assert.Equal(t, test.status, a.Status, test.name)
		assert.Equal(t, test.location, a.Header.Get("Location"), test.name)
	}
	assert.Equal(t, 1, e.Started(), "containers ever started")

	made := e.Do(harness.Request{Method: http.MethodPost, Host: site.Host, Path: "/new", Header: harness.DocumentHeader("Sec-Fetch-Site", "same-origin")})
	assert.Equal(t, http.StatusSeeOther, made.Status)
	assert.Regexp(t, `^/session/[A-Za-z0-9_-]{22,}/$`, made.Header.Get("Location"))
}
