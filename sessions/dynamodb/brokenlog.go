package dynamodb

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// brokenAgain is how long a broken record is not named again: the reaper and
	// visitors read it many times.
	brokenAgain = 10 * time.Minute
	maxBroken   = 1000
)

// brokenLog names broken records, each now and then.
type brokenLog struct {
	log  *zap.Logger
	mu   sync.Mutex
	last map[string]time.Time
}

func newBrokenLog(log *zap.Logger) *brokenLog {
	return &brokenLog{log: log, last: make(map[string]time.Time)}
}

// note names the record of a *BrokenError, unless it was named lately.
func (b *brokenLog) note(err error) {
	e, ok := errors.AsType[*BrokenError](err)
	if !ok {
		return
	}
	b.mu.Lock()
	last, known := b.last[e.SessionID]
	again := !known || time.Since(last) >= brokenAgain
	if again {
		if len(b.last) >= maxBroken {
			clear(b.last) // remembering is only there to save lines
		}
		b.last[e.SessionID] = time.Now()
	}
	b.mu.Unlock()
	if again {
		b.log.Error("session record is broken, the session cannot be used until it is mended",
			zap.String("session", e.SessionID), zap.String("attribute", e.Attribute), zap.String("problem", e.Problem))
	}
}
