package edge

import "strings"

// pathVerdict is what checkPath found in a path.
type pathVerdict uint8

const (
	pathClean pathVerdict = iota
	pathMalformed
	pathPrivate
)

// privateSegment is the folder in which containers keep what only an edge may ask for.
const privateSegment = ".boot"

// maxEncodings is how many layers of percent-encoding a path may have. Nothing honest
// has more than two; each costs a pass over the path.
const maxEncodings = 4

// checkPath reads an escaped path in every way in which something behind the edge might:
// as it stands and after each further decoding, split at slashes and backslashes. A
// private segment anywhere makes it private, wherever dot segments and doubled slashes
// would move it. Control characters and dot segments make it malformed: browsers send
// neither, and without dot segments edge and container agree on which session a path names.
func checkPath(p string) pathVerdict {
	for range maxEncodings {
		verdict := checkSegments(p)
		if verdict != pathClean {
			return verdict
		}
		decoded, changed := decodeLenient(p)
		if !changed {
			return pathClean
		}
		p = decoded
	}
	return pathMalformed
}

func checkSegments(p string) pathVerdict {
	verdict := pathClean
	start := 0
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' && p[i] != '\\' {
			if p[i] < 0x20 || p[i] == 0x7f {
				verdict = pathMalformed
			}
			continue
		}
		segment := p[start:i]
		start = i + 1
		if segment == "" || segment[0] != '.' {
			continue
		}
		// Some servers cut a segment's parameters off before they look at it.
		segment, _, _ = strings.Cut(segment, ";")
		switch {
		case len(segment) == len(privateSegment) && equalFoldASCII(segment, privateSegment):
			return pathPrivate
		case segment == "." || segment == "..":
			verdict = pathMalformed
		}
	}
	return verdict
}

// decodeLenient decodes one layer of percent-encoding and leaves alone what is none.
func decodeLenient(p string) (decoded string, changed bool) {
	first := nextEscape(p, 0)
	if first < 0 {
		return p, false
	}
	b := make([]byte, 0, len(p))
	from := 0
	for i := first; i >= 0; i = nextEscape(p, from) {
		b = append(b, p[from:i]...)
		b = append(b, unhex(p[i+1])<<4|unhex(p[i+2]))
		from = i + 3
	}
	return string(append(b, p[from:]...)), true
}

// nextEscape finds the next well-formed %XX at or after from, or returns -1.
func nextEscape(p string, from int) int {
	for {
		i := strings.IndexByte(p[from:], '%')
		if i < 0 || from+i+2 >= len(p) {
			return -1
		}
		if isHex(p[from+i+1]) && isHex(p[from+i+2]) {
			return from + i
		}
		from += i + 1
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
