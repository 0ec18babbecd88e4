package edge

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

const sid = "k3Jx9vPq2LmN8sTtYw5Zab"

func served(status sessions.Status) Known {
	return Known{
		Host: HostServed, ClientID: "amelia",
		Session: Session{ID: sid, ClientID: "amelia", Status: status},
	}
}

func below(rest string) Target {
	return Target{
		Place: PlaceSession, SessionID: sid, Via: ViaPath,
		Prefix: "/session/" + sid, Rest: rest,
	}
}

var (
	document = Traits{Kind: Document, Method: "GET", Navigate: true, SameOrigin: true}
	write    = Traits{Kind: Write, Method: "POST", SameOrigin: true}
	patient  = Traits{Kind: Write, Method: "GET", SameOrigin: true, Waits: true, Wait: 7 * time.Second}
	fetch    = Traits{Kind: Fetch, Method: "GET", SameOrigin: true}
	head     = Traits{Kind: Fetch, Method: "HEAD", SameOrigin: true}
	socket   = Traits{Kind: Socket, Method: "GET", SameOrigin: true}
)

func passive(t Traits) Traits { t.Passive = true; return t }

// outcome is a decision in a form that a table can be read in: action, status, wake,
// how long it is held and what Retry-After says, both in seconds.
func outcome(d Decision) string {
	s := fmt.Sprintf("%s %d", d.Action, d.Status)
	if d.Wake {
		s += " wake"
	}
	if d.Hold > 0 {
		s += fmt.Sprintf(" hold=%g", d.Hold.Seconds())
	}
	if d.RetryAfter > 0 {
		s += fmt.Sprintf(" retry=%g", d.RetryAfter.Seconds())
	}
	return s
}

