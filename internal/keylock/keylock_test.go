package keylock_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/keylock"
)

func TestOneAtATimeForEachKey(t *testing.T) {
	var locks keylock.Locks
	held := map[string]*int{"one": new(int), "two": new(int)} // guarded by the locks alone
	var callers sync.WaitGroup
	for range 200 {
		for key, count := range held {
			callers.Go(func() {
				unlock, err := locks.Lock(t.Context(), key)
				if assert.NoError(t, err) {
					*count++
					unlock()
				}
			})
		}
	}
	callers.Wait()
	assert.Equal(t, 200, *held["one"])
	assert.Equal(t, 200, *held["two"])
}

func TestWhoWaitsMayLeave(t *testing.T) {
	var locks keylock.Locks
	unlock, err := locks.Lock(t.Context(), "one")
	require.NoError(t, err)
	other, err := locks.Lock(t.Context(), "two")
	require.NoError(t, err, "another key is free")
	other()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = locks.Lock(ended, "one")
	require.ErrorIs(t, err, context.Canceled)
	unlock()
	unlock, err = locks.Lock(t.Context(), "one")
	require.NoError(t, err, "it is free again")
	unlock()
}
