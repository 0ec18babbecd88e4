//go:build unix

package ecs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted is a batcher whose calls take 50 ms and answer with the call's number.
type counted struct {
	batcher[int]

	mu    sync.Mutex
	calls [][]string
	began []time.Time
	err   error
}

func newCounted(t *testing.T, most int) *counted {
	c := &counted{}
	c.batcher = batcher[int]{
		most: most, life: t.Context(), every: func() time.Duration { return time.Second },
		spawn: func(fn func()) bool { go fn(); return true },
		call: func(keys []string) (map[string]int, error) {
			c.mu.Lock()
			c.calls, c.began = append(c.calls, keys), append(c.began, time.Now())
			n, err := len(c.calls), c.err
			c.mu.Unlock()
			<-time.After(50 * time.Millisecond)
			values := map[string]int{}
			for _, key := range keys {
				if key != "unknown" {
					values[key] = n
				}
			}
			return values, err
		},
	}
	return c
}

func (c *counted) mustAsk(t *testing.T, key string) int {
	n, err := c.ask(t.Context(), key)
	assert.NoError(t, err)
	return n
}

func TestAnswersAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(t, 100)
		assert.Equal(t, 1, c.mustAsk(t, "a"), "the first goes out at once")
		assert.Equal(t, 50*time.Millisecond, time.Since(c.began[0]))

		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() { assert.Equal(t, 2, c.mustAsk(t, fmt.Sprintf("key-%d", i%90))) })
		}
		wg.Wait()
		require.Len(t, c.calls, 2)
		assert.Len(t, c.calls[1], 90)
		assert.Equal(t, time.Second, c.began[1].Sub(c.began[0]))
		assert.Zero(t, c.mustAsk(t, "unknown"))
	})
}

// Whoever asks while a call is under way is answered by the next one.
func TestAnswersAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(t, 100)
		first := make(chan int)
		go func() { first <- c.mustAsk(t, "a") }()
		synctest.Wait()
		second := c.mustAsk(t, "a")
		assert.Equal(t, 1, <-first)
		assert.Equal(t, 2, second)
	})
}

// Full calls follow one another at once.
func TestManyAreNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(t, 100)
		c.mustAsk(t, "a")
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { c.mustAsk(t, fmt.Sprintf("key-%d", i)) })
		}
		wg.Wait()
		assert.Len(t, c.calls, 11)
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
	})
}

func TestNobodyAsksAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted(t, 100)
		c.mustAsk(t, "a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		for range 2 {
			_, err := c.ask(ctx, "b")
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		<-time.After(5 * time.Second)
		assert.Len(t, c.calls, 1, "nobody waits for it")
		c.err = errors.New("broken")
		_, err := c.ask(t.Context(), "c")
		require.ErrorIs(t, err, c.err)

		// One that leaves does not take the others' answer away.
		c.err = nil
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		got := make(chan int)
		go func() { got <- c.mustAsk(t, "d") }()
		synctest.Wait()
		_, err = c.ask(ctx, "d")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3, <-got)

		c.spawn = func(func()) bool { return false }
		<-time.After(time.Second)
		_, err = c.ask(t.Context(), "e")
		require.ErrorIs(t, err, errClosed)
	})
}
