package configstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestJitter(t *testing.T) {
	const d = 10 * time.Minute
	least, most := d, d
	for range 10_000 {
		got := jittered(d)
		least, most = min(least, got), max(most, got)
	}
	assert.GreaterOrEqual(t, least, 8*time.Minute)
	assert.LessOrEqual(t, most, 12*time.Minute)
	assert.Less(t, least, 8*time.Minute+30*time.Second, "edges that start together drift apart")
	assert.Greater(t, most, 11*time.Minute+30*time.Second)
}

func TestBackoff(t *testing.T) {
	f := follower{FollowOptions: FollowOptions{}.withDefaults(), table: NewTable(nil), position: "p"}
	failures := func(r *retries, took time.Duration) (delays []time.Duration) {
		for range 100 {
			delays = append(delays, f.failed(context.Background(), r, took, errors.New("x")))
		}
		return delays
	}
	for i, d := range failures(new(retries), 0) {
		assert.LessOrEqual(t, d, 2400*time.Millisecond)
		assert.GreaterOrEqual(t, d, min(160*time.Millisecond<<min(i, 10), 1600*time.Millisecond))
	}
	for _, d := range failures(new(retries), answerTimeout) {
		assert.Equal(t, leastBackoff, d, "a call that hung has waited enough")
	}
	scans := failures(&f.scanRetries, 0)
	assert.GreaterOrEqual(t, scans[99], 48*time.Second, "nothing waits for a reconcile")
	f.position = ""
	assert.LessOrEqual(t, failures(&f.scanRetries, 0)[99], 2400*time.Millisecond, "but for this one")

	// What makes the promise of 5 seconds.
	longest := time.Duration(1.2 * float64(maxBackoff))
	assert.Less(t, max(answerTimeout, longest)+2*leastBackoff, 4*time.Second)
}
