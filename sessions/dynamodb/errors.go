package dynamodb

import (
	"context"
	"errors"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
)

// errIdentity: an update would change what never changes.
var errIdentity = errors.New("a session's client and thread never change")

// outcomes are the errors that are answers of the registry, not its failures.
var outcomes = []error{
	sessions.ErrNotFound, sessions.ErrConflict, sessions.ErrThreadTaken, sessions.ErrLimit, sessions.ErrUnavailable, errIdentity,
}

// classify turns what went wrong between us and the table into ErrUnavailable, with what to
// do about it, and what came of an ended context into the context's error.
func (r *Registry) classify(ctx context.Context, err error) error {
	for _, outcome := range outcomes {
		if errors.Is(err, outcome) {
			return err
		}
	}
	return dynamo.Translate(ctx, r.client, sessions.ErrUnavailable, err, r.table)
}
