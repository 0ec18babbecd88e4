package dynamodb

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// expression is an update of one item and its condition, in the making. Every attribute's
// name is given indirectly, because many are reserved words.
type expression struct {
	names      map[string]string
	values     item
	clauses    map[string][]string // by keyword: SET, REMOVE, ADD, DELETE
	conditions []string
}

func newExpression() *expression {
	return &expression{names: make(map[string]string), values: make(item), clauses: make(map[string][]string)}
}

// attr returns the placeholder of an attribute.
func (x *expression) attr(name string) string {
	x.names["#"+name] = name
	return "#" + name
}

// value returns the placeholder of a value.
func (x *expression) value(v types.AttributeValue) string {
	placeholder := fmt.Sprintf(":%d", len(x.values))
	x.values[placeholder] = v
	return placeholder
}

func (x *expression) set(name string, v types.AttributeValue) {
	x.clauses["SET"] = append(x.clauses["SET"], x.attr(name)+" = "+x.value(v))
}

func (x *expression) remove(name string) {
	x.clauses["REMOVE"] = append(x.clauses["REMOVE"], x.attr(name))
}

// add adds elements to a set, which is made if need be.
func (x *expression) add(name string, v types.AttributeValue) {
	x.clauses["ADD"] = append(x.clauses["ADD"], x.attr(name)+" "+x.value(v))
}

// delete removes elements from a set; an empty set is no attribute.
func (x *expression) delete(name string, v types.AttributeValue) {
	x.clauses["DELETE"] = append(x.clauses["DELETE"], x.attr(name)+" "+x.value(v))
}

// where adds a condition. All must hold.
func (x *expression) where(condition string) { x.conditions = append(x.conditions, condition) }

func (x *expression) whereEqual(name string, v types.AttributeValue) {
	x.where(x.attr(name) + " = " + x.value(v))
}

func (x *expression) whereExists(name string, exists bool) {
	if exists {
		x.where("attribute_exists(" + x.attr(name) + ")")
	} else {
		x.where("attribute_not_exists(" + x.attr(name) + ")")
	}
}

// whereNoneOr is the condition that there is no item, or that it has this value.
func (x *expression) whereNoneOr(name string, v types.AttributeValue) {
	x.where("(attribute_not_exists(" + x.attr(attrSessionID) + ") OR " + x.attr(name) + " = " + x.value(v) + ")")
}

func (x *expression) condition() *string {
	if len(x.conditions) == 0 {
		return nil
	}
	return aws.String(strings.Join(x.conditions, " AND "))
}

func (x *expression) update() *string {
	var b strings.Builder
	for _, keyword := range []string{"SET", "REMOVE", "ADD", "DELETE"} {
		if parts := x.clauses[keyword]; len(parts) > 0 {
			fmt.Fprintf(&b, "%s %s ", keyword, strings.Join(parts, ", "))
		}
	}
	return aws.String(b.String())
}

// boundValues is values, nil where there are none, as DynamoDB wants it.
func (x *expression) boundValues() item {
	if len(x.values) == 0 {
		return nil
	}
	return x.values
}

// The expression as an action of a transaction. A condition that does not hold returns the item.

func (x *expression) asUpdate(table string, key item) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: &table, Key: key, UpdateExpression: x.update(), ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

func (x *expression) asPut(table string, it item) types.TransactWriteItem {
	return types.TransactWriteItem{Put: &types.Put{
		TableName: &table, Item: it, ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

func (x *expression) asDelete(table string, key item) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{
		TableName: &table, Key: key, ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

func (x *expression) asCheck(table string, key item) types.TransactWriteItem {
	return types.TransactWriteItem{ConditionCheck: &types.ConditionCheck{
		TableName: &table, Key: key, ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
	}}
}
