// Package pages makes what people see while they wait for a session or are refused:
// small self-contained documents in one visual family, each with its answer for
// programs.
//
// Every page stands under a strict content security policy, in which its one style
// sheet and its one script are named by their hashes, and is never stored. A page
// whose buttons cost somebody something (create a session, put one to sleep) may only
// be framed by its own host, so that no other site can have it clicked unseen. All
// others may be framed by anyone: editors embed previews, and must see there that one
// is waking or why it is not.
package pages

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// Page is an answer: a document, or what a program gets in its place. It belongs to
// one request, since it shows that request's id.
type Page struct {
	Status int
	Header http.Header
	Body   []byte

	problem problem
}

// problem is the answer for programs.
type problem struct {
	Error     string        `json:"error"`
	Status    int           `json:"status"`
	Phase     bootapi.Phase `json:"phase,omitempty"`
	RequestID string        `json:"requestId"`
}

// Machine returns the page as a program gets it: the same status and Retry-After, and
// in JSON the fields error, status, requestId and, where a session is starting or
// failed, phase.
func (p Page) Machine() Page {
	body, err := json.Marshal(p.problem)
	if err != nil {
		panic(err) // strings and numbers only
	}
	m := Page{Status: p.Status, Header: commonHeader("application/json"), Body: append(body, '\n'), problem: p.problem}
	if after := p.Header.Values("Retry-After"); len(after) > 0 {
		m.Header["Retry-After"] = after
	}
	return m
}

// Write answers a request with the page; HEAD gets its headers only. The error is that
// of a visitor who left.
func (p Page) Write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	maps.Copy(h, p.Header)
	h.Set("Content-Length", strconv.Itoa(len(p.Body)))
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(p.Body)
	return err
}

func commonHeader(contentType string) http.Header {
	return http.Header{
		"Content-Type":           {contentType},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		// A session's address lets people in: no other site is told of it.
		"Referrer-Policy": {"same-origin"},
		"X-Robots-Tag":    {"noindex"},
	}
}

// retryAfter sets the header of that name, in whole seconds and at least one; a
// duration of zero sets none.
func (p Page) retryAfter(d time.Duration) Page {
	if d > 0 {
		p.Header.Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
	}
	return p
}
