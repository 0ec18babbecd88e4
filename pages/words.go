package pages

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Every word that a visitor reads is in this file. The readers are people who edit
// texts and images: no status codes, no names of tools, and always what to do next.

// labels are the words that stand in the document itself, by their names there.
var labels = map[string]string{
	"brand":     "webordinary",
	"reference": "Reference",
	"details":   "What is happening in detail",
	"output":    "The last lines of output",
	"done":      wordDone,
	"active":    wordActive,
	"reused":    wordReused,
	"noscript":  "This page looks again every 3 seconds.",
	"late":      "This takes longer than usual. You can leave this page open: the preview opens by itself.",
	"elapsed":   "Elapsed:",
	"left":      wordLeft,
	"minutes":   wordMinutes,
	"soon":      wordSoon,
	"longer":    wordLonger,
	"seconds":   "s",
	"sleep":     "Put to sleep",
}

const (
	wordDone        = "done"
	wordActive      = "in progress"
	wordFailed      = "stopped here"
	wordReused      = "nothing to do"
	wordTryAgain    = "Try again"
	wordPreview     = "Preview"
	wordSavingFirst = "saving what was open before"
	// # stands for the number.
	wordLeft    = "About # seconds left."
	wordMinutes = "About # minutes left."
	wordSoon    = "A few seconds left."
	wordLonger  = "This takes longer than last time."
)

// wordsLeft says how long a start lasts yet, as roughly as that can be known; the script
// of the page does the same.
func wordsLeft(left time.Duration) string {
	seconds := int(math.Round(left.Seconds()))
	switch {
	case seconds < -5:
		return wordLonger
	case seconds < 8:
		return wordSoon
	case seconds < 90:
		return strings.Replace(wordLeft, "#", strconv.Itoa((seconds+4)/5*5), 1)
	}
	return strings.Replace(wordMinutes, "#", strconv.Itoa((seconds+30)/60), 1)
}

// prose is what a page says: a title and a few paragraphs.
type prose struct {
	title      string
	paragraphs []string
}

func wordsNotFound() prose {
	return prose{"There is nothing here", []string{
		"This address leads to no preview. It may be mistyped, or the preview was deleted.",
		"Check the address, or ask whoever sent you the link for a new one.",
	}}
}

func wordsDisabled() prose {
	return prose{"Editing is switched off", []string{
		"The previews of this site are switched off at the moment. Nothing that was edited is lost.",
		"Please ask the people who look after your site to switch them on again.",
	}}
}

func wordsUnavailable() prose {
	return prose{"One moment, please", []string{
		"Previews cannot be reached right now. The fault is ours, not yours, and nothing that was edited is lost.",
		"Please try again shortly.",
	}}
}

func wordsNoTable(failing bool) prose {
	why := "This server has just started and is still reading the list of the sites that it serves. That takes a few seconds."
	if failing {
		why = "This server has just started, and the list of the sites that it serves cannot be read at the moment. It keeps trying. The fault is ours, not yours, and nothing that was edited is lost."
	}
	return prose{"One moment, please", []string{why, "Please try again shortly."}}
}

func wordsMethodNotAllowed() prose {
	return prose{"That does not work here", []string{
		"This address can be looked at, but it takes nothing that is sent to it.",
		"Go back to the page you came from and try again.",
	}}
}

func wordsCrossSite() prose {
	return prose{"That came from another site", []string{
		"Another web site asked for something that only you may ask for, so it was refused.",
		"If you meant to do it, open your preview and do it there.",
	}}
}

func wordsAmbiguous() prose {
	return prose{"Which preview is this for?", []string{
		"It could not be told which preview this belongs to.",
		"Open the preview again from its own link, and reload it.",
	}}
}

func wordsWaiting() prose {
	return prose{"Waking up your preview", []string{
		"It opens here by itself: in a few seconds if it was open lately, in a minute or two the first time.",
	}}
}

func wordsFailed(f bootapi.Failure) prose {
	p := prose{title: "Your preview could not start"}
	if f.Retryable {
		p.paragraphs = append(p.paragraphs, "This often passes by itself, so please try again. If it keeps happening, send the reference below to the people who look after your site.")
	} else {
		p.paragraphs = append(p.paragraphs, "Something has to be put right before it can start. Please send the reference below to the people who look after your site, then try again.")
	}
	return p
}

// wordCause stands where a failure came without a cause.
const wordCause = "The reason is not known."

func wordsLimit(maximum int, listed bool) prose {
	p := prose{title: "All previews are in use"}
	running := "All previews of this site that may run at the same time are running."
	switch {
	case maximum == 1:
		running = "One preview of this site may run at a time, and one is running."
	case maximum > 1:
		running = fmt.Sprintf("Up to %d previews of this site may run at the same time, and as many are running.", maximum)
	}
	p.paragraphs = append(p.paragraphs, running)
	if listed {
		p.paragraphs = append(p.paragraphs, "Put one to sleep that nobody needs now. Its work is saved first, and it wakes again whenever somebody opens it.")
	} else {
		p.paragraphs = append(p.paragraphs, "A preview falls asleep by itself some time after it was last used. Please try again later, or ask your colleagues whether one of theirs can be closed.")
	}
	return p
}

func wordsNew() prose {
	return prose{"Start a new preview", []string{
		"You get a copy of your site to work on. What you change there stays there until it is published.",
	}}
}

const wordStart = "Start"

// wordStep names a phase of a start; "" for one that is not shown.
func wordStep(p bootapi.Phase) string {
	switch p {
	case bootapi.PhaseStarting:
		return "Starting your workspace"
	case bootapi.PhaseCloning:
		return "Fetching your site"
	case bootapi.PhaseInstalling:
		return "Installing packages"
	case bootapi.PhaseBuilding:
		return "Building the pages"
	case bootapi.PhaseReady:
		return "Opening the preview"
	}
	return ""
}

// wordAwake says for how long a session has been awake.
func wordAwake(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "awake for less than a minute"
	case d < 2*time.Minute:
		return "awake for a minute"
	case d < time.Hour:
		return fmt.Sprintf("awake for %d minutes", int(d.Minutes()))
	case d < 2*time.Hour:
		return "awake for an hour"
	}
	return fmt.Sprintf("awake for %d hours", int(d.Hours()))
}

// What programs are told, in the error field of a machine's answer.
const (
	errorNotFound         = "not found"
	errorDisabled         = "editing is disabled for this client"
	errorUnavailable      = "temporarily unavailable"
	errorStarting         = "no routing table yet: it is being loaded"
	errorNoTable          = "no routing table yet: the config store cannot be read"
	errorMethodNotAllowed = "method not allowed"
	errorCrossSite        = "cross-site request refused"
	errorAmbiguous        = "the session cannot be told"
	errorWaiting          = "the session is starting"
	errorFailed           = "the session could not start"
	errorLimit            = "too many sessions are running"
	errorNew              = "send a POST request to create a session"
)
