package configstore

import (
	"maps"
	"slices"
)

// overlay holds what changed since a base was built. It is small, immutable once
// published, and looked at first.
type overlay struct {
	// hosts has the new route of each host that changed; nil: no longer routed.
	hosts map[string]*live
	// ids has each client that changed; nil: deleted.
	ids map[string]*live
}

// live is a client in the overlay.
type live struct {
	entry Entry
	route Route
}

// editor makes the next overlay from the present generation and a list of changes.
type editor struct {
	base     *base
	patterns []HostPattern
	// contested has every host that several clients are entitled to, with their ids.
	contested map[string][]string
	next      overlay
	clients   int // change of the number of clients
	hosts     int // change of the number of routed hosts
	changed   bool
	faults    []RowFault
}

// newEditor copies the overlay; contested is the table's own and is changed in place.
func newEditor(g *generation, contested map[string][]string) *editor {
	e := &editor{base: g.base, patterns: g.patterns, contested: contested}
	e.next.hosts = maps.Clone(g.overlay.hosts)
	e.next.ids = maps.Clone(g.overlay.ids)
	if e.next.hosts == nil {
		e.next.hosts = make(map[string]*live)
		e.next.ids = make(map[string]*live)
	}
	return e
}

// apply takes a change in, unless what is known is as new.
func (e *editor) apply(c Change) {
	known := e.client(c.ClientID)
	if c.Deleted {
		if known != nil && c.Version >= known.entry.Version {
			e.remove(known)
		}
		return
	}
	entry := c.Entry
	if known != nil && (entry.Version < known.entry.Version || sameEntry(entry, known.entry)) {
		return
	}
	if known != nil {
		e.remove(known)
	}
	if reason := entry.Fault(); reason != "" {
		e.faults = append(e.faults, RowFault{ClientID: entry.ClientID, Reason: reason})
		return
	}
	e.add(entry)
}

func sameEntry(a, b Entry) bool {
	return a.Version == b.Version && a.Disabled == b.Disabled && a.Settings == b.Settings &&
		a.Broken == b.Broken && slices.Equal(a.Hosts, b.Hosts)
}

// client returns a client as it stands; nil if there is none.
func (e *editor) client(id string) *live {
	if l, ok := e.next.ids[id]; ok {
		return l
	}
	row, ok := e.base.byID(id)
	if !ok {
		return nil
	}
	return &live{entry: e.base.entry(row), route: e.base.route(row)}
}

// holder returns the id of the client to whom a host is routed.
func (e *editor) holder(host string) (id string, ok bool) {
	if l, ok := e.next.hosts[host]; ok {
		if l == nil {
			return "", false
		}
		return l.route.ClientID, true
	}
	row, ok := e.base.lookup(host)
	if !ok {
		return "", false
	}
	return e.base.string(e.base.rows[row].id), true
}

func (e *editor) add(entry Entry) {
	hosts, faults := entitledHosts(entry.ClientID, entry.Hosts, e.patterns)
	e.faults = append(e.faults, faults...)
	l := &live{entry: entry, route: Route{
		ClientID: entry.ClientID,
		Settings: entry.Settings,
		Version:  entry.Version,
		Disabled: entry.Disabled,
	}}
	if len(hosts) > 0 {
		l.route.EditHost = hosts[0]
	}
	e.next.ids[entry.ClientID] = l
	e.changed = true
	e.clients++
	for _, host := range hosts {
		if holder, ok := e.holder(host); ok {
			if len(e.contested[host]) == 0 {
				e.contested[host] = []string{holder}
			}
			e.contested[host] = append(e.contested[host], entry.ClientID)
			winner := e.best(e.contested[host])
			loser := entry.ClientID
			if winner == l {
				loser = holder
			}
			e.faults = append(e.faults, contestedFault(loser, host))
			e.next.hosts[host] = winner
			continue
		}
		e.next.hosts[host] = l
		e.hosts++
	}
}

// remove takes a client out; a host that others are entitled to as well goes to the best of them.
func (e *editor) remove(l *live) {
	id := l.entry.ClientID
	hosts, _ := entitledHosts(id, l.entry.Hosts, e.patterns)
	e.next.ids[id] = nil
	e.changed = true
	e.clients--
	for _, host := range hosts {
		others := slices.DeleteFunc(slices.Clone(e.contested[host]), func(other string) bool { return other == id })
		if len(others) == 0 {
			e.next.hosts[host] = nil
			e.hosts--
			continue
		}
		e.next.hosts[host] = e.best(others)
		if len(others) == 1 {
			delete(e.contested, host)
		} else {
			e.contested[host] = others
		}
	}
}

// best returns the client with the best right to a contested host.
func (e *editor) best(ids []string) *live {
	var winner *live
	for _, id := range ids {
		l := e.client(id)
		if winner == nil || l.claimant().before(winner.claimant()) {
			winner = l
		}
	}
	return winner
}

func (l *live) claimant() claimant {
	return claimant{id: l.route.ClientID, version: l.route.Version}
}
