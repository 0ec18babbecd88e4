package toolchain

import (
	"fmt"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Need is a range of versions of Node, and who asks for it.
type Need struct {
	// Text is the range as it was written, and Range as it is understood.
	Text, Range string
	// Who asks, as the subject of a sentence (".nvmrc", "Astro 7.0.0").
	Who string
	// operator: the client's configuration asks, and is to be followed to the letter.
	operator bool
	// advice: it is only warned where it is not met.
	advice bool
	is     *semver.Constraints
}

// aliases are what nvm and others take instead of a version. Releases under long-term
// support have even majors.
var aliases = map[string]string{
	"node": ">=22.12.0", "latest": ">=22.12.0", "current": ">=22.12.0",
	"stable": lts, "lts": lts, "lts/*": lts,
	"lts/hydrogen": "18", "lts/iron": "20", "lts/jod": "22", "lts/krypton": "24",
}

const lts = "^22.12.0 || ^24.11.0"

// newNeed reads a range. The error says what is wrong with it.
func newNeed(who, text string) (*Need, error) {
	n := &Need{Text: strings.TrimSpace(text), Who: who}
	n.Range = n.Text
	if alias := aliases[strings.ToLower(n.Text)]; alias != "" {
		n.Range = alias
	}
	is, err := semver.NewConstraint(n.Range)
	if err != nil {
		return nil, fmt.Errorf("%q is no version of Node: %w", n.Text, err)
	}
	n.is = is
	return n, nil
}

// allows reports whether a version is in the range; any is in that of nil.
func (n *Need) allows(v *semver.Version) bool { return n == nil || n.is.Check(v) }

// exact is the version where the range is one only, else nil.
func (n *Need) exact() *semver.Version {
	v, err := semver.StrictNewVersion(strings.TrimLeft(n.Range, "v="))
	if err != nil {
		return nil
	}
	return v
}

// majors are the major versions of Node that are fetched where a range leaves the choice:
// first that which most sites are made for, then what is newer, then what is older.
var majors = []int{22, 24, 26, 28, 30, 20, 18, 16, 14}

// newest stands for the newest version of a major, whatever that is.
func newest(major int) *semver.Version { return semver.New(uint64(major), 999, 999, "", "") }

// specFor names the versions to fetch, as npm understands them, where needs ask for it.
func specFor(needs []*Need) string {
	for _, m := range majors {
		if allowed(newest(m), needs) {
			return fmt.Sprint(m)
		}
	}
	ranges := make([]string, 0, len(needs))
	for _, n := range needs {
		if n == nil {
			continue
		}
		if strings.Contains(n.Range, "||") { // cannot be intersected with another
			return n.Range
		}
		ranges = append(ranges, n.Range)
	}
	return strings.Join(ranges, " ")
}

func allowed(v *semver.Version, needs []*Need) bool {
	for _, n := range needs {
		if !n.allows(v) {
			return false
		}
	}
	return true
}