// The whole table: each state a row of requests, in every column.
func TestDecideStates(t *testing.T) {
	const (
		proxy    = "proxy 0"
		waiting  = "waiting_page 202"
		wakes    = "waiting_page 202 wake"
		held     = "hold 0 hold=60"
		held7    = "hold 0 hold=7"
		wakeHeld = "hold 0 wake hold=60"
		wake7    = "hold 0 wake hold=7"
		refused  = "unavailable 503 retry=5"
		limit    = "limit 429 retry=30"
		failed   = "failed 503 retry=9"
	)
	with := func(k Known, change func(*Known)) Known { change(&k); return k }
	limited := func(k Known) Known { return with(k, func(k *Known) { k.AtLimit = true }) }
	anyWakes := func(k Known) Known { return with(k, func(k *Known) { k.WakeOn = configstore.WakeOnAny }) }
	down := func(k Known) Known { return with(k, func(k *Known) { k.RegistryDown = true }) }
	resting := func(k Known) Known { return with(k, func(k *Known) { k.Session.BackOff = 9 * time.Second }) }

	active, initializing, inactive := served(sessions.StatusActive), served(sessions.StatusInitializing), served(sessions.StatusInactive)
	draining, failedOnce := served(sessions.StatusDraining), served(sessions.StatusFailed)

	rows := []struct {
		name  string
		known Known
		// For: a document, a POST, a GET that prefers to wait 7 s, another GET, a
		// HEAD, a socket; then the same document, POST, GET and socket when passive.
		want [10]string
	}{
		{"active", active, [10]string{proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy}},
		{"active, wakeOn any", anyWakes(active), [10]string{proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy}},
		{"active, client at its limit", limited(active), [10]string{proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy}},
		{"active, registry down", down(active), [10]string{proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy, proxy}},

		{"initializing", initializing, [10]string{waiting, held, held7, held, held, held, waiting, held, held, held}},
		{"initializing, wakeOn any", anyWakes(initializing), [10]string{waiting, held, held7, held, held, held, waiting, held, held, held}},
		{"initializing, client at its limit", limited(initializing), [10]string{waiting, held, held7, held, held, held, waiting, held, held, held}},

		{"inactive", inactive, [10]string{wakes, wakeHeld, wake7, refused, refused, refused, refused, refused, refused, refused}},
		{"inactive, wakeOn any", anyWakes(inactive), [10]string{wakes, wakeHeld, wake7, wakeHeld, wakeHeld, wakeHeld, refused, refused, refused, refused}},
		{"inactive, client at its limit", limited(inactive), [10]string{limit, limit, limit, refused, refused, refused, refused, refused, refused, refused}},
		{"inactive, client at its limit, wakeOn any", limited(anyWakes(inactive)), [10]string{limit, limit, limit, limit, limit, limit, refused, refused, refused, refused}},

		{"failed, past its back-off", failedOnce, [10]string{wakes, wakeHeld, wake7, refused, refused, refused, refused, refused, refused, refused}},
		{"failed, past its back-off, wakeOn any", anyWakes(failedOnce), [10]string{wakes, wakeHeld, wake7, wakeHeld, wakeHeld, wakeHeld, refused, refused, refused, refused}},
		{"failed, past its back-off, client at its limit", limited(failedOnce), [10]string{limit, limit, limit, refused, refused, refused, refused, refused, refused, refused}},
		{"failed, within its back-off", resting(failedOnce), [10]string{failed, failed, failed, failed, failed, failed, failed, failed, failed, failed}},
		{"failed, within its back-off, wakeOn any", resting(anyWakes(failedOnce)), [10]string{failed, failed, failed, failed, failed, failed, failed, failed, failed, failed}},
		{"failed, within its back-off, client at its limit", limited(resting(failedOnce)), [10]string{failed, failed, failed, failed, failed, failed, failed, failed, failed, failed}},

		{"draining", draining, [10]string{wakes, wakeHeld, wake7, refused, refused, refused, refused, refused, refused, refused}},
		{"draining, wakeOn any", anyWakes(draining), [10]string{wakes, wakeHeld, wake7, wakeHeld, wakeHeld, wakeHeld, refused, refused, refused, refused}},
		{"draining, holding the last slot itself", limited(draining), [10]string{wakes, wakeHeld, wake7, refused, refused, refused, refused, refused, refused, refused}},

		{"initializing, registry down", down(initializing), [10]string{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}},
		{"inactive, registry down", down(inactive), [10]string{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}},
		{"failed, registry down", down(resting(failedOnce)), [10]string{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}},
		{"draining, registry down", down(draining), [10]string{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}},
		{"not known, registry down", Known{Host: HostServed, ClientID: "amelia", RegistryDown: true}, [10]string{refused, refused, refused, refused, refused, refused, refused, refused, refused, refused}},

		// A state that a newer version wrote is treated as one without a container.
		{"unheard-of", served("hibernating"), [10]string{wakes, wakeHeld, wake7, refused, refused, refused, refused, refused, refused, refused}},
	}
	columns := [10]Traits{
		document, write, patient, fetch, head, socket,
		passive(document), passive(write), passive(fetch), passive(socket),
	}
	for _, row := range rows {
		for i, traits := range columns {
			d := Decide(traits, below("/about"), row.known)
			assert.Equal(t, row.want[i], outcome(d), "%s: %s, method %s, passive %v", row.name, traits.Kind, traits.Method, traits.Passive)
			assert.Empty(t, d.Location)
		}
	}
}

func TestDecideHoldsAsLongAsConfigured(t *testing.T) {
	k := served(sessions.StatusInitializing)
	k.HoldTimeout = 20 * time.Second
	assert.Equal(t, "hold 0 hold=20", outcome(Decide(write, below("/x"), k)))
	assert.Equal(t, "hold 0 hold=7", outcome(Decide(patient, below("/x"), k)))

	impatient := patient
	impatient.Wait = 0
	k = served(sessions.StatusInactive)
	assert.Equal(t, "hold 0 wake", outcome(Decide(impatient, below("/x"), k)), "wait=0 wakes and is held no time")

	k.Session.Status, k.Session.BackOff = sessions.StatusFailed, time.Millisecond
	assert.Equal(t, "failed 503 retry=1", outcome(Decide(document, below("/x"), k)), "Retry-After has whole seconds")
}

func TestDecideHosts(t *testing.T) {
	active := served(sessions.StatusActive)
	for _, c := range []struct {
		host Host
		want string
	}{
		{HostUnknown, "not_found 404"},
		{HostDisabled, "disabled 403"},
		{HostNoTable, "unavailable 503 retry=5"},
		{HostServed, "proxy 0"},
		{Host(99), "not_found 404"},
	} {
		k := active
		k.Host, k.NewSessions = c.host, true
		assert.Equal(t, c.want, outcome(Decide(document, below("/"), k)))
		for _, place := range []Place{PlaceNew, PlaceEvents, PlaceWake, PlaceSleep, PlaceOther, PlaceOwnAPI} {
			if c.host == HostServed {
				continue
			}
			target := Target{Place: place, SessionID: sid, Via: ViaPath, Rest: "/"}
			assert.Equal(t, c.want, outcome(Decide(write, target, k)), "place %d", place)
		}
	}
	for _, place := range []Place{PlaceNone, PlaceForbidden} {
		assert.Equal(t, "not_found 404", outcome(Decide(document, Target{Place: place, SessionID: sid, Via: ViaPath}, active)))
	}
}

