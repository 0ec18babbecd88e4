package pages

import (
	"net/http"
	"time"
)

// NotFound is the 404 page. It is the same, but for the request's id, for a host that
// is nobody's, for a session that does not exist and for one of another client.
func NotFound(requestID string) Page {
	return render(http.StatusNotFound, errorNotFound, view{prose: wordsNotFound(), RequestID: requestID})
}

// Disabled is the 403 page of a client whose sessions are switched off.
func Disabled(requestID string) Page {
	return render(http.StatusForbidden, errorDisabled, view{prose: wordsDisabled(), RequestID: requestID})
}

// Unavailable is the 503 page for a fault on our side, such as no registry. A retryAfter
// of zero leaves that header out.
func Unavailable(requestID string, retryAfter time.Duration) Page {
	v := view{prose: wordsUnavailable(), RequestID: requestID, Again: wordTryAgain}
	return render(http.StatusServiceUnavailable, errorUnavailable, v).retryAfter(retryAfter)
}

// NoTable is the 503 page of an edge that cannot tell yet whose host it is asked for.
// failing: the list of sites cannot be read, rather than being read for the first time.
func NoTable(requestID string, retryAfter time.Duration, failing bool) Page {
	v := view{prose: wordsNoTable(failing), RequestID: requestID, Again: wordTryAgain}
	why := errorStarting
	if failing {
		why = errorNoTable
	}
	return render(http.StatusServiceUnavailable, why, v).retryAfter(retryAfter)
}

// MethodNotAllowed is the 405 page. The header Allow is the caller's to set.
func MethodNotAllowed(requestID string) Page {
	return render(http.StatusMethodNotAllowed, errorMethodNotAllowed, view{prose: wordsMethodNotAllowed(), RequestID: requestID})
}

// CrossSite is the 403 page for a form that another site's page sent.
func CrossSite(requestID string) Page {
	return render(http.StatusForbidden, errorCrossSite, view{prose: wordsCrossSite(), RequestID: requestID})
}

// Ambiguous is the 409 page for a request of which nothing says whose session it is.
func Ambiguous(requestID string) Page {
	return render(http.StatusConflict, errorAmbiguous, view{prose: wordsAmbiguous(), RequestID: requestID})
}

// LimitData is what the page of a client at its limit shows.
type LimitData struct {
	Client string
	// Max is how many sessions may run at once. Zero: not said.
	Max int
	// Running lists the client's running sessions, for visitors who are authorised to
	// see them. Empty: not listed.
	Running    []RunningSession
	RetryAfter time.Duration // zero: no such header
	RequestID  string
}

// RunningSession is one running session on the page of a client at its limit.
type RunningSession struct {
	URL string // a path on this host, or an http or https URL
	// User is who started it, or any other name it goes by; may be empty.
	User  string
	Awake time.Duration // since its last wake
	// SleepURL takes the POST that puts it to sleep. Empty: no button.
	SleepURL string
}

// maxListed bounds the sessions on a page.
const maxListed = 100

// Limit is the 429 page of a client who has as many sessions awake as it may have.
func Limit(d LimitData) Page {
	v := view{prose: wordsLimit(d.Max, len(d.Running) > 0), Client: d.Client, RequestID: d.RequestID, Again: wordTryAgain}
	for _, s := range d.Running[:min(len(d.Running), maxListed)] {
		name := shorten(s.User, maxName)
		if name == "" {
			name = wordPreview
		}
		v.Sessions = append(v.Sessions, sessionView{URL: s.URL, Name: name, Awake: wordAwake(s.Awake), SleepURL: s.SleepURL})
		v.guarded = v.guarded || s.SleepURL != ""
	}
	return render(http.StatusTooManyRequests, errorLimit, v).retryAfter(d.RetryAfter)
}

// NewData is what the page with the button for a new session shows.
type NewData struct {
	Client    string
	RequestID string
}

// New is the page at /new: a button that posts to the same path.
func New(d NewData) Page {
	v := view{prose: wordsNew(), Client: d.Client, RequestID: d.RequestID, Button: &button{Action: "/new", Label: wordStart}, guarded: true}
	return render(http.StatusOK, errorNew, v)
}
