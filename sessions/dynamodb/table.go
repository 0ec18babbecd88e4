package dynamodb

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
)

// tableOf is what the table is to be. See the package comment.
func tableOf(name string) dynamo.Table {
	const s, n = types.ScalarAttributeTypeS, types.ScalarAttributeTypeN
	return dynamo.Table{
		Name: name,
		Keys: []dynamo.Key{{Name: attrSessionID, Kind: s}},
		Indexes: []dynamo.Index{
			{Name: indexClient, Keys: []dynamo.Key{{Name: attrClientID, Kind: s}, {Name: attrSessionID, Kind: s}}},
			{Name: indexQueue, Keys: []dynamo.Key{{Name: attrQueue, Kind: s}, {Name: attrQueueAt, Kind: n}}},
		},
		Expires: attrTTL,
	}
}

// CreateTable makes the table; one that exists, as that of the older tools does, keeps its
// items and gets what it lacks, its indexes above all. "" is DefaultTable. It returns what
// it did, or with dryRun would do, in order; nothing where all is as it should be. The
// error says what could not be done, beside what was; a table with another key is refused.
func CreateTable(ctx context.Context, client *dynamodb.Client, table string, dryRun bool) ([]dynamo.TableChange, error) {
	return tableOf(orDefault(table)).Make(ctx, client, sessions.ErrUnavailable, dryRun)
}

func orDefault(table string) string {
	if table == "" {
		return DefaultTable
	}
	return table
}

// Examine checks all that a registry needs, and writes nothing: credentials, the
// connection, the clock, the table, its indexes, and what may be done with them. Where a
// check fails on which later ones depend, it is the last. "" is DefaultTable.
func Examine(ctx context.Context, client *dynamodb.Client, table string) []dynamo.Finding {
	table = orDefault(table)
	e := dynamo.NewExaminer(client, sessions.ErrUnavailable)
	if !e.Connection(ctx, table) || !e.Table(ctx, tableOf(table)) {
		return e.Findings
	}
	r, err := Open(Options{Client: client, Table: table})
	if err != nil {
		e.Failed("configuration", err)
		return e.Findings
	}
	if err := r.tryReading(ctx); err != nil {
		e.Failed("reading "+table, r.classify(ctx, err))
	} else {
		e.OK("reading "+table, "allowed")
	}
	if err := r.tryWriting(ctx); err != nil {
		e.Failed("writing "+table, r.classify(ctx, err))
	} else {
		e.OK("writing "+table, "allowed")
	}
	return e.Findings
}

// nobody is an id that no session and no client has.
const nobody = "!doctor"

// tryReading makes each call that reads.
func (r *Registry) tryReading(ctx context.Context) error {
	if _, err := r.getItem(ctx, key(nobody)); err != nil {
		return err
	}
	if _, err := r.batchGet(ctx, []string{nobody}, true); err != nil {
		return err
	}
	if _, err := r.listClient(ctx, nobody, "", 1); err != nil {
		return err
	}
	if _, err := r.queued(ctx, queueUnsettled, nil, 1); err != nil {
		return err
	}
	_, err := r.client.Scan(ctx, &dynamodb.ScanInput{TableName: &r.table, Limit: aws.Int32(1)})
	return err
}

// tryWriting makes each action of a write under a condition that never holds: DynamoDB
// refuses what is not allowed before it looks at conditions.
func (r *Registry) tryWriting(ctx context.Context) error {
	never := func() *expression {
		x := newExpression()
		x.whereExists(attrSessionID, true)
		x.whereExists(attrSessionID, false)
		return x
	}
	change := never()
	change.set(attrKind, text(nobody))
	failed, err := r.transact(ctx,
		never().asPut(r.table, key(nobody+"-1")), change.asUpdate(r.table, key(nobody+"-2")),
		never().asDelete(r.table, key(nobody+"-3")), never().asCheck(r.table, key(nobody+"-4")))
	if err == nil && failed == nil {
		err = errors.New("DynamoDB does not heed conditions: use DynamoDB itself or DynamoDB Local")
	}
	return err
}
