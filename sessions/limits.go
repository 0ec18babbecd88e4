package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// askLeast and askAgain bound the wait after a container that was idle for long
	// enough, but busy, or could not save.
	askLeast = 250 * time.Millisecond
	askAgain = 30 * time.Second
	// defaultIdle is the idle timeout where a client has none, which validation prevents.
	defaultIdle = 30 * time.Minute
)

// limits are what ends a client's sessions.
type limits struct {
	idle     time.Duration // for so long nobody has used it
	lifetime time.Duration // so long ago it was woken; zero: no limit
}

// limitsFor are the limits by a client's settings, and the operator's.
func (s *Service) limitsFor(c configstore.Settings) limits {
	idle := time.Duration(c.IdleTimeoutMinutes) * time.Minute
	if d := s.tunables.Load().IdleTimeout; d > 0 {
		idle = d
	}
	if idle <= 0 {
		idle = defaultIdle
	}
	return limits{idle: idle, lifetime: max(0, time.Duration(c.MaxLifetimeMinutes)*time.Minute)}
}

// limits returns a client's limits: from memory where Options.Settings is set. For a
// client that is gone they are those of one without settings.
func (s *Service) limits(ctx context.Context, clientID string) (limits, error) {
	if s.settings != nil {
		if c, ok := s.settings(clientID); ok {
			return s.limitsFor(c), nil
		}
	}
	c, err := s.client(ctx, clientID)
	if err != nil && !errors.Is(err, configstore.ErrNotFound) {
		return limits{}, err
	}
	return s.limitsFor(c.Settings), nil
}

// abandonAfter is after what silence of all edges a container ends itself. Each question
// tells it anew, and it is asked within half of it.
func (l limits) abandonAfter() time.Duration {
	return max(2*l.idle, time.Second).Round(time.Second)
}

// question is what a container is asked: whether it was idle for long enough, or, if
// forced, to agree whatever goes on.
func (l limits) question(forced bool) bootapi.QuiesceRequest {
	q := bootapi.QuiesceRequest{
		IdleMillis: l.idle.Milliseconds(), MaxLifetimeMillis: l.lifetime.Milliseconds(),
		AbandonAfterSeconds: int64(l.abandonAfter().Seconds()),
	}
	if forced {
		q.IdleMillis = 0
	}
	return q
}

// nextAsk is how long to wait before a container is asked again that has been idle and
// has lived for so long.
func (l limits) nextAsk(idle, lived time.Duration) time.Duration {
	wait := l.idle - max(0, idle)
	if l.lifetime > 0 {
		wait = min(wait, l.lifetime-lived)
	}
	if wait <= 0 { // busy, or it could not save
		wait = min(l.idle/4, askAgain)
	}
	return max(wait, askLeast)
}
