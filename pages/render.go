package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"strings"
	"unicode/utf8"

	"github.com/webordinary/router/containerboot/bootapi"
)

// The one document, its style sheet, and the script of the waiting page.
var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS string
	//go:embed still.css
	stillCSS string
	//go:embed waiting.js
	waitingJS string

	styleLive  = squeezeCSS(styleCSS)
	styleStill = squeezeCSS(styleCSS + stillCSS)
	script     = squeeze(waitingJS)

	document = template.Must(template.New("page").Option("missingkey=error").Parse(squeeze(pageHTML)))

	policyStill = policy(styleStill, "script-src 'none'")
	policyLive  = policy(styleLive, "script-src '"+sourceHash(script)+"'; connect-src 'self'")
)

// view is all that the document can show. Parts that are empty are left out.
type view struct {
	prose
	Client    string
	Cause     string
	Live      *live
	Steps     []step
	Log       []string
	Button    *button
	Sessions  []sessionView
	Again     string // label of a link to the same address
	RequestID string

	// guarded: other sites may not frame the page.
	guarded bool
}

// live makes the page follow an event stream.
type live struct {
	EventsURL     string
	ElapsedMillis int64
	Left          string // how long it lasts yet; empty where nobody knows
}

// Seconds is the time shown until the script counts on.
func (l live) Seconds() int64 { return l.ElapsedMillis / 1000 }

// step is one phase in the list.
type step struct {
	Phase  bootapi.Phase
	State  string // pending, active, done, failed
	Label  string
	Spoken string // the state in a word, for screen readers
	Note   string
	Reuse  string
}

// button is a form with nothing but a button.
type button struct{ Action, Label string }

type sessionView struct{ URL, Name, Awake, SleepURL string }

// Title and Paragraphs are for the template.
func (v view) Title() string        { return v.title }
func (v view) Paragraphs() []string { return v.paragraphs }
func (v view) Script() template.JS  { return template.JS(script) }

// Style is the style sheet. The page that waits, whose size is bounded, has no more of
// it than it needs.
func (v view) Style() template.CSS {
	if v.Live != nil {
		return template.CSS(styleLive)
	}
	return template.CSS(styleStill)
}

// Word returns a word of words.go by the name that the document has for it.
func (v view) Word(name string) string { return labels[name] }

// render makes a page of a view, and of the words for a program.
func render(status int, machine string, v view) Page {
	v.Client, v.RequestID = shorten(v.Client, maxName), shorten(v.RequestID, maxName)
	if v.Live != nil && (!utf8.ValidString(v.Live.EventsURL) || len(template.HTMLEscapeString(v.Live.EventsURL)) > maxAddress) {
		v.Live.EventsURL = "" // the page loads again every 3 seconds
	}
	var body bytes.Buffer
	if err := document.Execute(&body, v); err != nil {
		panic(err) // a fault of the document, which each page's test would show
	}
	h := commonHeader("text/html; charset=utf-8")
	csp := policyStill
	if v.Live != nil {
		csp = policyLive
	}
	if v.guarded {
		csp += "; frame-ancestors 'self'"
	}
	h.Set("Content-Security-Policy", csp)
	return Page{Status: status, Header: h, Body: body.Bytes(), problem: problem{Error: machine, Status: status, RequestID: v.RequestID}}
}

func policy(style, scripts string) string {
	return "default-src 'none'; style-src '" + sourceHash(style) + "'; " + scripts +
		"; img-src data:; form-action 'self'; base-uri 'none'"
}

// sourceHash is how a policy names an inline style or script.
func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// squeeze takes indentation, empty lines and lines of comment out of a source.
func squeeze(source string) string {
	var out strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "/*") && strings.HasSuffix(line, "*/") {
			continue
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// squeezeCSS is squeeze for style sheets, in which line ends and the spaces around
// punctuation mean nothing.
func squeezeCSS(source string) string {
	return strings.NewReplacer("\n", "", " { ", "{", " {", "{", " }", "}", ": ", ":", "; ", ";", ", ", ",", " > ", ">", " + ", "+").Replace(squeeze(source))
}
