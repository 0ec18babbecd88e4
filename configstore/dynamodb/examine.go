package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// Finding is the outcome of one check of Examine.
type Finding = dynamo.Finding

// Examine checks all that a store needs, and writes nothing: credentials, the connection,
// the clock, the tables and what may be done with them. Where a check fails on which later
// ones depend, it is the last. It returns at least one finding, and ends with ctx.
func Examine(ctx context.Context, client *dynamodb.Client, tables Tables) []Finding {
	s, err := Open(Options{Client: client, Tables: tables})
	if err != nil {
		return []Finding{{Check: "configuration", Detail: err.Error(), Remedy: "correct the configuration of the store"}}
	}
	e := examiner{dynamo.NewExaminer(client, configstore.ErrUnavailable), s}
	if !e.Connection(ctx, s.tables.ClientConfigs) {
		return e.Findings
	}
	for _, spec := range specs(s.tables) {
		if !e.Table(ctx, spec) {
			continue
		}
		e.reading(ctx, spec)
		e.writing(ctx, spec)
	}
	return e.Findings
}

type examiner struct {
	*dynamo.Examiner
	store *Store
}

// nobody is a key that no item has: no client's id and no host.
const nobody = "!doctor"

func nobodyKey(spec dynamo.Table, i int) item {
	key := make(item)
	for _, attribute := range spec.Keys {
		if attribute.Kind == types.ScalarAttributeTypeN {
			key[attribute.Name] = number(0)
		} else {
			key[attribute.Name] = text(fmt.Sprintf("%s-%d", nobody, i))
		}
	}
	return key
}

// reading tries each call that the store reads the table with.
func (e *examiner) reading(ctx context.Context, spec dynamo.Table) {
	check := "reading " + spec.Name
	client := e.store.client
	_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		spec.Name: {Keys: []map[string]types.AttributeValue{nobodyKey(spec, 0)}, ConsistentRead: aws.Bool(true)},
	}})
	if err == nil && spec.Name != e.store.tables.EditHosts {
		_, err = client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &spec.Name, Key: nobodyKey(spec, 0)})
	}
	if err == nil && spec.Name == e.store.tables.ClientConfigs {
		_, err = client.Scan(ctx, &dynamodb.ScanInput{TableName: &spec.Name, Limit: aws.Int32(1)})
	}
	if err == nil && spec.Name == e.store.tables.ConfigChanges {
		_, err = e.store.lastItem(ctx)
	} else if err != nil {
		err = e.store.translate(ctx, err, spec.Name)
	}
	if err != nil {
		e.Failed(check, err)
		return
	}
	e.OK(check, "allowed")
}

// writing tries each action of a write under a condition that never holds: DynamoDB refuses
// what is not allowed before it looks at conditions.
func (e *examiner) writing(ctx context.Context, spec dynamo.Table) {
	check := "writing " + spec.Name
	name := spec.Keys[0].Name
	never := present(name).and(absent(name))
	tx := new(transaction)
	tx.put(spec.Name, nobodyKey(spec, 0), never)
	tx.update(spec.Name, nobodyKey(spec, 1), item{"doctor": text("")}, never)
	tx.remove(spec.Name, nobodyKey(spec, 2), never)
	tx.check(spec.Name, nobodyKey(spec, 3), never)
	switch err := e.store.commit(ctx, tx); {
	case errors.Is(err, errContended):
		e.OK(check, "allowed")
	case err == nil:
		e.Bad(check, "DynamoDB does not heed conditions", "use DynamoDB itself or DynamoDB Local")
	default:
		e.Failed(check, err)
	}
}
