package sessions

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strconv"
	"strings"
)

// URL is the origin with a client's host.
func (o PublicOrigin) URL(host string) string { return o.url(host) }

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

// LookupThread is Lookup for the session of a client's thread.
func (s *Service) LookupThread(ctx context.Context, clientID, threadID string) (View, error) {
	if len(threadID) == 0 || len(threadID) > maxIDLength {
		return View{}, ErrNotFound
	}
	key := threadKey(clientID, threadID)
	if s.unknown.has(key) {
		return View{}, ErrNotFound
	}
	r, err := s.registry.ByThread(ctx, clientID, threadID)
	if errors.Is(err, ErrNotFound) {
		s.unknown.add(key)
	}
	if err != nil {
		return View{}, err
	}
	return s.Lookup(ctx, r.SessionID)
}

// Prefix is the path under which the session is served.
func (r *Route) Prefix() string { return Prefix(r.SessionID) }

// PoolKey is a host name that no other session and no other epoch has: connections of
// one are never used for another. Ids of the older tools hold characters that no host
// may.
func (r *Route) PoolKey() string {
	id := r.SessionID
	if !IsUnguessable(id) {
		id = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(id)))
	}
	return strconv.FormatInt(r.Epoch, 10) + "." + id
}
