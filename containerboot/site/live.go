package site

import (
	_ "embed"
	"fmt"
	"net/http"

	"github.com/webordinary/router/containerboot/bootapi"
)

// liveScript has a page that is open load itself again once another build is served.
//
//go:embed live.js
var liveScript []byte

// livePath is where it is served, below the session's prefix.
const livePath = "/.webordinary/live.js"

// liveTag is the tag that a document of a build gets at the end of its head. Fragments,
// which have none, get none.
func (s *Site) liveTag(id string) []byte {
	if !s.live {
		return nil
	}
	prefix := escapePath(s.prefix)
	return fmt.Appendf(nil, `<script async src="%s" data-build="%s" data-events="%s"></script>`,
		prefix+livePath, id, prefix+bootapi.PathEvents)
}

func serveLiveScript(w http.ResponseWriter, r *http.Request) {
	f := &file{
		body: liveScript, size: int64(len(liveScript)), contentType: []string{contentType(livePath)},
		cacheControl: []string{"no-cache"}, etag: []string{etagOf(liveScript)},
	}
	answer{status: http.StatusOK, file: f}.write(w, r)
}
