package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithymiddleware "github.com/aws/smithy-go/middleware"
)

// Finding is the outcome of one check of Examine.
type Finding struct {
	// Check says what was looked at: "credentials", "connection", "clock",
	// "table NAME", "expiry of NAME", "recovery of NAME", "reading NAME", "writing NAME".
	Check string
	OK    bool
	// Detail is what was found. It never holds a secret.
	Detail string
	// Remedy says what to do; empty where the check is OK.
	Remedy string
}

// skewNotice is when to say that the clock is off, long before skewTolerance.
const skewNotice = 30 * time.Second

// Examine checks all that a store needs, and writes nothing: credentials, the connection,
// the clock, the tables and what may be done with them. Where a check fails on which later
// ones depend, it is the last. It returns at least one finding, and ends with ctx.
func Examine(ctx context.Context, client *dynamodb.Client, tables Tables) []Finding {
	s, err := Open(Options{Client: client, Tables: tables})
	if err != nil {
		return []Finding{{Check: "configuration", Detail: err.Error(), Remedy: "correct the configuration of the store"}}
	}
	e := examiner{store: s}
	if !e.credentials(ctx) || !e.connection(ctx) {
		return e.findings
	}
	for _, spec := range specs(s.tables) {
		if !e.table(ctx, spec) {
			continue
		}
		e.expiry(ctx, spec)
		e.recovery(ctx, spec)
		e.reading(ctx, spec)
		e.writing(ctx, spec)
	}
	return e.findings
}

type examiner struct {
	store    *Store
	findings []Finding
}

func (e *examiner) ok(check, format string, args ...any) bool {
	e.findings = append(e.findings, Finding{Check: check, OK: true, Detail: fmt.Sprintf(format, args...)})
	return true
}

func (e *examiner) bad(check, detail, remedy string) bool {
	e.findings = append(e.findings, Finding{Check: check, Detail: detail, Remedy: remedy})
	return false
}

// failed reports a call that failed; its error says what to do.
func (e *examiner) failed(check string, err error) bool {
	if f, ok := errors.AsType[*fault](err); ok && f.remedy != "" {
		return e.bad(check, f.what, f.remedy)
	}
	return e.bad(check, err.Error(), "see to what the error says, and try again")
}

func (e *examiner) credentials(ctx context.Context) bool {
	credentials, err := e.store.client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return e.bad("credentials", "there are none ("+cause(err)+")", credentialsRemedy)
	}
	id := credentials.AccessKeyID
	detail := fmt.Sprintf("access key …%s (%s)", id[max(0, len(id)-4):], credentials.Source)
	if credentials.CanExpire {
		detail += ", valid until " + credentials.Expires.UTC().Format(time.RFC3339)
	}
	return e.ok("credentials", "%s", detail)
}

// connection asks for a table, whether or not it exists, and looks at the answer's date.
func (e *examiner) connection(ctx context.Context) bool {
	table := e.store.tables.ClientConfigs
	out, err := e.store.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	var answer smithy.APIError
	if err != nil && !errors.As(err, &answer) {
		return e.failed("connection", e.store.translate(ctx, err, table))
	}
	e.ok("connection", "%s answers", where(e.store.client))
	skew, known := clockSkew(err)
	if err == nil {
		skew, known = metadataSkew(out.ResultMetadata)
	}
	switch {
	case !known:
		e.ok("clock", "the answer has no date")
	case skew.Abs() > skewNotice:
		e.bad("clock", "this machine's clock is "+skewText(skew), clockRemedy+": AWS refuses signatures from five minutes on")
	default:
		e.ok("clock", "within %s of the server's", max(skew.Abs().Round(time.Second), time.Second))
	}
	return true
}

// metadataSkew is clockSkew for a call that succeeded.
func metadataSkew(m smithymiddleware.Metadata) (time.Duration, bool) {
	at, received := awsmiddleware.GetResponseAt(m)
	server, dated := awsmiddleware.GetServerTime(m)
	return at.Sub(server), received && dated
}

