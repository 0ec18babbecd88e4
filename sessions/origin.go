package sessions

import (
	"fmt"
	"strconv"
	"strings"
)

// PublicOrigin is how visitors reach the edges: scheme and port. The zero value is
// https on its usual port.
type PublicOrigin struct {
	Scheme string // "http" or "https"; "" is https
	Port   int    // 0: the scheme's own
}

// ParsePublicOrigin reads "https://", "http://:8080" and the like: a scheme and, if
// it is not the scheme's own, a port; no host, because that is each client's.
func ParsePublicOrigin(s string) (PublicOrigin, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || (scheme != "http" && scheme != "https") {
		return PublicOrigin{}, fmt.Errorf("public origin %q: must begin with http:// or https://", s)
	}
	o := PublicOrigin{Scheme: scheme}
	if rest == "" {
		return o, nil
	}
	digits, ok := strings.CutPrefix(rest, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || port == 0 {
		return PublicOrigin{}, fmt.Errorf("public origin %q: after the scheme only a port may follow, as in http://:8080", s)
	}
	if usual := map[string]uint64{"http": 80, "https": 443}[scheme]; port != usual {
		o.Port = int(port)
	}
	return o, nil
}

// String is the form that ParsePublicOrigin reads.
func (o PublicOrigin) String() string { return o.url("") }

// URL is the origin with a client's host.
func (o PublicOrigin) URL(host string) string { return o.url(host) }

// PreviewURL is the address of a session on a client's edit host.
func (o PublicOrigin) PreviewURL(host, sessionID string) string {
	return o.url(host) + Prefix(sessionID)
}

func (o PublicOrigin) url(host string) string {
	u := o.Scheme
	if u == "" {
		u = "https"
	}
	u += "://" + host
	if o.Port != 0 {
		u += ":" + strconv.Itoa(o.Port)
	}
	return u
}
