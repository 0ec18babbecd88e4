package dynamodb

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	// settleDepth is how many of the newest transactions may still be under way: more than
	// there are writers at a time, each of which waits for its own to end.
	settleDepth = 10
	// settleBatch is how many items DynamoDB reads in one transaction.
	settleBatch = 100
)

// settle returns a head up to which all transactions are visible in all tables. DynamoDB
// applies a transaction item by item, so that a reader may meet the head of one before its
// rows. A read in a transaction is refused while one that writes the same items is under
// way; so the rows of the newest transactions are read once in that way, and what is read
// after is no older.
func (s *Store) settle(ctx context.Context) (head, error) {
	h, err := s.readHead(ctx)
	if err != nil || h.log == "" {
		return h, err
	}
	var keys []types.TransactGetItem
	for seq := h.last; seq > max(h.last-settleDepth, 0); seq-- {
		keys = append(keys, settled(s.tables.ConfigChanges, item{attrPart: text(logPart), attrSeq: number(seq)}))
	}
	items, err := s.transactGet(ctx, keys)
	if err != nil {
		return head{}, err
	}
	seen := make(map[string]bool)
	var rows []types.TransactGetItem
	for _, it := range items {
		changes, err := readLogItem(it)
		if err != nil {
			continue // expired
		}
		for _, c := range changes {
			if !seen[c.ClientID] {
				seen[c.ClientID] = true
				get := settled(s.tables.ClientConfigs, item{attrClientID: text(c.ClientID)})
				get.Get.ProjectionExpression = aws.String(attrClientID)
				rows = append(rows, get)
			}
		}
	}
	for batch := range slices.Chunk(rows, settleBatch) {
		if _, err := s.transactGet(ctx, batch); err != nil {
			return head{}, err
		}
	}
	return h, nil
}

func settled(table string, key item) types.TransactGetItem {
	return types.TransactGetItem{Get: &types.Get{TableName: &table, Key: key}}
}

// transactGet reads items in one transaction, once no other writes them.
func (s *Store) transactGet(ctx context.Context, keys []types.TransactGetItem) ([]item, error) {
	for try := 0; ; try++ {
		out, err := s.client.TransactGetItems(ctx, &dynamodb.TransactGetItemsInput{TransactItems: keys})
		var canceled *types.TransactionCanceledException
		switch {
		case err == nil:
			items := make([]item, len(out.Responses))
			for i, response := range out.Responses {
				items[i] = response.Item
			}
			return items, nil
		case !errors.As(err, &canceled):
			return nil, s.translate(ctx, err, s.tables.all()...)
		}
		if err := s.cancellation(ctx, canceled, err); !errors.Is(err, errContended) {
			return nil, err
		} else if err := s.backOff(ctx, try, err); err != nil {
			return nil, err
		}
	}
}
