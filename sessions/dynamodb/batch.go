package dynamodb

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

const (
	// batch is how many items DynamoDB returns to one call at most.
	batch = 100
	// batches is how many such calls are under way at once.
	batches = 8
)

// records returns the records of ids, in their order, without those that are gone or broken.
func (r *Registry) records(ctx context.Context, ids []string, consistent bool) ([]sessions.Record, error) {
	items, err := r.batchGet(ctx, ids, consistent)
	if err != nil {
		return nil, err
	}
	recs := make([]sessions.Record, 0, len(ids))
	for _, id := range ids {
		it, ok := items[id]
		if !ok || !isSession(it) {
			continue
		}
		rec, err := decode(it)
		if err != nil {
			r.broken.note(err)
			continue
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

// batchGet returns items by id.
func (r *Registry) batchGet(ctx context.Context, ids []string, consistent bool) (map[string]item, error) {
	ids = slices.Compact(sorted(ids))
	found := make(map[string]item, len(ids))
	var mu sync.Mutex
	err := forEach(ctx, slices.Collect(slices.Chunk(ids, batch)), batches, func(ctx context.Context, chunk []string) error {
		items, err := r.batchGetOne(ctx, chunk, consistent)
		mu.Lock()
		defer mu.Unlock()
		for _, it := range items {
			found[textOf(it[attrSessionID])] = it
		}
		return err
	})
	return found, err
}

// errUnprocessed: DynamoDB has returned some of the items, and wants to be asked again.
var errUnprocessed = errors.New("the table returns no more items at once")

// batchGetOne reads one batch, in as many calls as DynamoDB wants.
func (r *Registry) batchGetOne(ctx context.Context, ids []string, consistent bool) (items []item, err error) {
	wanted := &types.KeysAndAttributes{ConsistentRead: &consistent}
	for _, id := range ids {
		wanted.Keys = append(wanted.Keys, key(id))
	}
	err = contend(ctx, func() error {
		out, err := r.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{r.table: *wanted}})
		if err != nil {
			return err
		}
		items = append(items, out.Responses[r.table]...)
		rest, ok := out.UnprocessedKeys[r.table]
		if !ok || len(rest.Keys) == 0 {
			return nil
		}
		wanted.Keys = rest.Keys
		return errUnprocessed
	})
	return items, err
}

// forEach runs fn for all of them, some at a time, and returns the first error.
func forEach[T any](ctx context.Context, all []T, most int, fn func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := make(chan struct{}, most)
	var wg sync.WaitGroup
	for _, one := range all {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-places }()
			if err := fn(ctx, one); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}
