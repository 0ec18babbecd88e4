package activity

import (
	"encoding/binary"
	"net"
)

// countingConn notes the data frames that come from the browser.
type countingConn struct {
	net.Conn
	account *Account
	frames  frameScanner // only Read uses it, and a connection has one reader
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.frames.scan(p[:n]) {
		c.account.Touch(KindSocket)
	}
	return n, err
}

// frameScanner follows the frame headers of one direction of a WebSocket (RFC 6455,
// section 5.2) without keeping a payload. The zero value is ready.
type frameScanner struct {
	header  [14]byte
	have    int    // bytes of header
	payload uint64 // bytes of the present frame that are still to come
	data    bool   // the present frame carries data
	broken  bool   // what came is no WebSocket: count nothing more
}

// scan takes the next bytes and reports whether any of them belong to a data frame.
func (s *frameScanner) scan(p []byte) bool {
	seen := false
	for len(p) > 0 && !s.broken {
		if s.payload > 0 {
			n := min(uint64(len(p)), s.payload)
			s.payload -= n
			p = p[n:]
			seen = seen || s.data
			continue
		}
		s.header[s.have] = p[0]
		s.have++
		p = p[1:]
		if s.have < 2 || s.have < s.headerLen() {
			continue
		}
		s.begin()
		seen = seen || (s.data && !s.broken)
	}
	return seen
}

// headerLen is how long the header is, as its first two bytes tell.
func (s *frameScanner) headerLen() int {
	n := 2
	switch s.header[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if s.header[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// begin reads a whole header.
func (s *frameScanner) begin() {
	opcode := s.header[0] & 0x0f
	length := uint64(s.header[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(s.header[2:]))
	case 127:
		length = binary.BigEndian.Uint64(s.header[2:])
	}
	s.have, s.payload = 0, length
	switch opcode {
	case 0x0, 0x1, 0x2: // continuation, text, binary
		s.data = true
	case 0x8, 0x9, 0xa: // close, ping, pong
		s.data = false
		s.broken = length > 125
	default:
		s.broken = true
	}
	// A browser masks every frame, and no length has its highest bit set.
	if s.header[1]&0x80 == 0 || length>>63 != 0 {
		s.broken = true
	}
}
