package sessions

import (
	"crypto/rand"
	"net/url"
	"strings"
)

// Prefix is the path under which a session is served, without a slash at its end.
// The ids of the older tools hold characters that are percent-encoded here.
func Prefix(sessionID string) string { return "/session/" + url.PathEscape(sessionID) }

// NewID returns the id of a new session: 26 characters of a-z and 2-7, 130 random bits.
func NewID() string { return strings.ToLower(rand.Text()) }

// idLength is the length of an id as NewID makes it.
const idLength = 26

// IsUnguessable reports whether an id has the form of NewID. Ids of the older tools, and
// the names of threads, have less than 128 random bits.
func IsUnguessable(id string) bool {
	if len(id) != idLength {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// NewEdgeID returns a new name for a process that is an edge.
func NewEdgeID() string { return strings.ToLower(rand.Text()[:12]) }
