// Package e2e tests the edge and its containers from outside: through the binaries,
// over HTTP, TLS and the command line, in a browser, and by killing processes.
//
// TORTURE=1 repeats what is repeated here far more often. E2E_SCREENSHOTS names a
// folder for the browser's screenshots.
package e2e

import (
	"os"
	"testing"
)

// times is how often something is repeated: rarely in every run, often in torture.
func times(short, torture int) int {
	if os.Getenv("TORTURE") != "" {
		return torture
	}
	return short
}

// parallel lets a test run beside others: it measures no time and has an edge of its own.
func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
}
