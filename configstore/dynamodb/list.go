package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// The table has no order, and an index would lack the rows of the older tools. So the ids
// are scanned once and kept in order; the change log tells of those that come and go, and
// after listedFor a scan tells what the older tools did.
const (
	listedFor   = time.Minute
	listedDrift = 1000 // more changes than this are no cheaper than a scan
)

// listed are the ids as of a position.
type listed struct {
	lock     chan struct{} // of one, so that waiting ends with a context
	ids      []string
	position configstore.Position
	scanned  time.Time
}

// List implements configstore.Store.
func (s *Store) List(ctx context.Context, after string, limit int) ([]configstore.Record, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("listing clients: limit must be positive, got %d", limit)
	}
	records, err := s.list(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("listing clients: %w", err)
	}
	return records, nil
}

func (s *Store) list(ctx context.Context, after string, limit int) ([]configstore.Record, error) {
	ids, err := s.ids(ctx)
	if err != nil {
		return nil, err
	}
	next, found := slices.BinarySearch(ids, after)
	if found {
		next++
	}
	var records []configstore.Record
	for next < len(ids) && len(records) < limit {
		// Rows may have gone meanwhile: those that follow fill the page.
		page := ids[next:min(next+limit-len(records), len(ids))]
		rows, err := s.rows(ctx, page)
		if err != nil {
			return nil, err
		}
		for _, id := range page {
			if r, ok := rows[id]; ok {
				records = append(records, r.record())
			}
		}
		next += len(page)
	}
	return records, nil
}

// rows reads rows by their ids; those that do not exist are left out.
func (s *Store) rows(ctx context.Context, ids []string) (map[string]row, error) {
	keys := make([]map[string]types.AttributeValue, len(ids))
	for i, id := range ids {
		keys[i] = item{attrClientID: text(id)}
	}
	found, err := s.batchGet(ctx, map[string][]map[string]types.AttributeValue{s.tables.ClientConfigs: keys})
	if err != nil {
		return nil, err
	}
	rows := make(map[string]row, len(ids))
	for _, it := range found[s.tables.ClientConfigs] {
		rows[row(it).id()] = it
	}
	return rows, nil
}

// ids returns all ids in order. The slice must not be changed.
func (s *Store) ids(ctx context.Context) ([]string, error) {
	select {
	case s.listed.lock <- struct{}{}:
		defer func() { <-s.listed.lock }()
	case <-ctx.Done():
		return nil, dynamo.Stopped(ctx, configstore.ErrUnavailable, ctx.Err())
	}
	l := &s.listed
	if l.position != "" && time.Since(l.scanned) < listedFor {
		changes, position, err := s.Changes(ctx, l.position)
		switch {
		case err == nil && len(changes) <= listedDrift:
			l.ids, l.position = drifted(l.ids, changes), position
			return l.ids, nil
		case err != nil && !errors.Is(err, configstore.ErrPositionLost):
			return nil, err
		}
	}
	scanned := time.Now()
	h, err := s.readHead(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	err = s.scan(ctx, dynamodb.ScanInput{
		ProjectionExpression:     aws.String("#id"),
		ExpressionAttributeNames: map[string]string{"#id": attrClientID},
	}, func(it item) error {
		ids = append(ids, row(it).id())
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	l.ids, l.position, l.scanned = ids, h.position(h.last), scanned
	return ids, nil
}

// drifted returns a copy of ids with what came and went.
func drifted(ids []string, changes []configstore.Change) []string {
	if len(changes) == 0 {
		return ids
	}
	ids = slices.Clone(ids)
	for _, c := range changes {
		i, found := slices.BinarySearch(ids, c.ClientID)
		switch {
		case c.Deleted && found:
			ids = slices.Delete(ids, i, i+1)
		case !c.Deleted && !found:
			ids = slices.Insert(ids, i, c.ClientID)
		}
	}
	return ids
}
