package activity

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	long, longer := strings.Repeat("x", 300), strings.Repeat("y", 70_000)
	unmasked := []byte{0x81, 0x01, 'x'}
	cases := map[string]struct {
		sent []byte
		data bool
	}{
		"nothing":                    {nil, false},
		"half a header":              {frame(1, "x")[:3], false},
		"a header without a payload": {frame(1, "x")[:6], true},
		"empty text":                 {frame(1, ""), true},
		"a continuation":             {frame(0, "x"), true},
		"binary, two-byte length":    {frame(2, long), true},
		"binary, eight-byte length":  {frame(2, longer), true},
		"a ping that looks like text": {
			frame(9, string(frame(1, "x"))), false,
		},
		"unmasked":                    {unmasked, false},
		"text after unmasked":         {append(bytes.Clone(unmasked), frame(1, "x")...), false},
		"an unknown opcode":           {append(frame(3, "x"), frame(1, "x")...), false},
		"a ping that is too long":     {append(frame(9, long), frame(1, "x")...), false},
		"a length of 2^63":            {[]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, false},
		"text behind a ping and pong": {bytes.Join([][]byte{frame(9, "a"), frame(10, "b"), frame(1, "c")}, nil), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var whole, single frameScanner
			assert.Equal(t, tc.data, whole.scan(tc.sent), "at once")
			seen := false
			for i := range tc.sent {
				seen = single.scan(tc.sent[i:i+1]) || seen
			}
			assert.Equal(t, tc.data, seen, "byte by byte")
		})
	}
}

// FuzzFrames checks that it does not matter how the network cuts a stream.
func FuzzFrames(f *testing.F) {
	f.Add(frame(1, "hello"), 3)
	f.Add(append(frame(9, "p"), frame(2, strings.Repeat("x", 200))...), 7)
	f.Add([]byte{0x81, 0x01, 'x'}, 1)
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, 2)
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		if cut < 1 {
			cut = 1
		}
		var whole, parts frameScanner
		want := whole.scan(sent)
		got := false
		for rest := sent; len(rest) > 0; rest = rest[min(cut, len(rest)):] {
			got = parts.scan(rest[:min(cut, len(rest))]) || got
		}
		if want != got || whole != parts {
			t.Fatalf("cut every %d bytes: %v and %+v, at once: %v and %+v", cut, got, parts, want, whole)
		}
		if whole.have >= len(whole.header) {
			t.Fatalf("header of %d bytes", whole.have)
		}
	})
}
