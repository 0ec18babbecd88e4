package configstore

import "reflect"

// overlayBytes is about what a client or host in the overlay takes.
const overlayBytes = 400

// Bytes is about how much memory the table takes; it costs nothing to ask.
func (t *Table) Bytes() int {
	g := t.current.Load()
	b := g.base
	return len(b.text) +
		sliceBytes(b.rows) + sliceBytes(b.claims) + sliceBytes(b.granted) + sliceBytes(b.hostSlots) + sliceBytes(b.idSlots) +
		(len(g.overlay.ids)+len(g.overlay.hosts))*overlayBytes
}

func sliceBytes[T any](s []T) int { return cap(s) * int(reflect.TypeFor[T]().Size()) }