func (e *examiner) table(ctx context.Context, spec tableSpec) bool {
	check := "table " + spec.name
	table, err := e.store.describe(ctx, spec.name)
	switch {
	case err != nil:
		return e.failed(check, err)
	case table == nil:
		return e.bad(check, "it does not exist in region "+e.store.client.Options().Region,
			createRemedy+", or correct the region or the table prefix")
	}
	if fault := keyFault(spec, table); fault != "" {
		return e.bad(check, fault, "it belongs to something else: use another table prefix, or remove it")
	}
	switch {
	case table.TableStatus != types.TableStatusActive && table.TableStatus != types.TableStatusUpdating:
		return e.bad(check, "its status is "+string(table.TableStatus), "wait until it is ACTIVE")
	case !onDemand(table):
		e.bad(check, "it is not billed on demand, and may throttle", createRemedy)
	case e.store.onAWS() && !isEncrypted(table):
		e.bad(check, "it is not encrypted with the account's key for DynamoDB", createRemedy)
	default:
		e.ok(check, "%d items or so; it needs no index", aws.ToInt64(table.ItemCount))
	}
	return true
}

func (e *examiner) expiry(ctx context.Context, spec tableSpec) {
	if spec.expires == "" {
		return
	}
	check := "expiry of " + spec.name
	attribute, err := e.store.expiry(ctx, spec.name)
	switch {
	case err != nil:
		e.failed(check, err)
	case attribute != spec.expires:
		e.bad(check, "old changes do not expire", createRemedy)
	default:
		e.ok(check, "by the attribute %s", attribute)
	}
}

func (e *examiner) recovery(ctx context.Context, spec tableSpec) {
	check := "recovery of " + spec.name
	state, err := e.store.recovery(ctx, spec.name)
	switch {
	case err != nil:
		e.failed(check, err)
	case state == recoveryUnknown:
		e.ok(check, "this endpoint knows no point-in-time recovery")
	case state == recoveryOff:
		e.bad(check, "point-in-time recovery is off", createRemedy)
	default:
		e.ok(check, "to any point in time")
	}
}

// nobody is a key that no item has: no client's id and no host.
const nobody = "!doctor"

func nobodyKey(spec tableSpec, i int) item {
	key := make(item)
	for _, attribute := range spec.keys {
		if attribute.kind == types.ScalarAttributeTypeN {
			key[attribute.name] = number(0)
		} else {
			key[attribute.name] = text(fmt.Sprintf("%s-%d", nobody, i))
		}
	}
	return key
}

// reading tries each call that the store reads the table with.
func (e *examiner) reading(ctx context.Context, spec tableSpec) {
	check := "reading " + spec.name
	client := e.store.client
	_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
		spec.name: {Keys: []map[string]types.AttributeValue{nobodyKey(spec, 0)}, ConsistentRead: aws.Bool(true)},
	}})
	if err == nil && spec.name != e.store.tables.EditHosts {
		_, err = client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &spec.name, Key: nobodyKey(spec, 0)})
	}
	if err == nil && spec.name == e.store.tables.ClientConfigs {
		_, err = client.Scan(ctx, &dynamodb.ScanInput{TableName: &spec.name, Limit: aws.Int32(1)})
	}
	if err == nil && spec.name == e.store.tables.ConfigChanges {
		_, err = e.store.lastItem(ctx)
	} else if err != nil {
		err = e.store.translate(ctx, err, spec.name)
	}
	if err != nil {
		e.failed(check, err)
		return
	}
	e.ok(check, "allowed")
}

// writing tries each action of a write under a condition that never holds: DynamoDB refuses
// what is not allowed before it looks at conditions.
func (e *examiner) writing(ctx context.Context, spec tableSpec) {
	check := "writing " + spec.name
	name := spec.keys[0].name
	never := present(name).and(absent(name))
	tx := new(transaction)
	tx.put(spec.name, nobodyKey(spec, 0), never)
	tx.update(spec.name, nobodyKey(spec, 1), item{"doctor": text("")}, never)
	tx.remove(spec.name, nobodyKey(spec, 2), never)
	tx.check(spec.name, nobodyKey(spec, 3), never)
	switch err := e.store.commit(ctx, tx); {
	case errors.Is(err, errContended):
		e.ok(check, "allowed")
	case err == nil:
		e.bad(check, "DynamoDB does not heed conditions", "use DynamoDB itself or DynamoDB Local")
	default:
		e.failed(check, err)
	}
}
