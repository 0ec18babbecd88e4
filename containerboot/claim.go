package containerboot

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
)

// serveClaim takes the claim that makes this container a session's. The token in it
// is its credential.
func (s *server) serveClaim(w http.ResponseWriter, r *http.Request) {
	if s.tokenHash == "" {
		refuse(w, http.StatusNotFound, "no such path")
		return
	}
	var claim bootapi.Claim
	if !readPost(w, r, maxClaim, &claim) {
		return
	}
	if !bootapi.TokenMatches(claim.Token, s.tokenHash) {
		refuse(w, http.StatusForbidden, "the claim's token is not the one of this container")
		return
	}
	if err := checkClaim(&claim); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.hear()
	switch err := s.take(claim); {
	case errors.Is(err, errEnding):
		unavailable(w, err.Error())
		return
	case errors.Is(err, errConflict):
		refuse(w, http.StatusConflict, err.Error())
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, s.board.Status())
}

var (
	// errConflict: the container is another claim's.
	errConflict = errors.New("this container is another claim's")
	// errEnding: the container ends.
	errEnding = errors.New("this container is about to end")
)

// take starts the session of a claim, unless it was started already. errConflict if
// another claim holds the container, errEnding after endClaims.
func (s *server) take(claim bootapi.Claim) error {
	s.claiming.Lock()
	defer s.claiming.Unlock()
	if s.ending {
		return errEnding
	}
	if s.claim != nil {
		if !reflect.DeepEqual(*s.claim, claim) {
			return errConflict
		}
		return nil
	}
	if s.sessionID != "" && s.sessionID != claim.SessionID {
		return fmt.Errorf("%w: it was started for another session", errConflict)
	}
	session, err := s.start(claim)
	if err != nil {
		return err
	}
	s.claim = &claim
	s.session.Store(session)
	return nil
}

// endClaims refuses claims from now on and returns the session; nil if there is none.
func (s *server) endClaims() *session {
	s.claiming.Lock()
	defer s.claiming.Unlock()
	s.ending = true
	return s.session.Load()
}

// checkClaim reports every fault of a claim.
func checkClaim(c *bootapi.Claim) error {
	var faults []error
	fault := func(field, why string) {
		faults = append(faults, fmt.Errorf("%s: %s", field, why))
	}
	for _, f := range [][2]string{
		{"sessionId", c.SessionID},
		{"site.repositoryUrl", c.Site.RepositoryURL},
		{"site.branch", c.Site.Branch},
		{"editBranch", c.EditBranch},
	} {
		if f[1] == "" {
			fault(f[0], "must be set")
		}
	}
	// It becomes a folder's name in the cache.
	if !configstore.ValidClientID(c.ClientID) {
		fault("clientId", "must be one lower-case DNS label")
	}
	if c.Epoch < 0 {
		fault("epoch", "must not be negative")
	}
	if c.AbandonAfterSeconds < 0 {
		fault("abandonAfterSeconds", "must not be negative")
	}
	if c.Prefix != "" && (!strings.HasPrefix(c.Prefix, "/") || strings.HasSuffix(c.Prefix, "/")) {
		fault("prefix", "must be empty, or begin and not end with a slash")
	}
	if _, err := url.PathUnescape(c.Prefix); err != nil {
		fault("prefix", "must be a well-formed path")
	}
	for _, f := range [][2]string{
		{"site.directory", c.Site.Directory},
		{"site.output", c.Site.Output},
	} {
		if !isBelow(f[1]) {
			fault(f[0], "must be a relative path without ..")
		}
	}
	if c.Site.HealthPath != "" && !strings.HasPrefix(c.Site.HealthPath, "/") {
		fault("site.healthPath", "must begin with a slash")
	}
	for name, value := range c.Site.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			fault("site.env", "holds a name or value that no environment can")
		}
	}
	return errors.Join(faults...)
}

// isBelow reports whether a slash-separated path, which may be empty, stays below
// the folder that it starts from.
func isBelow(path string) bool {
	if strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			return false
		}
	}
	return true
}
