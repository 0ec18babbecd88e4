package worktree

import (
	"context"
	"net/netip"
)

// SplitCredential is for tests.
var SplitCredential = splitCredential

// ErrLocal is for tests.
var ErrLocal = errLocal

// SetLookUp has names resolved by a test.
func (w *Worktree) SetLookUp(f func(ctx context.Context, host string) ([]netip.Addr, error)) {
	w.lookUp = f
}
