package configstore

import (
	"fmt"
	"strings"
)

// clientPlaceholder is what a host pattern has in the place of a client's id.
const clientPlaceholder = "{client}"

// HostPattern gives every client one more edit host: "edit.{client}.example.com", or
// "{client}-edit.example.com". The zero value matches nothing; use ParseHostPattern.
type HostPattern struct {
	prefix, suffix string
}

// ParseHostPattern reads a pattern. It must hold {client} exactly once, be a valid host
// name for an ordinary client id, and have more labels than the client's. An
// internationalised name is written in its A-label form (xn--…).
func ParseHostPattern(s string) (HostPattern, error) {
	if strings.Count(s, clientPlaceholder) != 1 {
		return HostPattern{}, fmt.Errorf("host pattern %q: must hold %s exactly once", s, clientPlaceholder)
	}
	lower := strings.ToLower(s)
	prefix, suffix, _ := strings.Cut(strings.TrimSuffix(lower, "."), clientPlaceholder)
	p := HostPattern{prefix: prefix, suffix: suffix}
	example := p.Host("c")
	if !strings.Contains(example, ".") {
		return HostPattern{}, fmt.Errorf("host pattern %q: must have a domain beside %s", s, clientPlaceholder)
	}
	if label := prefix[strings.LastIndexByte(prefix, '.')+1:]; strings.HasPrefix(label, "xn--") {
		return HostPattern{}, fmt.Errorf("host pattern %q: %s cannot be part of an A-label", s, clientPlaceholder)
	}
	normal, err := NormalizeHost(example)
	if err != nil {
		return HostPattern{}, fmt.Errorf("host pattern %q: %w", s, err)
	}
	if normal != example {
		return HostPattern{}, fmt.Errorf("host pattern %q: must be plain ASCII without a port", s)
	}
	return p, nil
}

// String returns the pattern as it is written in configuration.
func (p HostPattern) String() string { return p.prefix + clientPlaceholder + p.suffix }

// Host returns the host that the pattern gives a client. For an id which makes a label
// or name too long it is no valid host; Validate refuses such ids.
func (p HostPattern) Host(clientID string) string { return p.prefix + clientID + p.suffix }

// Match returns the id of the client to whom the pattern gives a normalised host,
// whether there is such a client or not.
func (p HostPattern) Match(host string) (clientID string, ok bool) {
	if p.suffix == "" && p.prefix == "" || len(host) <= len(p.prefix)+len(p.suffix) {
		return "", false
	}
	if !strings.HasPrefix(host, p.prefix) || !strings.HasSuffix(host, p.suffix) {
		return "", false
	}
	id := host[len(p.prefix) : len(host)-len(p.suffix)]
	return id, ValidClientID(id)
}

// patternOwner returns to whom the patterns give a host. Where two patterns give it to
// two clients, the earlier pattern counts.
func patternOwner(patterns []HostPattern, host string) (id string, by HostPattern, ok bool) {
	for _, p := range patterns {
		if id, ok := p.Match(host); ok {
			return id, p, true
		}
	}
	return "", HostPattern{}, false
}

// ValidClientID reports whether id is one lower-case DNS label.
func ValidClientID(id string) bool {
	if id == "" || len(id) > maxLabel || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}
