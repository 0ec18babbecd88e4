package configstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of host names, in bytes (RFC 1035).
const (
	maxHost  = 253
	maxLabel = 63
	// maxRawHost bounds what is handed to IDNA: a valid name in UTF-8 is never longer.
	maxRawHost = 4 * maxHost
)

// hostProfile is that of a look-up (UTS #46, non-transitional), except that hyphens in
// the third and fourth place are let through: client ids may hold them. Lengths and
// the characters of the result are checked by checkHost.
var hostProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.BidiRule(),
	idna.CheckHyphens(false),
	idna.StrictDomainName(true),
	idna.VerifyDNSLength(false),
)

// Faults of host names.
var (
	errHostEmpty   = errors.New("must not be empty")
	errHostLong    = fmt.Errorf("must be at most %d bytes", maxHost)
	errHostLabel   = fmt.Errorf("must consist of labels of 1 to %d letters, digits and hyphens, with no hyphen at either end", maxLabel)
	errHostAddress = errors.New("must be a host name, not an IP address")
	errHostIDNA    = errors.New("is not a valid internationalised host name")
	errHostPort    = errors.New("has a bad port")
	errHostURL     = errors.New("must be a host name alone, without scheme and path")
)

// NormalizeHost returns the form in which hosts are stored and looked up: lower case,
// without a port or a trailing dot, internationalised labels as A-labels. It is meant
// for configuration; requests use LookupHost. Empty names, IP addresses, names of more
// than 253 bytes and bad labels are errors, which say what is wrong and not with which name.
func NormalizeHost(raw string) (string, error) {
	if raw == "" {
		return "", errHostEmpty
	}
	if len(raw) > maxRawHost {
		return "", errHostLong
	}
	if strings.Contains(raw, "/") {
		return "", errHostURL
	}
	if strings.HasPrefix(raw, "[") || strings.Count(raw, ":") > 1 {
		return "", errHostAddress
	}
	name, ok := cutPort(raw)
	if !ok {
		return "", errHostPort
	}
	ascii, err := hostProfile.ToASCII(name)
	if err != nil || !utf8.ValidString(name) {
		return "", errHostIDNA
	}
	ascii = strings.TrimSuffix(ascii, ".")
	if _, err := checkHost(ascii); err != nil {
		return "", err
	}
	return ascii, nil
}

// LookupHost returns the form of a request's Host under which the routing table knows
// it: without port and trailing dot, in lower case. It is false for everything that
// cannot be a host name, IP addresses among them. It never allocates, unless the host
// has upper-case letters.
func LookupHost(raw string) (string, bool) {
	name, ok := cutPort(raw)
	if !ok {
		return "", false
	}
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	upper, err := checkHost(name)
	if err != nil {
		return "", false
	}
	if upper {
		name = lowerASCII(name)
	}
	return name, true
}

// cutPort takes a port of up to five digits, or an empty one, from the end of a host.
// It is false for any other colon, those of IPv6 addresses among them.
func cutPort(raw string) (string, bool) {
	name, port, ok := strings.Cut(raw, ":")
	if !ok {
		return raw, true
	}
	if len(port) > 5 {
		return "", false
	}
	for j := range len(port) {
		if !isDigit(port[j]) {
			return "", false
		}
	}
	return name, true
}

// checkHost checks a name without port and trailing dot and reports whether it has
// upper-case letters. A name whose last label is a number, in any notation of IPv4
// addresses, is an address and not a name.
func checkHost(name string) (upper bool, err error) {
	if name == "" {
		return false, errHostEmpty
	}
	if len(name) > maxHost {
		return false, errHostLong
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if i == start || i-start > maxLabel || name[start] == '-' || name[i-1] == '-' {
				return false, errHostLabel
			}
			if i < len(name) {
				start = i + 1
			}
			continue
		}
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', isDigit(c), c == '-':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return false, errHostLabel
		}
	}
	if isNumber(name[start:]) {
		return false, errHostAddress
	}
	return upper, nil
}

// isNumber reports whether a label is a decimal or 0x number.
func isNumber(label string) bool {
	if len(label) >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X') {
		for i := 2; i < len(label); i++ {
			c := label[i] | 0x20
			if !isDigit(label[i]) && (c < 'a' || c > 'f') {
				return false
			}
		}
		return true
	}
	for i := range len(label) {
		if !isDigit(label[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// lowerASCII costs one allocation; name is at most maxHost long.
func lowerASCII(name string) string {
	var buf [maxHost]byte
	n := copy(buf[:], name)
	for i, c := range buf[:n] {
		if 'A' <= c && c <= 'Z' {
			buf[i] = c + 'a' - 'A'
		}
	}
	return string(buf[:n])
}
