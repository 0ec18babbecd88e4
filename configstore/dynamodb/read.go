package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
)

// Get implements configstore.Store.
func (s *Store) Get(ctx context.Context, id string) (configstore.Record, error) {
	record, err := s.get(ctx, id)
	if err != nil {
		return configstore.Record{}, fmt.Errorf("getting client %q: %w", id, err)
	}
	return record, nil
}

func (s *Store) get(ctx context.Context, id string) (configstore.Record, error) {
	if id == "" { // DynamoDB refuses empty keys
		return configstore.Record{}, configstore.ErrNotFound
	}
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &s.tables.ClientConfigs,
		Key:            item{attrClientID: text(id)},
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return configstore.Record{}, s.translate(ctx, err, s.tables.ClientConfigs)
	}
	if out.Item == nil {
		return configstore.Record{}, configstore.ErrNotFound
	}
	record := row(out.Item).record()
	if record.Broken != "" {
		return configstore.Record{}, fmt.Errorf("%w: %s", configstore.ErrBroken, record.Broken)
	}
	return record, nil
}

// scanPage is how many rows one call of a scan reads. What a scan costs does not depend on
// it, but small pages come often, by which a follower tells a slow store from one that has
// gone. DynamoDB Local takes seconds for a page of 1 MB and answers nobody meanwhile.
const scanPage = 500

// routed are the attributes that routing needs: no keys, which then do not travel either.
var routed = [...]string{"#id", "#version", "#config.#id", "#config.#domains", "#config.#settings", "#config.#disabled"}

var routedNames = map[string]string{
	"#id": attrClientID, "#version": attrVersion, "#config": attrConfig,
	"#domains": "domains", "#settings": "settings", "#disabled": "disabled",
}

// Scan implements configstore.Store. It reads several parts of the table at the same time.
// A row is judged by what routing needs of it; the rest of it Get judges.
func (s *Store) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	h, err := s.settle(ctx)
	if err != nil {
		return "", fmt.Errorf("scanning clients: %w", err)
	}
	err = s.scan(ctx, dynamodb.ScanInput{
		ProjectionExpression:     aws.String(strings.Join(routed[:], ", ")),
		ExpressionAttributeNames: routedNames,
	}, func(it item) error { return fn(scannedEntry(it)) })
	if err != nil {
		return "", fmt.Errorf("scanning clients: %w", err)
	}
	return h.position(h.last), nil
}

// scannedEntry reads a row of which only the routed attributes were asked for.
func scannedEntry(it item) configstore.Entry {
	if _, ok := it[attrConfig]; !ok {
		// Its parts were asked for, and are not told apart from a config that has none.
		return configstore.Entry{ClientID: row(it).id(), Version: row(it).version(), Broken: "config: must be a map with domains and settings"}
	}
	if e, ok := quickEntry(it); ok {
		return e
	}
	return row(it).record().Entry()
}

func (s *Store) readHead(ctx context.Context) (head, error) {
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &s.tables.ConfigChanges,
		Key:            headKey(),
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return head{}, s.translate(ctx, err, s.tables.ConfigChanges)
	}
	return readHead(out.Item)
}

// scan calls fn, once at a time, for each row of the table of client configs.
func (s *Store) scan(ctx context.Context, in dynamodb.ScanInput, fn func(item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pages := make(chan []map[string]types.AttributeValue)
	var readers sync.WaitGroup
	for segment := range scanSegments {
		readers.Go(func() {
			if err := s.scanSegment(ctx, in, segment, pages); err != nil {
				cancel(err)
			}
		})
	}
	go func() { readers.Wait(); close(pages) }()
	for page := range pages {
		for _, it := range page {
			if context.Cause(ctx) != nil {
				break
			}
			if err := fn(it); err != nil {
				cancel(err)
			}
		}
	}
	return context.Cause(ctx)
}

func (s *Store) scanSegment(ctx context.Context, in dynamodb.ScanInput, segment int, pages chan<- []map[string]types.AttributeValue) error {
	in.TableName = &s.tables.ClientConfigs
	in.ConsistentRead = aws.Bool(true)
	in.Limit = aws.Int32(scanPage)
	in.Segment, in.TotalSegments = aws.Int32(int32(segment)), aws.Int32(scanSegments)
	paginator := dynamodb.NewScanPaginator(s.client, &in)
	for paginator.HasMorePages() {
		page, err := paginator.NextPage(ctx)
		if err != nil {
			return s.translate(ctx, err, s.tables.ClientConfigs)
		}
		select {
		case pages <- page.Items:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// batchGet reads items by their keys, consistently, each once; the order is lost.
func (s *Store) batchGet(ctx context.Context, keys map[string][]map[string]types.AttributeValue) (map[string][]map[string]types.AttributeValue, error) {
	const most = 100
	found := make(map[string][]map[string]types.AttributeValue)
	var failures error
	ask := func(request map[string]types.KeysAndAttributes) {
		for try := 0; len(request) > 0 && failures == nil; try++ {
			out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: request})
			if err != nil {
				failures = s.translate(ctx, err, tablesOf(request)...)
				return
			}
			for table, items := range out.Responses {
				found[table] = append(found[table], items...)
			}
			if request = out.UnprocessedKeys; len(request) > 0 {
				failures = s.backOff(ctx, try, errors.New("reading was throttled"))
			}
		}
	}
	request, n := make(map[string]types.KeysAndAttributes), 0
	for table, list := range keys {
		for _, key := range list {
			part := request[table]
			part.ConsistentRead = aws.Bool(true)
			part.Keys = append(part.Keys, key)
			request[table] = part
			if n++; n == most {
				ask(request)
				request, n = make(map[string]types.KeysAndAttributes), 0
			}
		}
	}
	ask(request)
	return found, failures
}

func tablesOf(request map[string]types.KeysAndAttributes) []string {
	var names []string
	for name := range request {
		names = append(names, name)
	}
	return names
}
