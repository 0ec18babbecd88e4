package configstore

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// baseBuilder gathers entries and makes a base of them.
type baseBuilder struct {
	base   base
	text   []byte
	faults []RowFault
}

// add takes an entry in; one that cannot be routed is left out and reported.
func (bb *baseBuilder) add(e Entry) {
	if reason := e.Fault(); reason != "" {
		bb.faults = append(bb.faults, RowFault{ClientID: e.ClientID, Reason: reason})
		return
	}
	row := baseRow{
		version:     e.Version,
		firstClaim:  uint32(len(bb.base.claims)),
		maxLifetime: uint32(e.Settings.MaxLifetimeMinutes),
		id:          bb.span(e.ClientID),
		idleTimeout: uint16(e.Settings.IdleTimeoutMinutes),
		maxSessions: uint16(e.Settings.MaxConcurrentSessions),
		claims:      uint8(len(e.Hosts)),
		size:        uint8(slices.Index(containerSizes[:], e.Settings.ContainerSize)),
		wake:        uint8(slices.Index(wakeOns[:], e.Settings.WakeOn)),
		disabled:    e.Disabled,
	}
	for _, host := range e.Hosts {
		bb.base.claims = append(bb.base.claims, bb.span(host))
	}
	bb.base.rows = append(bb.base.rows, row)
}

// span appends to the text; hosts and ids are at most 253 bytes long.
func (bb *baseBuilder) span(s string) span {
	at := uint32(len(bb.text))
	bb.text = append(bb.text, s...)
	return span{at, uint8(len(s))}
}

// finish grants the hosts. contested are those which several clients claim, with all
// their claimants. The builder must not be used after.
func (bb *baseBuilder) finish(patterns []HostPattern) (b *base, contested map[string][]string) {
	bb.base.seed = maphash.MakeSeed()
	bb.indexIDs()
	contested = bb.grantHosts(patterns)
	// Copies of the right size, so that what grew by doubling is let go with the builder.
	return &base{
		text:      string(bb.text),
		rows:      slices.Clip(slices.Clone(bb.base.rows)),
		claims:    slices.Clip(slices.Clone(bb.base.claims)),
		granted:   slices.Clip(slices.Clone(bb.base.granted)),
		hostSlots: bb.base.hostSlots,
		idSlots:   bb.base.idSlots,
		seed:      bb.base.seed,
	}, contested
}

func (bb *baseBuilder) bytes(s span) []byte { return bb.text[s.at : s.at+uint32(s.len)] }

// indexIDs fills idSlots; of two rows of one client the newer one stays.
func (bb *baseBuilder) indexIDs() {
	rows := bb.base.rows
	bb.base.idSlots = make([]uint32, slotsFor(len(rows)))
	for i := range rows {
		slot := probe(bb.base.idSlots, maphash.Bytes(bb.base.seed, bb.bytes(rows[i].id)), func(other uint32) bool {
			return bytes.Equal(bb.bytes(rows[other].id), bb.bytes(rows[i].id))
		})
		if other := *slot; other != 0 {
			if rows[other-1].version > rows[i].version {
				rows[i].replaced = true
				continue
			}
			rows[other-1].replaced = true
		}
		*slot = uint32(i) + 1
	}
}

// grantHosts fills granted and hostSlots and sets each row's edit host.
func (bb *baseBuilder) grantHosts(patterns []HostPattern) (contested map[string][]string) {
	b := &bb.base
	b.hostSlots = make([]uint32, slotsFor(len(b.claims)+len(b.rows)*len(patterns)))
	b.granted = make([]grant, 0, len(b.hostSlots)/2)
	contested = make(map[string][]string)
	for i := range b.rows {
		row := &b.rows[i]
		if row.replaced {
			continue
		}
		id := string(bb.bytes(row.id))
		claims := b.claims[row.firstClaim : row.firstClaim+uint32(row.claims)]
		hosts := make([]string, len(claims))
		for j, claim := range claims {
			hosts[j] = string(bb.bytes(claim))
		}
		entitled, faults := entitledHosts(id, hosts, patterns)
		bb.faults = append(bb.faults, faults...)
		for j, host := range entitled {
			var at span
			if k := slices.Index(hosts, host); k >= 0 {
				at = claims[k]
			} else {
				at = bb.span(host)
			}
			if j == 0 {
				row.edit = at
			}
			bb.grantHost(at, uint32(i), contested)
		}
	}
	return contested
}

// grantHost routes a host to a row, or to the better one where another has it.
func (bb *baseBuilder) grantHost(host span, row uint32, contested map[string][]string) {
	b := &bb.base
	slot := probe(b.hostSlots, maphash.Bytes(b.seed, bb.bytes(host)), func(other uint32) bool {
		return bytes.Equal(bb.bytes(b.granted[other].host), bb.bytes(host))
	})
	if *slot == 0 {
		b.granted = append(b.granted, grant{host, row})
		*slot = uint32(len(b.granted))
		return
	}
	held := &b.granted[*slot-1]
	name := string(bb.bytes(host))
	newcomer, holder := bb.claimant(row), bb.claimant(held.row)
	if len(contested[name]) == 0 {
		contested[name] = []string{holder.id}
	}
	contested[name] = append(contested[name], newcomer.id)
	loser := newcomer
	if newcomer.before(holder) {
		loser, held.row = holder, row
	}
	bb.faults = append(bb.faults, contestedFault(loser.id, name))
}

func (bb *baseBuilder) claimant(row uint32) claimant {
	return claimant{id: string(bb.bytes(bb.base.rows[row].id)), version: bb.base.rows[row].version}
}

// probe returns the slot which holds what same recognises, or the empty one where it belongs.
func probe(slots []uint32, hash uint64, same func(index uint32) bool) *uint32 {
	mask := uint64(len(slots) - 1)
	i := hash & mask
	for slots[i] != 0 && !same(slots[i]-1) {
		i = (i + 1) & mask
	}
	return &slots[i]
}

// slotsFor returns a power of two that n entries fill by half at most.
func slotsFor(n int) int {
	slots := 1
	for slots < 2*n {
		slots *= 2
	}
	return max(slots, 2)
}
