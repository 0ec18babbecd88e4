package dynamodb

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// layouts are the textual forms of times that the older tools write: with a zone, and
// without one, which means UTC.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02"}

// firstMillis is the smallest number that means milliseconds: as such it is in 1973, as
// seconds it would be in the year 5138.
const firstMillis = 100_000_000_000

// lastMillis is in the year 9999, which is the last that RFC 3339 can say.
const lastMillis = 253_402_300_799_999

// parseMoment reads a time: a text in one of the layouts, or a number of milliseconds or
// seconds since 1970, with or without a fraction.
func parseMoment(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n > lastMillis {
		return time.Time{}, errors.New("neither a time nor a number of milliseconds or seconds")
	}
	unit := time.Second
	if n >= firstMillis {
		unit = time.Millisecond
	}
	// The fraction has up to nine digits that matter.
	var part int64
	if fraction != "" {
		digits := (fraction + "000000000")[:9]
		if part, err = strconv.ParseInt(digits, 10, 64); err != nil || part < 0 {
			return time.Time{}, errors.New("not a number")
		}
	}
	rest := time.Duration(part) * unit / time.Second // billionths of the unit, as nanoseconds
	if unit == time.Second {
		return time.Unix(n, int64(rest)).UTC(), nil
	}
	return time.UnixMilli(n).Add(rest).UTC(), nil
}
