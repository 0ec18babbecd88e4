package configstore

import (
	"hash/maphash"
)

// base is the routing table as of one load: immutable, and compact. It has a handful of
// pointers however many clients there are, so that the garbage collector has nothing
// to follow, and takes some 200 bytes a client.
type base struct {
	// text holds all ids and hosts end to end; spans point into it.
	text string
	rows []baseRow
	// claims holds the hosts that each row names, run by run. Those that it was not
	// granted are among them, so that they can be granted under other patterns.
	claims []span
	// granted holds every routed host once.
	granted []grant
	// hostSlots and idSlots are hash tables with open addressing, at most half full:
	// 1 + an index of granted or rows; 0 is empty.
	hostSlots, idSlots []uint32
	seed               maphash.Seed
}

// span is a part of base.text.
type span struct {
	at  uint32
	len uint8
}

// grant says which row a host is routed to.
type grant struct {
	host span
	row  uint32
}

// baseRow is one client.
type baseRow struct {
	version     int64
	firstClaim  uint32
	maxLifetime uint32 // minutes
	id, edit    span
	idleTimeout uint16 // minutes
	maxSessions uint16
	claims      uint8
	size, wake  uint8 // indexes of containerSizes and wakeOns
	disabled    bool
	replaced    bool // by a newer row of the same client
}

// The values of the settings that rows hold by index.
var (
	containerSizes = [...]ContainerSize{SizeSmall, SizeMedium, SizeLarge}
	wakeOns        = [...]WakeOn{"", WakeOnNavigation, WakeOnAny}
)

func (b *base) string(s span) string { return b.text[s.at : s.at+uint32(s.len)] }

// lookup finds the row of a host.
func (b *base) lookup(host string) (row uint32, ok bool) {
	if len(b.hostSlots) == 0 {
		return 0, false
	}
	mask := uint64(len(b.hostSlots) - 1)
	for i := maphash.String(b.seed, host) & mask; b.hostSlots[i] != 0; i = (i + 1) & mask {
		if g := &b.granted[b.hostSlots[i]-1]; b.string(g.host) == host {
			return g.row, true
		}
	}
	return 0, false
}

// byID finds the row of a client.
func (b *base) byID(id string) (row uint32, ok bool) {
	if len(b.idSlots) == 0 {
		return 0, false
	}
	mask := uint64(len(b.idSlots) - 1)
	for i := maphash.String(b.seed, id) & mask; b.idSlots[i] != 0; i = (i + 1) & mask {
		if row := b.idSlots[i] - 1; b.string(b.rows[row].id) == id {
			return row, true
		}
	}
	return 0, false
}

// route makes the route of a row, of strings that point into text.
func (b *base) route(row uint32) Route {
	r := &b.rows[row]
	return Route{
		ClientID: b.string(r.id),
		EditHost: b.string(r.edit),
		Settings: r.settings(),
		Version:  r.version,
		Disabled: r.disabled,
	}
}

// entry makes the entry that a row was built of.
func (b *base) entry(row uint32) Entry {
	r := &b.rows[row]
	hosts := make([]string, r.claims)
	for i := range hosts {
		hosts[i] = b.string(b.claims[r.firstClaim+uint32(i)])
	}
	return Entry{
		ClientID: b.string(r.id),
		Hosts:    hosts,
		Settings: r.settings(),
		Version:  r.version,
		Disabled: r.disabled,
	}
}

func (r *baseRow) settings() Settings {
	return Settings{
		ContainerSize:         containerSizes[r.size],
		IdleTimeoutMinutes:    int(r.idleTimeout),
		MaxConcurrentSessions: int(r.maxSessions),
		MaxLifetimeMinutes:    int(r.maxLifetime),
		WakeOn:                wakeOns[r.wake],
	}
}
