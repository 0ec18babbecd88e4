package registrytest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// testDuty has edges take the duty from each other: of those that saw the same lease one
// succeeds, and every process sees whose it is.
func testDuty(t *testing.T, o Options) {
	t.Helper()
	reg, again := o.Open(t)
	t.Cleanup(func() { assert.NoError(t, reg.Close()) })
	other := again()
	t.Cleanup(func() { assert.NoError(t, other.Close()) })

	now, err := reg.Duty(t.Context())
	require.NoError(t, err)
	require.Equal(t, sessions.Lease{}, now, "before anybody had it")
	for round := range int64(3) {
		var won atomic.Pointer[sessions.Lease]
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				next := sessions.Lease{Holder: fmt.Sprint("edge-", i), Beat: round + 1}
				err := []sessions.Registry{reg, other}[i%2].SetDuty(t.Context(), now, next)
				if err == nil {
					assert.True(t, won.CompareAndSwap(nil, &next), "two have it")
				} else if !errors.Is(err, sessions.ErrConflict) {
					assert.NoError(t, err)
				}
			})
		}
		wg.Wait()
		require.NotNil(t, won.Load(), "nobody has it")
		for _, r := range []sessions.Registry{reg, other} {
			now, err = r.Duty(t.Context())
			require.NoError(t, err)
			assert.Equal(t, *won.Load(), now)
		}
	}
	require.NoError(t, reg.SetDuty(t.Context(), now, sessions.Lease{Beat: now.Beat + 1}))
	require.ErrorIs(t, reg.SetDuty(t.Context(), now, now), sessions.ErrConflict)
	now, err = other.Duty(t.Context())
	require.NoError(t, err)
	assert.Empty(t, now.Holder, "after it was given away")

	// It is no session.
	_, err = reg.Get(t.Context(), "duty")
	require.ErrorIs(t, err, sessions.ErrNotFound)
	all, err := reg.List(t.Context(), "", "", 10)
	require.NoError(t, err)
	assert.Empty(t, all)
}
