package worktree

import "context"

// token is a lock that a context ends the waiting for: whoever has put something into the
// channel, of capacity 1, holds it.
type token chan struct{}

func newToken() token { return make(token, 1) }

// take waits for the token, or fails with an *Error when ctx ends first.
func (t token) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &Error{Cause: tookTooLong, Detail: "waiting for other work on the repository: " + context.Cause(ctx).Error(), Retryable: true, err: ctx.Err()}
	}
}

func (t token) release() { <-t }
