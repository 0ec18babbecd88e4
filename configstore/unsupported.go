package configstore

import "strings"

// Refusal is a part of the configuration's shape that this release refuses because
// nothing acts on it yet.
type Refusal struct {
	// Path is the field.
	Path string
	// Value is what of the field is refused ("server"); empty for all of it.
	Value string
	// Reason says what is not supported.
	Reason string

	applies func(Client) bool
}

// Unsupported lists what this release refuses by name rather than ignore.
func Unsupported() []Refusal {
	return []Refusal{
		{
			"repository.deployKey", "with an https URL", "credentials for https repositories are not supported yet: use an ssh URL",
			func(c Client) bool {
				return c.Repository.DeployKey != "" && strings.HasPrefix(c.Repository.URL, "https:")
			},
		},
	}
}

// CheckSupported returns what of a configuration this release does not support. Validate
// includes it; callers use it on stored rows, which other tools may have written.
func CheckSupported(c Client) []Fault {
	var fs faults
	for _, r := range Unsupported() {
		if r.applies(c) {
			fs.add(r.Path, r.Reason)
		}
	}
	return fs
}