// Whatever a visitor may not see is the same in every respect as what does not exist.
func TestDecideHidesSessions(t *testing.T) {
	absent := served("")
	absent.Session = Session{}
	foreign := served(sessions.StatusActive)
	foreign.Session.ClientID = "bramble"
	guessed := served(sessions.StatusActive)
	guessed.Session.Guessable = true
	nobody := served(sessions.StatusActive)
	nobody.ClientID, nobody.Session.ClientID = "", ""

	for name, k := range map[string]Known{"absent": absent, "foreign": foreign, "guessed": guessed, "nobody's": nobody} {
		for _, place := range []Place{PlaceSession, PlaceSessionRoot, PlaceOwnAPI, PlaceEvents, PlaceWake, PlaceSleep} {
			for _, traits := range []Traits{document, write, patient, fetch, head, socket} {
				target := Target{Place: place, SessionID: sid, Via: ViaPath, Rest: "/api/events"}
				k.Manage = true
				k.RegistryDown = name == "foreign"
				got, want := Decide(traits, target, k), Decide(traits, target, absent)
				assert.Equal(t, want, got, "%s, place %d, %s %s", name, place, traits.Method, traits.Kind)
				if got.Action != MethodNotAllowed {
					assert.Equal(t, NotFound, got.Action)
				}
			}
		}
	}

	guessed.ThreadLinks = true
	assert.Equal(t, Proxy, Decide(document, below("/"), guessed).Action)
}

func TestDecideThreadLinkLeadsToItsSession(t *testing.T) {
	k := served(sessions.StatusInactive)
	k.Session.Guessable, k.ThreadLinks = true, true
	target := below("/a%20b")
	target.SessionID, target.Prefix, target.Query = "home page", "/session/home%20page", "x=1"

	for _, traits := range []Traits{document, fetch, write} {
		d := Decide(traits, target, k)
		assert.Equal(t, Decision{Action: Redirect, Status: 307, Location: "/session/" + sid + "/a%20b?x=1"}, d)
	}
	k.Session.Status = sessions.StatusActive
	assert.Equal(t, Proxy, Decide(socket, target, k).Action, "a socket follows no redirect")
}

func TestDecideSessionRoot(t *testing.T) {
	root := below("")
	root.Place, root.Query = PlaceSessionRoot, "a=b&c"
	for _, status := range []sessions.Status{sessions.StatusActive, sessions.StatusInactive, sessions.StatusFailed} {
		d := Decide(document, root, served(status))
		assert.Equal(t, Decision{Action: Redirect, Status: 307, Location: "/session/" + sid + "/?a=b&c"}, d)
	}
	assert.Equal(t, Proxy, Decide(socket, root, served(sessions.StatusActive)).Action, "dev servers open their socket at the base path")
}

func TestDecideOther(t *testing.T) {
	absent := Known{Host: HostServed, ClientID: "amelia"}
	found := Target{Place: PlaceOther, SessionID: "c#u#t", Via: ViaReferer, Rest: "/_astro/x.css", Query: "v=2"}
	redirected := Decision{Action: Redirect, Status: 307, Location: "/session/c%23u%23t/_astro/x.css?v=2"}
	for _, traits := range []Traits{document, fetch, head, patient, passive(fetch)} {
		assert.Equal(t, redirected, Decide(traits, found, absent), "no look-up is needed to redirect")
	}

	evil := found
	evil.Rest, evil.Query = "//evil.example/x", ""
	assert.Equal(t, "/session/c%23u%23t//evil.example/x", Decide(document, evil, absent).Location)

	k := served(sessions.StatusActive)
	k.Session.ID = "c#u#t"
	assert.Equal(t, Decision{Action: Proxy}, Decide(write, found, k))
	assert.Equal(t, Decision{Action: Proxy}, Decide(socket, found, k))
	k.Session.Status = sessions.StatusInactive
	assert.Equal(t, "hold 0 wake hold=60", outcome(Decide(write, found, k)))
	assert.Equal(t, "unavailable 503 retry=5", outcome(Decide(socket, found, k)))

	unknown := Target{Place: PlaceOther, Rest: "/about"}
	for _, traits := range []Traits{document, write, patient, fetch, head} {
		assert.Equal(t, "not_found 404", outcome(Decide(traits, unknown, k)))
	}
	assert.Equal(t, "ambiguous 409", outcome(Decide(socket, unknown, k)))
}

