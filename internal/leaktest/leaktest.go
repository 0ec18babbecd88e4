// Package leaktest has goleak wait: tests must leave no goroutine behind, but on a busy
// machine one that is ending may take longer than the half second that goleak gives it.
package leaktest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long what is ending may take; only a leak takes as long.
const patience = 30 * time.Second

// VerifyNone fails a test if goroutines are left, but for those that options ignore.
func VerifyNone(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := find(options...); err != nil {
		t.Error(err)
	}
}

// VerifyTestMain runs a package's tests, fails if they leave goroutines behind, and ends
// the process.
func VerifyTestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := find(); err != nil {
			fmt.Fprintln(os.Stderr, "leaktest:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func find(options ...goleak.Option) error {
	for deadline := time.Now().Add(patience); ; {
		err := goleak.Find(options...)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
