package dynamodb

import (
	"context"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// translate says what a failed call means, and what to do. All but a refusal of the request
// itself is ErrUnavailable. tables are those that the call was about.
func (s *Store) translate(ctx context.Context, err error, tables ...string) error {
	return dynamo.Translate(ctx, s.client, configstore.ErrUnavailable, err, tables...)
}
