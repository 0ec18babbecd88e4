package dynamodb

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// The head may be seen a moment before the item that belongs to it, for a read of several
// items is no transaction. What stays missing has expired.
const (
	missingTries = 4
	missingDelay = 100 * time.Millisecond
)

// Changes implements configstore.Store. It is one query, whose cost depends on what changed
// and on nothing else.
func (s *Store) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	log, seq, ok := readPosition(since)
	if !ok || log == noLog && seq != 0 {
		return nil, "", fmt.Errorf("reading changes of clients: %w", configstore.ErrPositionLost)
	}
	for try := 1; ; try++ {
		part, err := s.readLog(ctx, log, seq)
		if err != nil {
			return nil, "", fmt.Errorf("reading changes of clients: %w", err)
		}
		if part.lost || part.missing && try == missingTries {
			return nil, "", fmt.Errorf("reading changes of clients: %w", configstore.ErrPositionLost)
		}
		if !part.missing {
			return part.changes, part.position, nil
		}
		if err := pause(ctx, missingDelay); err != nil {
			return nil, "", fmt.Errorf("reading changes of clients: %w", err)
		}
	}
}

// logPartRead is what a query of the log found.
type logPartRead struct {
	changes  []configstore.Change
	position configstore.Position
	// lost: the position is none of this log. missing: the first item after it is not there,
	// though later ones or the head say that it was written.
	lost, missing bool
}

// readLog reads the items after a number, up to the first that is missing, and the head.
func (s *Store) readLog(ctx context.Context, log string, seq int64) (logPartRead, error) {
	var r logPartRead
	var h head
	fresh, last := log == noLog, seq
	pages := dynamodb.NewQueryPaginator(s.client, &dynamodb.QueryInput{
		TableName:              &s.tables.ConfigChanges,
		ConsistentRead:         aws.Bool(true),
		KeyConditionExpression: aws.String("#part = :part AND #seq > :seq"),
		ExpressionAttributeNames: map[string]string{
			"#part": attrPart, "#seq": attrSeq,
		},
		ExpressionAttributeValues: item{":part": text(logPart), ":seq": number(seq)},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return r, s.translate(ctx, err, s.tables.ConfigChanges)
		}
		for _, it := range page.Items {
			n, _ := numberOf(it[attrSeq])
			if n == headSeq {
				if h, err = readHead(it); err != nil {
					return r, err
				}
				break // nothing lies above it
			}
			changes, readable := s.readable(it, n)
			if n != last+1 || !readable {
				r.missing = last == seq
				r.position = head{log: log}.position(last)
				return r, nil
			}
			if held := textOf(it[attrLog]); log == noLog {
				log = held
			} else if held != log {
				r.lost = true
				return r, nil
			}
			r.changes = append(r.changes, changes...)
			last = n
		}
	}
	switch {
	case fresh && h.log == "":
		r.position = h.position(0)
	case log != h.log && (!fresh || last > 0), h.last < seq:
		r.lost = true
	default:
		r.missing = last == seq && h.last > seq
		r.position = h.position(last)
	}
	return r, nil
}

// readable reads an item of the log. One that cannot be read is as good as missing.
func (s *Store) readable(it item, seq int64) ([]configstore.Change, bool) {
	changes, err := readLogItem(it)
	if err != nil {
		s.logger.Error("change log has an item that cannot be read", zap.Int64("seq", seq), zap.Error(err))
	}
	return changes, err == nil
}

// pause waits; where ctx ends before, it returns the error of a call that ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	if err := dynamo.Pause(ctx, d); err != nil {
		return dynamo.Stopped(ctx, configstore.ErrUnavailable, err)
	}
	return nil
}
