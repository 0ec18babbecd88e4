package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/filters"

	"github.com/webordinary/router/sessions"
)

// Labels of what is on the engine.
const (
	labelDeployment = "com.webordinary.deployment"
	labelClient     = "com.webordinary.client"
	labelSession    = "com.webordinary.session"
	labelEpoch      = "com.webordinary.epoch"
	labelSize       = "com.webordinary.size"
	// labelUnsaved marks a container whose workspace may have held unsaved work already
	// when it was made.
	labelUnsaved = "com.webordinary.unsaved"
)

const (
	refPrefix    = "docker:"
	maxSessionID = 200
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseRef returns the id of a container from its reference. ErrNoContainer if it is
// none of ours. Ids are taken whole: the engine would know them by their beginnings.
func parseRef(ref string) (id string, err error) {
	id, ok := strings.CutPrefix(ref, refPrefix)
	if !ok || !idPattern.MatchString(id) {
		return "", fmt.Errorf("reference %q is not one of the docker runner: %w", ref, sessions.ErrNoContainer)
	}
	return id, nil
}

// sessionName is the name of a session's container and of its volume: something of its
// id that a person may recognise, and a hash that is its alone.
func (r *Runner) sessionName(sessionID string) string {
	return r.deployment + "-" + hashed(sessionID)
}

// cacheName is the name of the volume of a client's caches.
func (r *Runner) cacheName(clientID string) string {
	return r.deployment + "-cache-" + hashed(clientID)
}

// hashed makes a name that the engine accepts of any text, and another one of any other.
func hashed(text string) string {
	readable := []byte(text)
	for i, c := range readable {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			readable[i] = '_'
		}
	}
	sum := sha256.Sum256([]byte(text))
	return string(readable[:min(len(readable), 16)]) + "-" + hex.EncodeToString(sum[:12])
}

// labelled selects what has a label of this deployment's.
func (r *Runner) labelled(label, value string) filters.Args {
	args := filters.NewArgs(filters.Arg("label", labelDeployment+"="+r.deployment))
	if value != "" {
		label += "=" + value
	}
	args.Add("label", label)
	return args
}

// epochOf reads the epoch from a container's labels; 0 if there is none.
func epochOf(labels map[string]string) int64 {
	epoch, err := strconv.ParseInt(labels[labelEpoch], 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}
