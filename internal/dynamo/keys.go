package dynamo

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Key is a key attribute of a table or an index.
type Key struct {
	Name string
	Kind types.ScalarAttributeType
}

// keys are a partition key and, maybe, a sort key.
type keys []Key

func (k keys) schema() []types.KeySchemaElement {
	schema := make([]types.KeySchemaElement, len(k))
	for i, key := range k {
		schema[i] = types.KeySchemaElement{AttributeName: &key.Name, KeyType: keyTypes[i]}
	}
	return schema
}

var keyTypes = [...]types.KeyType{types.KeyTypeHash, types.KeyTypeRange}

func (k keys) definitions() []types.AttributeDefinition {
	all := make([]types.AttributeDefinition, len(k))
	for i, key := range k {
		all[i] = types.AttributeDefinition{AttributeName: &key.Name, AttributeType: key.Kind}
	}
	return all
}

// String names the keys and their types.
func (k keys) String() string {
	parts := make([]string, len(k))
	for i, key := range k {
		parts[i] = fmt.Sprintf("%s (%s)", key.Name, key.Kind)
	}
	return strings.Join(parts, ", ")
}

// fault says how keys that were found differ, or "".
func (k keys) fault(schema []types.KeySchemaElement, table *types.TableDescription) string {
	var have keys
	for _, element := range schema {
		key := Key{Name: aws.ToString(element.AttributeName)}
		for _, definition := range table.AttributeDefinitions {
			if aws.ToString(definition.AttributeName) == key.Name {
				key.Kind = definition.AttributeType
			}
		}
		have = append(have, key)
	}
	if slices.Equal(k, have) {
		return ""
	}
	return fmt.Sprintf("its key is %s instead of %s", have, k)
}

// definitions are the key attributes of the table and its indexes, each once.
func (t Table) definitions() []types.AttributeDefinition {
	all := slices.Clone(t.Keys)
	for _, index := range t.Indexes {
		all = append(all, index.Keys...)
	}
	slices.SortFunc(all, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	return keys(slices.Compact(all)).definitions()
}
