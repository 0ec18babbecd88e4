package configstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"
)

// snapshotHead says what a snapshot is of.
type snapshotHead struct {
	// store is the identity of the store.
	store string
	// position is where in the change log the snapshot was taken.
	position Position
	// checkedAt is when the store last said that this is all.
	checkedAt time.Time
	// clients is how many follow.
	clients int
}

// snapshotMagic begins a snapshot; its last byte is the format's version, which changes
// with the format and with the meaning of any of its values.
const snapshotMagic = "webordinary table \x01"

// maxHeadText bounds a store's identity and position, in bytes.
const maxHeadText = 64 << 10

// Bits of an entry's flags.
const flagDisabled = 1

// encodeSnapshot writes the head and every entry. Numbers are varints and strings follow
// their length; settings that are words go by their index, as in a base.
func encodeSnapshot(w io.Writer, head snapshotHead, entries iter.Seq[Entry]) error {
	bw := bufio.NewWriterSize(w, 64<<10)
	buf := []byte(snapshotMagic)
	buf = appendText(buf, head.store)
	buf = appendText(buf, string(head.position))
	buf = binary.AppendVarint(buf, head.checkedAt.UnixNano())
	buf = binary.AppendUvarint(buf, uint64(head.clients))
	if _, err := bw.Write(buf); err != nil {
		return err
	}
	for e := range entries {
		if _, err := bw.Write(appendEntry(buf[:0], e)); err != nil {
			return err
		}
	}
	return bw.Flush()
}

func appendText(buf []byte, s string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(s))), s...)
}

// appendEntry appends an entry that a table holds: a checked one.
func appendEntry(buf []byte, e Entry) []byte {
	var flags byte
	if e.Disabled {
		flags |= flagDisabled
	}
	buf = append(buf, flags,
		byte(slices.Index(containerSizes[:], e.Settings.ContainerSize)),
		byte(slices.Index(wakeOns[:], e.Settings.WakeOn)))
	buf = binary.AppendVarint(buf, e.Version)
	buf = binary.AppendUvarint(buf, uint64(e.Settings.IdleTimeoutMinutes))
	buf = binary.AppendUvarint(buf, uint64(e.Settings.MaxConcurrentSessions))
	buf = binary.AppendUvarint(buf, uint64(e.Settings.MaxLifetimeMinutes))
	buf = appendText(buf, e.ClientID)
	buf = binary.AppendUvarint(buf, uint64(len(e.Hosts)))
	for _, host := range e.Hosts {
		buf = appendText(buf, host)
	}
	return buf
}

// decodeSnapshot reads what encodeSnapshot wrote for that store. An entry that could not
// be routed is one of the builder's faults.
func decodeSnapshot(r io.Reader, store string) (snapshotHead, *baseBuilder, error) {
	d := snapshotReader{r: bufio.NewReaderSize(r, 64<<10)}
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(d.r, magic); err != nil || string(magic) != snapshotMagic {
		return snapshotHead{}, nil, errors.New("it is no snapshot of this version of the router")
	}
	head := snapshotHead{
		store:     d.text(maxHeadText),
		position:  Position(d.text(maxHeadText)),
		checkedAt: time.Unix(0, d.varint()),
		clients:   d.number(),
	}
	if d.err == nil && head.store != store {
		return snapshotHead{}, nil, errors.New("it is that of another store")
	}
	bb := new(baseBuilder)
	for range head.clients {
		e := d.entry()
		if d.err != nil {
			break
		}
		bb.add(e)
	}
	if _, err := d.r.ReadByte(); d.err == nil && !errors.Is(err, io.EOF) {
		d.err = errSnapshotDamaged
	}
	if d.err != nil {
		return snapshotHead{}, nil, d.err
	}
	return head, bb, nil
}

// snapshotReader reads the parts of a snapshot. After its first error, which stays, they
// are all zero.
type snapshotReader struct {
	r   *bufio.Reader
	buf []byte
	err error
}

func (d *snapshotReader) fail(err error) {
	switch {
	case d.err != nil:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.err = errSnapshotDamaged // it ends too soon
	default:
		d.err = err
	}
}

func (d *snapshotReader) byte() byte {
	if d.err != nil {
		return 0
	}
	b, err := d.r.ReadByte()
	if err != nil {
		d.fail(err)
	}
	return b
}

func (d *snapshotReader) varint() int64 {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(d.r)
	if err != nil {
		d.fail(fmt.Errorf("%w: %w", errSnapshotDamaged, err))
		return 0
	}
	return n
}

// number reads a number that fits into 31 bits.
func (d *snapshotReader) number() int {
	if d.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(d.r)
	if err != nil || n > math.MaxInt32 {
		d.fail(errSnapshotDamaged)
		return 0
	}
	return int(n)
}

// text reads a string of at most limit bytes.
func (d *snapshotReader) text(limit int) string {
	n := d.number()
	if n > limit {
		d.fail(errSnapshotDamaged)
	}
	if d.err != nil {
		return ""
	}
	d.buf = slices.Grow(d.buf[:0], n)[:n]
	if _, err := io.ReadFull(d.r, d.buf); err != nil {
		d.fail(err)
		return ""
	}
	return string(d.buf)
}

func (d *snapshotReader) entry() Entry {
	flags, size, wake := d.byte(), int(d.byte()), int(d.byte())
	if flags&^flagDisabled != 0 || size >= len(containerSizes) || wake >= len(wakeOns) {
		d.fail(errSnapshotDamaged)
		return Entry{}
	}
	e := Entry{
		Disabled: flags&flagDisabled != 0,
		Version:  d.varint(),
		Settings: Settings{
			ContainerSize:         containerSizes[size],
			WakeOn:                wakeOns[wake],
			IdleTimeoutMinutes:    d.number(),
			MaxConcurrentSessions: d.number(),
			MaxLifetimeMinutes:    d.number(),
		},
		ClientID: d.text(maxLabel),
	}
	hosts := d.number()
	if hosts > math.MaxUint8 { // of fewer than this but more than allowed, Entry.check complains
		d.fail(errSnapshotDamaged)
		return Entry{}
	}
	e.Hosts = make([]string, hosts)
	for i := range e.Hosts {
		e.Hosts[i] = d.text(maxHost)
	}
	return e
}
