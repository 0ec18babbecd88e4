// Package toolchain finds out what a repository asks to be installed and built with,
// the version of Node and the package manager, and gets what this machine does not
// have: as packages, by npm, which checks their integrity, through the registry that npm
// is configured with. None of their scripts is run.
//
// What is fetched is kept in the client's cache. It is not shared between clients: under
// the process runner a client's install scripts could write to it.
package toolchain

import "fmt"

// Error is a toolchain that cannot be had.
type Error struct {
	// Cause is one sentence for a client's editor.
	Cause string
	// Retryable: trying again may help without a change by anybody.
	Retryable bool
	err       error
}

// Error is the cause.
func (f *Error) Error() string { return f.Cause }

// Unwrap returns what lies behind; may be nil.
func (f *Error) Unwrap() error { return f.err }

func fault(err error, format string, args ...any) error {
	return &Error{Cause: fmt.Sprintf(format, args...), err: err}
}