func TestDecideNew(t *testing.T) {
	open := Known{Host: HostServed, ClientID: "amelia", NewSessions: true}
	at := Target{Place: PlaceNew, Rest: "/new"}
	with := func(k Known, change func(*Known)) Known { change(&k); return k }
	forged := write
	forged.SameOrigin = false
	put := write
	put.Method = "PUT"

	for _, c := range []struct {
		name   string
		traits Traits
		known  Known
		want   string
	}{
		{"GET", document, open, "new_page 200"},
		{"HEAD", head, open, "new_page 200"},
		{"GET, registry down", document, with(open, func(k *Known) { k.RegistryDown = true }), "new_page 200"},
		{"POST", write, open, "create_session 303 wake"},
		{"POST from elsewhere", forged, open, "cross_site 403"},
		{"POST, registry down", write, with(open, func(k *Known) { k.RegistryDown = true }), "unavailable 503 retry=5"},
		{"POST, client at its limit", write, with(open, func(k *Known) { k.AtLimit = true }), "limit 429 retry=30"},
		{"PUT", put, open, "method_not_allowed 405"},
		{"socket", socket, open, "method_not_allowed 405"},
		{"GET, off", document, with(open, func(k *Known) { k.NewSessions = false }), "not_found 404"},
		{"POST, off", write, with(open, func(k *Known) { k.NewSessions = false }), "not_found 404"},
	} {
		assert.Equal(t, c.want, outcome(Decide(c.traits, at, c.known)), c.name)
	}

	at.SessionID, at.Via = sid, ViaReferer
	assert.Equal(t, NewPage, Decide(document, at, open).Action)
	open.NewSessions = false
	assert.Equal(t, "/session/"+sid+"/new", Decide(document, at, open).Location, "a site may have such a page")
}

func TestDecideOwnAPI(t *testing.T) {
	const answers = "own_status 503 retry=5"
	at := func(rest string) Target { t := below(rest); t.Place = PlaceOwnAPI; return t }
	for _, status := range []sessions.Status{
		sessions.StatusInactive, sessions.StatusInitializing, sessions.StatusDraining, sessions.StatusFailed,
	} {
		k := served(status)
		k.AtLimit, k.Session.BackOff, k.WakeOn = true, time.Minute, configstore.WakeOnAny
		for _, traits := range []Traits{document, write, patient, fetch, head, socket} {
			assert.Equal(t, answers, outcome(Decide(traits, at("/api/health"), k)), "%s %s", status, traits.Kind)
			assert.Equal(t, answers, outcome(Decide(traits, at("/api/status"), k)), "%s %s", status, traits.Kind)
		}
		assert.Equal(t, "events 200", outcome(Decide(fetch, at("/api/events"), k)))
		assert.Equal(t, answers, outcome(Decide(head, at("/api/events"), k)))
		assert.Equal(t, answers, outcome(Decide(write, at("/api/events"), k)))
		assert.Equal(t, answers, outcome(Decide(socket, at("/api/events"), k)))
	}
	assert.Equal(t, "proxy 0", outcome(Decide(fetch, at("/api/health"), served(sessions.StatusActive))))
	assert.Equal(t, "proxy 0", outcome(Decide(write, at("/api/events"), served(sessions.StatusActive))))
}

