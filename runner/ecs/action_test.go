//go:build unix

package ecs

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// bucket is how ECS counts calls: so many at once, so many a second.
type bucket struct {
	mu      sync.Mutex
	tokens  float64
	most    float64
	rate    float64 // a second
	last    time.Time
	refused int
}

func (b *bucket) take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.tokens = min(b.most, b.tokens+now.Sub(b.last).Seconds()*b.rate)
	b.last = now
	if b.tokens < 1 {
		b.refused++
		return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
	}
	b.tokens--
	return nil
}

func bareRunner() *Runner {
	return &Runner{timing: defaultTiming, log: zap.NewNop(), cluster: "sessions"}
}

// A thousand starts at once on an account that may start twenty a second.
func TestAThousandStartsQueueUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const starts = 1000
		r, a := bareRunner(), newAction("RunTask", maxChanges)
		b := &bucket{tokens: 100, most: 100, rate: 20, last: time.Now()}
		began := time.Now()
		var wg sync.WaitGroup
		for range starts {
			wg.Go(func() {
				_, err := call(t.Context(), t.Context(), r, a, time.Minute, func(context.Context) (struct{}, error) {
					<-time.After(50 * time.Millisecond)
					return struct{}{}, b.take()
				})
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		took := time.Since(began)
		t.Logf("%d starts took %s, %d calls were throttled", starts, took, b.refused)
		assert.Less(t, took, 70*time.Second, "45 s are the least: (1000-100)/20")
		assert.Less(t, b.refused, starts/2)
	})
}

func TestCallsAreMadeAgain(t *testing.T) {
	broken := errors.New("connection reset")
	synctest.Test(t, func(t *testing.T) {
		r, a := bareRunner(), newAction("RunTask", maxChanges)
		tries := 0
		try := func(until int) func(context.Context) (int, error) {
			tries = 0
			return func(context.Context) (int, error) {
				if tries++; tries < until {
					return 0, broken
				}
				return tries, nil
			}
		}
		n, err := call(t.Context(), t.Context(), r, a, time.Minute, try(5))
		require.NoError(t, err)
		assert.Equal(t, 5, n)

		began := time.Now()
		_, err = call(t.Context(), t.Context(), r, a, time.Minute, try(1000))
		require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
		require.ErrorIs(t, err, broken)
		assert.InDelta(t, r.timing.readPatience.Seconds(), time.Since(began).Seconds(), 5)
		assert.Less(t, tries, 15)

		// Whoever gives up does so between two tries.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = call(ctx, t.Context(), r, a, time.Minute, try(1000))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, a.slots)
		assert.Empty(t, a.head)
	})
}

func TestATryHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := bareRunner(), newAction("RunTask", maxChanges)
		began := time.Now()
		_, err := call(t.Context(), t.Context(), r, a, time.Minute, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
		assert.Equal(t, r.timing.attempt, time.Since(began), "no second one, as that was patience enough")
	})
}
