package edge

import (
	"net/http"
	"net/url"
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// How long refused requests are told to stay away.
const (
	// retrySoon: something is expected to pass in seconds.
	retrySoon = 5 * time.Second
	// retryLimit: a session must fall idle first.
	retryLimit = 30 * time.Second
)

// Decide says what becomes of a request. It is a pure function; where its Known turns
// out to be outdated (a wake finds the client at its limit), ask again with what is known now.
func Decide(t Traits, target Target, k Known) Decision {
	switch k.Host {
	case HostServed:
	case HostDisabled:
		return Decision{Action: Disabled, Status: http.StatusForbidden}
	case HostNoTable:
		return unavailable()
	default:
		return notFound()
	}
	switch target.Place {
	case PlaceNone, PlaceForbidden:
		return notFound()
	}
	// TRACE would send our cookies back to a script, CONNECT asks for a proxy of
	// another kind.
	if t.Method == http.MethodTrace || t.Method == http.MethodConnect && t.Kind != Socket {
		return notAllowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	switch target.Place {
	case PlaceNew:
		if k.NewSessions {
			return decideNew(t, k)
		}
		return decideOther(t, target, k) // a site may have a page of that name
	case PlaceOther:
		return decideOther(t, target, k)
	case PlaceEvents:
		return decideEvents(t, k)
	case PlaceWake:
		return decideWake(t, k)
	case PlaceSleep:
		return decideSleep(t, target, k)
	default:
		return decideSession(t, target, k)
	}
}

func decideNew(t Traits, k Known) Decision {
	switch {
	case t.Kind == Socket, !t.safe() && t.Method != http.MethodPost:
		return notAllowed("GET, HEAD, POST")
	case t.safe():
		return Decision{Action: NewPage, Status: http.StatusOK}
	case !t.SameOrigin:
		return crossSite()
	case k.RegistryDown:
		return unavailable()
	case k.AtLimit:
		return atLimit()
	default:
		return Decision{Action: CreateSession, Status: http.StatusSeeOther, Wake: true}
	}
}

// decideOther sends what reads to the path that carries its session, so that two tabs
// with two sessions stay apart. What writes is not redirected: clients would drop its body.
func decideOther(t Traits, target Target, k Known) Decision {
	switch {
	case target.SessionID == "" && t.Kind == Socket:
		return Decision{Action: Ambiguous, Status: http.StatusConflict}
	case target.SessionID == "":
		return notFound()
	case t.Kind != Socket && t.safe():
		return redirect(target.SessionID, target.Rest, target.Query)
	default:
		return decideSession(t, target, k)
	}
}

func decideEvents(t Traits, k Known) Decision {
	switch {
	case t.Kind == Socket, t.Method != http.MethodGet:
		return notAllowed("GET")
	case !k.visible():
		return missing(k)
	case k.RegistryDown && k.Session.Status != sessions.StatusActive:
		return unavailable()
	default:
		return Decision{Action: Events, Status: http.StatusOK}
	}
}

func decideWake(t Traits, k Known) Decision {
	switch {
	case t.Method != http.MethodPost:
		return notAllowed("POST")
	case !t.SameOrigin:
		return crossSite()
	case !k.visible():
		return missing(k)
	case k.RegistryDown:
		return unavailable()
	}
	d := Decision{Action: WakeNow, Status: http.StatusNoContent}
	switch k.Session.Status {
	case sessions.StatusActive, sessions.StatusInitializing:
	case sessions.StatusDraining:
		d.Wake = true
	default:
		if k.AtLimit {
			return atLimit()
		}
		d.Wake = true
	}
	if t.Navigate {
		d.Status = http.StatusSeeOther
		d.Location = SessionPath(k.Session.ID) + "/"
	}
	return d
}

// decideSleep answers a form with the page that it stood on, which is that of a session
// waiting for the slot, unless showing it would wake what was just put to sleep.
func decideSleep(t Traits, target Target, k Known) Decision {
	switch {
	case t.Method != http.MethodPost:
		return notAllowed("POST")
	case !t.SameOrigin:
		return crossSite()
	case !k.Manage:
		return notFound()
	case !k.visible():
		return missing(k)
	case k.RegistryDown:
		return unavailable()
	}
	d := Decision{Action: SleepNow, Status: http.StatusNoContent}
	switch {
	case !t.Navigate || target.From == target.SessionID:
	case target.From != "":
		d.Status, d.Location = http.StatusSeeOther, SessionPath(target.From)+"/"
	case k.NewSessions:
		d.Status, d.Location = http.StatusSeeOther, "/new"
	}
	return d
}

// decideSession is for what belongs to a session: below its path, or found for it.
func decideSession(t Traits, target Target, k Known) Decision {
	if !k.visible() {
		return missing(k)
	}
	active := k.Session.Status == sessions.StatusActive
	switch {
	case k.RegistryDown && !active:
		return unavailable()
	case target.Via == ViaPath && k.Session.ID != target.SessionID && t.Kind != Socket,
		target.Place == PlaceSessionRoot && t.Kind != Socket:
		// A thread's link leads to its session. 307 keeps method and body. Sockets
		// follow no redirects.
		rest := target.Rest
		if rest == "" {
			rest = "/"
		}
		return redirect(k.Session.ID, rest, target.Query)
	case active:
		return Decision{
			Action:    Proxy,
			SetCookie: t.Kind == Document && !t.Passive && target.Place == PlaceSession,
		}
	case target.Place == PlaceOwnAPI:
		if target.Rest == pathEvents && t.Method == http.MethodGet && t.Kind != Socket {
			return Decision{Action: Events, Status: http.StatusOK}
		}
		return Decision{Action: OwnStatus, Status: http.StatusServiceUnavailable, RetryAfter: retrySoon}
	default:
		return decideState(t, k)
	}
}

// decideState is the table of states and kinds, but for the active state.
func decideState(t Traits, k Known) Decision {
	state := k.Session.Status
	rests := state == sessions.StatusFailed && k.Session.BackOff > 0
	switch {
	case state == sessions.StatusInitializing && t.Kind == Document:
		return waitingPage(false)
	case state == sessions.StatusInitializing:
		return hold(t, k, false)
	case rests:
		return Decision{
			Action: Failed, Status: http.StatusServiceUnavailable,
			RetryAfter: max(time.Second, k.Session.BackOff),
		}
	}
	asks := t.Kind == Document || t.Kind == Write || k.WakeOn == configstore.WakeOnAny
	switch {
	case !asks || t.Passive:
		return unavailable()
	case k.AtLimit && state != sessions.StatusDraining:
		return atLimit()
	case t.Kind == Document:
		return waitingPage(true)
	default:
		return hold(t, k, true)
	}
}

func notFound() Decision { return Decision{Action: NotFound, Status: http.StatusNotFound} }

func unavailable() Decision {
	return Decision{Action: Unavailable, Status: http.StatusServiceUnavailable, RetryAfter: retrySoon}
}

// missing is for a session that is not there, as far as anybody can tell.
func missing(k Known) Decision {
	if k.RegistryDown && k.Session.ID == "" {
		return unavailable()
	}
	return notFound()
}

func atLimit() Decision {
	return Decision{Action: Limit, Status: http.StatusTooManyRequests, RetryAfter: retryLimit}
}

func crossSite() Decision { return Decision{Action: CrossSite, Status: http.StatusForbidden} }

func notAllowed(methods string) Decision {
	return Decision{Action: MethodNotAllowed, Status: http.StatusMethodNotAllowed, Allow: methods}
}

func waitingPage(wake bool) Decision {
	return Decision{Action: WaitingPage, Status: http.StatusAccepted, Wake: wake}
}

func hold(t Traits, k Known, wake bool) Decision {
	return Decision{Action: Hold, Wake: wake, Hold: k.holdTimeout(t)}
}

// redirect leads to a path of a session. The id is escaped anew and stands in front, so
// that no path or query can make it lead to another host.
func redirect(id, rest, query string) Decision {
	location := sessionPrefix + url.PathEscape(id) + rest
	if query != "" {
		location += "?" + query
	}
	return Decision{Action: Redirect, Status: http.StatusTemporaryRedirect, Location: location}
}
