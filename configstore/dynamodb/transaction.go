package dynamodb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
)

// What DynamoDB takes in one transaction; the sizes with room for what is not counted here.
const (
	maxActions  = 100
	maxBytes    = 3_500_000 // of 4 MB
	maxLogBytes = 380_000   // of 400 KB for an item
)

// transaction gathers the actions of one write. Each has a condition, so that nothing of
// it happens where something is not as it was read.
type transaction struct {
	head    head // as it was read
	actions []types.TransactWriteItem
	bytes   int // about
	largest int // of an item
}

func (t *transaction) put(table string, it item, c condition) {
	t.count(it)
	t.actions = append(t.actions, types.TransactWriteItem{Put: &types.Put{
		TableName: &table, Item: it,
		ConditionExpression: c.expression(), ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}})
}

// update sets attributes and leaves the others of the item as they are.
func (t *transaction) update(table string, key, set item, c condition) {
	t.count(set)
	names, values := maps.Clone(c.names), maps.Clone(c.values)
	if values == nil {
		values = make(item)
	}
	assignments := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		names["#"+name], values[":new_"+name] = name, set[name]
		assignments = append(assignments, fmt.Sprintf("#%s = :new_%s", name, name))
	}
	t.actions = append(t.actions, types.TransactWriteItem{Update: &types.Update{
		TableName: &table, Key: key, UpdateExpression: aws.String("SET " + strings.Join(assignments, ", ")),
		ConditionExpression: c.expression(), ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}})
}

func (t *transaction) remove(table string, key item, c condition) {
	t.count(key)
	t.actions = append(t.actions, types.TransactWriteItem{Delete: &types.Delete{
		TableName: &table, Key: key,
		ConditionExpression: c.expression(), ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}})
}

func (t *transaction) check(table string, key item, c condition) {
	t.count(key)
	t.actions = append(t.actions, types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: &table, Key: key,
		ConditionExpression: c.expression(), ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	}})
}

func (t *transaction) count(it item) {
	n := sizeOf(&types.AttributeValueMemberM{Value: it})
	t.bytes += n
	t.largest = max(t.largest, n)
}

// fits returns ErrTooLarge where the transaction of several clients is too large. That of
// one is not, by the bounds of a configuration.
func (t *transaction) fits(clients int) error {
	if clients > 1 && (len(t.actions) > maxActions || t.bytes > maxBytes || t.largest > maxLogBytes) {
		return fmt.Errorf("%d actions, %d bytes: %w", len(t.actions), t.bytes, configstore.ErrTooLarge)
	}
	return nil
}

// sizeOf is about what an attribute counts in DynamoDB.
func sizeOf(v types.AttributeValue) int {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value) + 1
	case *types.AttributeValueMemberM:
		n := 3
		for name, member := range v.Value {
			n += len(name) + 1 + sizeOf(member)
		}
		return n
	case *types.AttributeValueMemberL:
		n := 3
		for _, element := range v.Value {
			n += 1 + sizeOf(element)
		}
		return n
	case *types.AttributeValueMemberB:
		return len(v.Value) + 1
	case *types.AttributeValueMemberSS:
		return len(strings.Join(v.Value, " ")) + 3
	default:
		return len(appendJSON(nil, v))
	}
}

// condition is what must hold of an item. Attributes are named by themselves.
type condition struct {
	parts  []string
	names  map[string]string
	values item
}

// equal: the attribute has a value; or is absent, for nil.
func equal(name string, v types.AttributeValue) condition {
	if v == nil {
		return absent(name)
	}
	return condition{
		parts:  []string{fmt.Sprintf("#%s = :%s", name, name)},
		names:  map[string]string{"#" + name: name},
		values: item{":" + name: v},
	}
}

// absent: the attribute is not there; with the key's, the item is not.
func absent(name string) condition {
	return condition{
		parts: []string{fmt.Sprintf("attribute_not_exists(#%s)", name)},
		names: map[string]string{"#" + name: name},
	}
}

func present(name string) condition {
	return condition{
		parts: []string{fmt.Sprintf("attribute_exists(#%s)", name)},
		names: map[string]string{"#" + name: name},
	}
}

func (c condition) and(other condition) condition {
	both := condition{parts: slices.Concat(c.parts, other.parts), names: maps.Clone(c.names), values: make(item)}
	maps.Copy(both.names, other.names)
	maps.Copy(both.values, c.values)
	maps.Copy(both.values, other.values)
	if len(both.values) == 0 {
		both.values = nil // DynamoDB refuses an empty map
	}
	return both
}

func (c condition) expression() *string { return aws.String(strings.Join(c.parts, " AND ")) }
