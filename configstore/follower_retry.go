package configstore

import (
	"context"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

// Bounds of the time between two tries.
const (
	firstBackoff = 200 * time.Millisecond
	// maxBackoff bounds it while the store is unavailable.
	maxBackoff = 2 * time.Second
	// leastBackoff is left of a back-off which a call has used up by hanging.
	leastBackoff = 100 * time.Millisecond
	// calmBackoff bounds that of scans which nothing waits for.
	calmBackoff = time.Minute
)

// retries counts the failures of one thing since it last succeeded.
type retries struct{ failures int }

// failed counts a failure of a call that took this long, and returns when to try again.
// The time between two tries counts from the beginning of a call, so that calls which
// hang are tried as often as those which are refused. It logs the first of several
// failures; Info tells of the others.
func (f *follower) failed(ctx context.Context, r *retries, took time.Duration, err error) time.Duration {
	if ctx.Err() != nil {
		return maxBackoff // it is over
	}
	r.failures++
	f.table.failed(err)
	if r.failures == 1 {
		if f.table.Loaded() {
			f.Logger.Warn("following the config store failed, the routing table stays as it is", zap.Error(err))
		} else {
			f.Logger.Error("loading the routing table failed, requests are answered 503 until the config store can be read", zap.Error(err))
		}
	}
	longest := maxBackoff
	if r == &f.scanRetries && f.position != "" {
		longest = max(longest, calmBackoff)
	}
	backoff := jittered(min(firstBackoff<<min(r.failures-1, 16), longest))
	return max(backoff-took, leastBackoff)
}

func (f *follower) succeeded(r *retries) {
	if r.failures > 0 {
		f.Logger.Info("config store answers again", zap.Int("failures", r.failures))
	}
	r.failures = 0
}

// jittered varies a time by a fifth either way.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // nothing secret depends on it
}
