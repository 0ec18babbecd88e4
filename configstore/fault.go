package configstore

import (
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Path names the field in JSON notation ("settings.idleTimeoutMinutes",
	// "domains.aliases[1]"); empty for the document as a whole.
	Path string `json:"path"`
	// Message says what is wrong, and never holds a secret.
	Message string `json:"message"`
}

// String is "path: message".
func (f Fault) String() string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

// ValidationError holds every fault of a configuration. It is never empty.
type ValidationError struct {
	Faults []Fault
}

// Error lists the faults on one line.
func (e *ValidationError) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// faults collects what is wrong.
type faults []Fault

func (fs *faults) add(path, message string) {
	*fs = append(*fs, Fault{Path: path, Message: message})
}

// covers reports whether there is a fault at a path or at something that holds it.
func (fs faults) covers(path string) bool {
	return slices.ContainsFunc(fs, func(f Fault) bool {
		rest, ok := strings.CutPrefix(path, f.Path)
		return ok && (f.Path == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// err returns nil where nothing was found.
func (fs faults) err() error {
	if len(fs) == 0 {
		return nil
	}
	return &ValidationError{Faults: fs}
}

// joinPath appends a field's name to the path of what holds it.
func joinPath(parent, name string) string {
	if parent == "" {
		return name
	}
	return parent + "." + name
}
