package dynamodb

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTurns(t *testing.T) {
	l := newClientLocks()
	wait := func(client string) *turn {
		t.Helper()
		turn, err := l.wait(t.Context(), client)
		require.NoError(t, err)
		return turn
	}
	first := wait("amelia")
	wait("bramble").end() // clients do not wait for each other

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.wait(ctx, "amelia")
	require.ErrorIs(t, err, context.Canceled)

	next := make(chan *turn)
	go func() {
		turn, err := l.wait(context.Background(), "amelia")
		assert.NoError(t, err)
		next <- turn
	}()
	first.end()
	first.end()
	(<-next).end()
	assert.Empty(t, l.locks, "nothing is kept of clients that nobody writes to")
}

// What a turn saw is told to those who waited when it began, and to no other.
func TestTurnsTellOfTheLimit(t *testing.T) {
	l := newClientLocks()
	queue := func(n int) <-chan *turn {
		turns := make(chan *turn, n)
		begun := l.locks["amelia"].refs
		for range n {
			go func() {
				turn, err := l.wait(context.Background(), "amelia")
				assert.NoError(t, err)
				turns <- turn
			}()
		}
		require.Eventually(t, func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.locks["amelia"].refs == begun+n
		}, patience, tick)
		return turns
	}
	first, err := l.wait(t.Context(), "amelia")
	require.NoError(t, err)
	waiting := queue(3)
	first.sawFull(5) // of before they came, perhaps
	first.end()

	second := <-waiting
	assert.False(t, second.isFull(5))
	second.sawFull(5)
	second.end()
	third := <-waiting
	assert.True(t, third.isFull(5))
	assert.True(t, third.isFull(4))
	assert.False(t, third.isFull(6), "its own limit is higher")
	third.sawRoom()
	third.end()
	fourth := <-waiting
	assert.False(t, fourth.isFull(5))
	fourth.end()
	assert.Empty(t, l.locks)
}

// How long to wait for what only a fault keeps from happening, and how often to look.
const (
	patience = 30 * time.Second
	tick     = 5 * time.Millisecond
)
