package pages

import (
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/webordinary/router/containerboot/bootapi"
)

// WaitingData is what the waiting page shows.
type WaitingData struct {
	Client string
	// EventsURL is the path of the session's event stream: events named as in bootapi
	// (bootapi.EventStatus, bootapi.EventLog).
	EventsURL string
	// Status is what is known now. Its failure's detail is not shown.
	Status    bootapi.Status
	RequestID string
}

// Waiting is the 202 page of a session that is starting. It follows the event stream,
// and loads again as soon as the session is ready, or has failed. Where there is no
// stream, or no script, it loads again every 3 seconds. It must only answer a GET,
// since loading again sends the same request.
func Waiting(d WaitingData) Page {
	s := d.Status
	v := view{prose: wordsWaiting(), Client: d.Client, RequestID: d.RequestID, Log: lastLines(s.Log)}
	v.Live = &live{EventsURL: d.EventsURL, ElapsedMillis: max(s.TotalMillis, 0)}
	if s.ExpectedTotalMillis > 0 {
		v.Live.Left = wordsLeft(time.Duration(s.ExpectedTotalMillis-s.TotalMillis) * time.Millisecond)
	}
	present := shown(s.Phase)
	v.Steps = steps(present, "active", s.Reused)
	note := s.Step
	if s.Phase == bootapi.PhaseStopping {
		note = wordSavingFirst
	}
	if i := slices.Index(phases(), present); i >= 0 {
		v.Steps[i].Note = shorten(note, maxName)
		if s.Percent != nil {
			v.Steps[i].Note += fmt.Sprintf(" %d %%", min(max(*s.Percent, 0), 100))
		}
	}
	p := render(http.StatusAccepted, errorWaiting, v)
	p.problem.Phase = s.Phase
	return p
}

// FailedData is what the page of a failed start shows.
type FailedData struct {
	Client string
	// Failure says what failed. Its detail is not shown.
	Failure bootapi.Failure
	// Log holds the last lines of output; may be empty.
	Log []string
	// RetryAfter is when the session may be woken again by a mere visit; zero: at once.
	RetryAfter time.Duration
	// WakeURL takes the POST that tries again.
	WakeURL   string
	RequestID string
}

// Failed is the 503 page of a session whose last start failed.
func Failed(d FailedData) Page {
	v := view{prose: wordsFailed(d.Failure), Client: d.Client, RequestID: d.RequestID, Log: lastLines(d.Log)}
	v.Cause = shorten(d.Failure.Cause, maxCause)
	if v.Cause == "" {
		v.Cause = wordCause
	}
	v.Button = &button{Action: d.WakeURL, Label: wordTryAgain}
	v.Steps = steps(shown(d.Failure.Phase), "failed", nil)
	p := render(http.StatusServiceUnavailable, errorFailed, v).retryAfter(d.RetryAfter)
	p.problem.Error = errorFailed + ": " + v.Cause
	p.problem.Phase = bootapi.PhaseFailed
	return p
}

// phases lists the phases that are shown, in their order.
func phases() []bootapi.Phase {
	return []bootapi.Phase{bootapi.PhaseStarting, bootapi.PhaseCloning, bootapi.PhaseInstalling, bootapi.PhaseBuilding, bootapi.PhaseReady}
}

// shown maps a phase to the one that stands for it on the page.
func shown(p bootapi.Phase) bootapi.Phase {
	switch p {
	case bootapi.PhaseClaimed, bootapi.PhaseStopping, "":
		return bootapi.PhaseStarting
	}
	return p
}

// steps lists the phases with those before present done and present in the given
// state. All are pending where present is none of them.
func steps(present bootapi.Phase, state string, reused []string) []step {
	var out []step
	at := slices.Index(phases(), present)
	for i, phase := range phases() {
		s := step{Phase: phase, Label: wordStep(phase), State: "pending", Reuse: reuseName(phase)}
		switch {
		case i < at:
			s.State, s.Spoken = "done", wordDone
			if s.Reuse != "" && slices.Contains(reused, s.Reuse) {
				s.Note = wordReused
			}
		case i == at && state == "failed":
			s.State, s.Note = state, wordFailed
		case i == at:
			s.State, s.Spoken = state, wordActive
		}
		out = append(out, s)
	}
	return out
}

// reuseName is what bootapi.Status.Reused calls a phase that a cache made needless.
func reuseName(p bootapi.Phase) string {
	switch p {
	case bootapi.PhaseCloning:
		return "clone"
	case bootapi.PhaseInstalling:
		return "install"
	case bootapi.PhaseBuilding:
		return "build"
	}
	return ""
}

// Bounds of what comes from elsewhere. They keep the waiting page under 12 KB whatever
// it is given.
const (
	maxName    = 63  // characters: a DNS label
	maxCause   = 400 // characters
	maxLine    = 200 // characters
	maxLog     = 900 // bytes, as escaped
	maxAddress = 768 // bytes, as escaped
)

// lastLines returns the last lines of a log as they can be shown.
func lastLines(log []string) []string {
	var out []string
	size := 0
	for _, line := range slices.Backward(log) {
		line = shorten(line, maxLine)
		if size += len(template.HTMLEscapeString(line)) + 1; size > maxLog {
			break
		}
		if line != "" {
			out = append(out, line)
		}
	}
	slices.Reverse(out)
	return out
}

// colours matches the sequences by which tools colour their output.
var colours = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// shorten returns s on one line, without colours and other unprintable characters,
// and with at most limit characters.
func shorten(s string, limit int) string {
	if len(s) > 8*limit { // before any work is done on it
		s = s[:8*limit]
	}
	s = strings.ToValidUTF8(colours.ReplaceAllString(s, ""), "")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}
