package configstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxAround bounds what may stand before and after the array of an object, in bytes.
const maxAround = 16 << 10

// enter is called after the first byte of an object. It skips to the first element of the
// array that the values lie in, and reports whether there is one.
func (s *splitter) enter() bool {
	if s.member == "" || s.r.UnreadByte() != nil {
		return false
	}
	head, _ := s.r.Peek(maxAround) // a stream that is shorter gives what it has
	dec := json.NewDecoder(bytes.NewReader(head))
	at := afterMember(dec, s.member)
	if at == 0 {
		_, _ = s.r.Discard(1) // cannot fail: it was read before
		return false
	}
	s.line += bytes.Count(head[:at], []byte("\n"))
	_, _ = s.r.Discard(at) // cannot fail: it is buffered
	return true
}

// afterMember reads to the first element of an object's array of that name and returns
// where it is; 0 where there is none.
func afterMember(dec *json.Decoder, name string) int {
	if _, err := dec.Token(); err != nil {
		return 0
	}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return 0
		}
		if token == name {
			start, err := dec.Token()
			if err != nil || start != json.Delim('[') {
				return 0
			}
			return int(dec.InputOffset())
		}
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return 0
		}
	}
	return 0
}

// leave reads what follows the array of an object. It returns io.EOF where that is the
// end and says that there is no more; the answers of a scan and of its command name where
// the next one begins.
func (s *splitter) leave() error {
	rest, err := io.ReadAll(io.LimitReader(s.r, maxAround))
	if err != nil {
		return fmt.Errorf("reading configs: %w", err)
	}
	var around struct {
		LastEvaluatedKey, NextToken json.RawMessage
	}
	if err := json.Unmarshal(append([]byte(`{"":[]`), rest...), &around); err != nil {
		return fmt.Errorf("line %d: the object around the array %q is not closed, or something follows it", s.line, s.member)
	}
	for _, next := range []json.RawMessage{around.LastEvaluatedKey, around.NextToken} {
		if len(next) > 0 && string(next) != "null" {
			return errors.New("this is one page of a scan, and there are more: export all of them")
		}
	}
	return io.EOF
}