func TestDecideOwnPaths(t *testing.T) {
	forged, form := write, write
	forged.SameOrigin, form.Navigate = false, true
	with := func(k Known, change func(*Known)) Known { change(&k); return k }
	manager := func(k Known) Known { return with(k, func(k *Known) { k.Manage = true }) }
	limited := func(k Known) Known { return with(k, func(k *Known) { k.AtLimit = true }) }
	down := func(k Known) Known { return with(k, func(k *Known) { k.RegistryDown = true }) }
	active, inactive := served(sessions.StatusActive), served(sessions.StatusInactive)
	resting := with(served(sessions.StatusFailed), func(k *Known) { k.Session.BackOff = time.Minute })

	for _, c := range []struct {
		name     string
		place    Place
		from     string
		traits   Traits
		known    Known
		want     string
		location string
	}{
		{"events", PlaceEvents, "", fetch, inactive, "events 200", ""},
		{"events at limit", PlaceEvents, "", fetch, limited(inactive), "events 200", ""},
		{"events, wakeOn any", PlaceEvents, "", fetch, with(inactive, func(k *Known) { k.WakeOn = configstore.WakeOnAny }), "events 200", ""},
		{"events by HEAD would never end", PlaceEvents, "", head, inactive, "method_not_allowed 405", ""},
		{"events by POST", PlaceEvents, "", write, inactive, "method_not_allowed 405", ""},
		{"events by socket", PlaceEvents, "", socket, inactive, "method_not_allowed 405", ""},
		{"events, registry down", PlaceEvents, "", fetch, down(inactive), "unavailable 503 retry=5", ""},
		{"events of a known container, registry down", PlaceEvents, "", fetch, down(active), "events 200", ""},

		{"wake by script", PlaceWake, "", write, inactive, "wake_now 204 wake", ""},
		{"wake by form", PlaceWake, "", form, inactive, "wake_now 303 wake", "/session/" + sid + "/"},
		{"wake past the back-off", PlaceWake, "", form, resting, "wake_now 303 wake", "/session/" + sid + "/"},
		{"wake while draining", PlaceWake, "", form, limited(served(sessions.StatusDraining)), "wake_now 303 wake", "/session/" + sid + "/"},
		{"wake what is awake", PlaceWake, "", form, limited(active), "wake_now 303", "/session/" + sid + "/"},
		{"wake what wakes", PlaceWake, "", write, served(sessions.StatusInitializing), "wake_now 204", ""},
		{"wake at limit", PlaceWake, "", form, limited(inactive), "limit 429 retry=30", ""},
		{"wake from elsewhere", PlaceWake, "", forged, inactive, "cross_site 403", ""},
		{"wake by GET", PlaceWake, "", document, inactive, "method_not_allowed 405", ""},
		{"wake, registry down", PlaceWake, "", form, down(inactive), "unavailable 503 retry=5", ""},

		{"sleep by script", PlaceSleep, "", write, manager(active), "sleep_now 204", ""},
		{"sleep by form on a waiting session's page", PlaceSleep, "other id", form, manager(active), "sleep_now 303", "/session/other%20id/"},
		{"sleep by form on its own page", PlaceSleep, sid, form, manager(active), "sleep_now 204", ""},
		{"sleep by form on /new", PlaceSleep, "", form, with(manager(active), func(k *Known) { k.NewSessions = true }), "sleep_now 303", "/new"},
		{"sleep by form on no page", PlaceSleep, "", form, manager(active), "sleep_now 204", ""},
		{"sleep without the right to", PlaceSleep, "", form, active, "not_found 404", ""},
		{"sleep from elsewhere", PlaceSleep, "", forged, manager(active), "cross_site 403", ""},
		{"sleep by GET", PlaceSleep, "", document, manager(active), "method_not_allowed 405", ""},
		{"sleep, registry down", PlaceSleep, "", form, manager(down(active)), "unavailable 503 retry=5", ""},
	} {
		d := Decide(c.traits, Target{Place: c.place, SessionID: sid, Via: ViaPath, From: c.from}, c.known)
		assert.Equal(t, c.want, outcome(d), c.name)
		assert.Equal(t, c.location, d.Location, c.name)
	}
}

func TestDecideRefusesMethods(t *testing.T) {
	for _, method := range []string{http.MethodTrace, http.MethodConnect} {
		d := Decide(Traits{Kind: Write, Method: method}, below("/"), served(sessions.StatusActive))
		assert.Equal(t, "method_not_allowed 405", outcome(d))
		assert.NotEmpty(t, d.Allow)
	}
	extended := Traits{Kind: Socket, Method: http.MethodConnect}
	assert.Equal(t, Proxy, Decide(extended, below("/"), served(sessions.StatusActive)).Action)
	assert.Equal(t, "unavailable 503 retry=5", outcome(Decide(extended, below("/"), served(sessions.StatusInactive))))
}

func TestDecideRemembersServedDocuments(t *testing.T) {
	k := served(sessions.StatusActive)
	assert.True(t, Decide(document, below("/"), k).SetCookie)
	for _, traits := range []Traits{write, fetch, socket, passive(document)} {
		assert.False(t, Decide(traits, below("/"), k).SetCookie, traits.Kind)
	}
	assert.False(t, Decide(document, below("/"), served(sessions.StatusInactive)).SetCookie)
}
