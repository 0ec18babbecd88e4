package configstore

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Place is where in a stream a configuration stood.
type Place struct {
	// Index counts configurations from 1.
	Index int
	// Line is the line on which it begins, from 1.
	Line int
}

// String is "config 3 (line 17)".
func (p Place) String() string { return fmt.Sprintf("config %d (line %d)", p.Index, p.Line) }

// Decoded is one configuration of a stream, read as by DecodeClient.
type Decoded struct {
	Client Client
	// Err is a ValidationError, or, for the last one of a stream that could not be
	// read on, what went wrong.
	Err error
}

// Prepare is configstore.Prepare for what was read, and reports the faults of reading and
// those of validation together.
func (d Decoded) Prepare(rules Rules) (Client, error) {
	var read *ValidationError
	if d.Err != nil && !errors.As(d.Err, &read) {
		return Client{}, d.Err
	}
	c, err := Prepare(d.Client, rules)
	if read == nil {
		return c, err
	}
	fs := faults(read.Faults)
	if invalid, ok := errors.AsType[*ValidationError](err); ok {
		for _, f := range invalid.Faults {
			if !faults(read.Faults).covers(f.Path) {
				fs = append(fs, f)
			}
		}
	}
	return c, fs.err()
}

// DecodeClients reads configurations as operators write them: one object, an array of
// them, or one after the other, as in JSON lines. It holds one of them in memory at a
// time. A faulty one is reported at its place and the next one is read; a stream that
// cannot be read on ends with an error.
func DecodeClients(r io.Reader) iter.Seq2[Place, Decoded] {
	return func(yield func(Place, Decoded) bool) {
		for place, value := range Values(r, MaxConfigBytes, "") {
			d := Decoded{Err: value.Err}
			if d.Err == nil {
				decoder := decoder{strict: true, before: place.Line - 1}
				d.Client, d.Err = decoder.client(value.Raw), decoder.faults.err()
			}
			if !yield(place, d) {
				return
			}
		}
	}
}

// Value is one JSON value of a stream.
type Value struct {
	// Raw is the value, which is whole but perhaps not valid. The next value overwrites it.
	Raw []byte
	// Err says why the stream cannot be read on, and ends it; a ValidationError where
	// there is nothing in it.
	Err error
}

// Values cuts a stream into its JSON values without decoding them: one value, the
// elements of an array, or one value after the other. Where member is not empty, the
// stream may also be one object whose array of that name holds the values, as in the
// answer of a scan. A value of more than limit bytes ends the stream.
func Values(r io.Reader, limit int, member string) iter.Seq2[Place, Value] {
	return func(yield func(Place, Value) bool) {
		s := splitter{r: bufio.NewReaderSize(r, 64<<10), line: 1, limit: limit, member: member}
		for index := 1; ; index++ {
			raw, line, err := s.next()
			if errors.Is(err, io.EOF) {
				if index == 1 && !s.array {
					yield(Place{1, 1}, Value{Err: &ValidationError{[]Fault{{Message: "must not be empty"}}}})
				}
				return
			}
			if !yield(Place{index, line}, Value{Raw: raw, Err: err}) || err != nil {
				return
			}
		}
	}
}

// splitter cuts a stream into its JSON values without decoding them. It counts brackets
// outside of strings, so that a fault in one value mostly spoils no other.
type splitter struct {
	r      *bufio.Reader
	line   int
	limit  int    // of a value, in bytes
	member string // of the object that the values may lie in
	buf    bytes.Buffer

	begun bool // the first byte was seen
	array bool // the values are the elements of one array
	inner bool // the array is the member of an object
	count int  // values read
	ended bool // the array was closed
}

// next returns the next value, which is valid until the next call, and the line on
// which it begins; io.EOF at the end.
func (s *splitter) next() (raw []byte, line int, err error) {
	c, err := s.start()
	if err != nil {
		return nil, s.line, err
	}
	line = s.line
	s.buf.Reset()
	s.count++
	err = s.value(c)
	return s.buf.Bytes(), line, err
}

// start skips to the first byte of the next value.
func (s *splitter) start() (byte, error) {
	if !s.begun {
		s.begun = true
		if bom, err := s.r.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
			_, _ = s.r.Discard(len(bom)) // cannot fail: they are buffered
		}
		c, err := s.skipSpace()
		switch {
		case err == nil && c == '[':
			s.array = true
		case err == nil && c == '{' && s.enter():
			s.array, s.inner = true, true
		default:
			return c, err
		}
	}
	c, err := s.skipSpace()
	if !s.array {
		return c, err
	}
	if s.ended {
		if err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("line %d: unexpected %q after the array", s.line, c)
	}
	if err == nil && c == ']' {
		s.ended = true
		if s.inner {
			return 0, s.leave()
		}
		return s.start()
	}
	if err == nil && s.count > 0 {
		if c != ',' {
			return 0, fmt.Errorf("line %d: expected a comma or the end of the array, got %q", s.line, c)
		}
		if c, err = s.skipSpace(); err == nil && c == ']' {
			return 0, fmt.Errorf("line %d: the array ends after a comma", s.line)
		}
	}
	if errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("line %d: the array is not closed", s.line)
	}
	return c, err
}

// value reads a value whose first byte is c.
func (s *splitter) value(c byte) error {
	depth, quoted, escaped := 0, false, false
	begin := s.line
	for {
		s.buf.WriteByte(c)
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth <= 0 && !quoted {
			done, err := s.atEnd(c)
			if done || err != nil {
				return err
			}
		}
		if s.buf.Len() > s.limit {
			return fmt.Errorf("line %d: a config is larger than %d bytes", s.line, s.limit)
		}
		var err error
		if c, err = s.read(); errors.Is(err, io.EOF) {
			return nil // DecodeClient reports what is missing
		} else if err != nil {
			return err
		}
		if quoted && c == '\n' && s.line == begin+1 {
			return nil // one value a line: its fault ends with it
		}
	}
}

// atEnd reports whether a value at depth 0 is complete: after its closing bracket or
// quote, else where the next byte cannot belong to it.
func (s *splitter) atEnd(last byte) (bool, error) {
	if last == '}' || last == ']' || last == '"' {
		return true, nil
	}
	next, err := s.r.Peek(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading configs: %w", err)
	}
	switch next[0] {
	case ' ', '\t', '\r', '\n', ',', ']', '}', '{', '[', '"':
		return true, nil
	default:
		return false, nil
	}
}

// skipSpace returns the next byte that is no white space.
func (s *splitter) skipSpace() (byte, error) {
	for {
		c, err := s.read()
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, err
		}
	}
}

func (s *splitter) read() (byte, error) {
	c, err := s.r.ReadByte()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading configs: %w", err)
	}
	if c == '\n' {
		s.line++
	}
	return c, err
}
