package configstore

import (
	"fmt"
	"slices"
)

// RowFault says why a stored client, or one of its hosts, is not routed. Validation and
// the store's claims refuse such rows: something else has written them.
type RowFault struct {
	ClientID string
	// Host is the host concerned; empty where it is the client as a whole.
	Host   string
	Reason string
}

// entitledHosts returns the hosts to which a client is entitled, each once, the edit
// host first: those that it names, unless a pattern gives them to somebody else, and
// those that the patterns give it. Other rows play no part in it.
func entitledHosts(id string, named []string, patterns []HostPattern) (hosts []string, faults []RowFault) {
	hosts = make([]string, 0, len(named)+len(patterns))
	take := func(host string) {
		owner, by, ok := patternOwner(patterns, host)
		switch {
		case ok && owner != id:
			faults = append(faults, RowFault{id, host, fmt.Sprintf("is another client's by the host pattern %s", by)})
		case !slices.Contains(hosts, host):
			hosts = append(hosts, host)
		}
	}
	for _, host := range named {
		take(host)
	}
	for _, p := range patterns {
		host := p.Host(id)
		if _, err := checkHost(host); err != nil {
			faults = append(faults, RowFault{id, host, fmt.Sprintf("is no valid host, made by the host pattern %s", p)})
			continue
		}
		take(host)
	}
	return hosts, faults
}

// claimant is one of several clients that name the same host.
type claimant struct {
	id      string
	version int64
}

// before reports whether c has the better right to a contested host, in the same way
// on every edge: rows of our tools, which claim their hosts in the store, come before
// those of the older tools (version 0), then ids count.
func (c claimant) before(other claimant) bool {
	if (c.version > 0) != (other.version > 0) {
		return c.version > 0
	}
	return c.id < other.id
}

func contestedFault(id, host string) RowFault {
	return RowFault{id, host, "is claimed by another client too, which keeps it"}
}
