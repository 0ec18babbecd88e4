package dynamo

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

// Finding is the outcome of one check.
type Finding struct {
	// Check says what was looked at: "credentials", "connection", "clock",
	// "table NAME", "index NAME of TABLE", "expiry of TABLE", "recovery of TABLE",
	// "reading TABLE", "writing TABLE".
	Check string
	OK    bool
	// Detail is what was found. It never holds a secret.
	Detail string
	// Remedy says what to do; empty where the check is OK.
	Remedy string
}

// skewNotice is when to say that the clock is off, long before skewTolerance.
const skewNotice = 30 * time.Second

// Examiner makes checks and keeps their findings. It writes nothing.
type Examiner struct {
	tables
	Findings []Finding
}

// NewExaminer returns an examiner. unavailable is for Translate.
func NewExaminer(client *dynamodb.Client, unavailable error) *Examiner {
	return &Examiner{tables: tables{client, unavailable}}
}

// OK adds a check that found nothing wrong, and returns true.
func (e *Examiner) OK(check, format string, args ...any) bool {
	e.Findings = append(e.Findings, Finding{Check: check, OK: true, Detail: fmt.Sprintf(format, args...)})
	return true
}

// Bad adds a check that found something wrong, and returns false.
func (e *Examiner) Bad(check, detail, remedy string) bool {
	e.Findings = append(e.Findings, Finding{Check: check, Detail: detail, Remedy: remedy})
	return false
}

// Failed adds a check whose call failed, with what the error says to do, and returns false.
func (e *Examiner) Failed(check string, err error) bool {
	if f, ok := errors.AsType[*CallError](err); ok && f.Remedy != "" {
		return e.Bad(check, f.What, f.Remedy)
	}
	return e.Bad(check, err.Error(), "see to what the error says, and try again")
}

// Connection checks the credentials, the connection and the clock: it asks for a table,
// whether or not that exists. Where it returns false there is no use in any other check.
func (e *Examiner) Connection(ctx context.Context, table string) bool {
	return e.credentials(ctx) && e.connection(ctx, table)
}

func (e *Examiner) credentials(ctx context.Context) bool {
	credentials, err := e.client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return e.Bad("credentials", "there are none ("+cause(err)+")", credentialsRemedy)
	}
	id := credentials.AccessKeyID
	detail := fmt.Sprintf("access key …%s (%s)", id[max(0, len(id)-4):], credentials.Source)
	if credentials.CanExpire {
		detail += ", valid until " + credentials.Expires.UTC().Format(time.RFC3339)
	}
	return e.OK("credentials", "%s", detail)
}

func (e *Examiner) connection(ctx context.Context, table string) bool {
	out, err := e.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	var answer smithy.APIError
	if err != nil && !errors.As(err, &answer) {
		return e.Failed("connection", e.translate(ctx, err, table))
	}
	e.OK("connection", "%s answers", where(e.client))
	skew, known := clockSkew(err)
	if err == nil {
		skew, known = metadataSkew(out.ResultMetadata)
	}
	switch {
	case !known:
		e.OK("clock", "the answer has no date")
	case skew.Abs() > skewNotice:
		e.Bad("clock", "this machine's clock is "+skewText(skew), clockRemedy+": AWS refuses signatures from five minutes on")
	default:
		e.OK("clock", "within %s of the server's", max(skew.Abs().Round(time.Second), time.Second))
	}
	return true
}

// metadataSkew is clockSkew for a call that succeeded.
func metadataSkew(m smithymiddleware.Metadata) (time.Duration, bool) {
	at, received := awsmiddleware.GetResponseAt(m)
	server, dated := awsmiddleware.GetServerTime(m)
	return at.Sub(server), received && dated
}

// Table checks a table, its indexes, expiry and recovery. False: it cannot be used at all.
func (e *Examiner) Table(ctx context.Context, t Table) bool {
	check := "table " + t.Name
	table, err := e.describe(ctx, t.Name)
	switch {
	case err != nil:
		return e.Failed(check, err)
	case table == nil:
		return e.Bad(check, "it does not exist in region "+e.client.Options().Region,
			createRemedy+", or correct the region or the table prefix")
	}
	if fault := keys(t.Keys).fault(table.KeySchema, table); fault != "" {
		return e.Bad(check, fault, "it belongs to something else: use another table prefix, or remove it")
	}
	switch {
	case table.TableStatus != types.TableStatusActive && table.TableStatus != types.TableStatusUpdating:
		return e.Bad(check, "its status is "+string(table.TableStatus), "wait until it is ACTIVE")
	case !onDemand(table):
		e.Bad(check, "it is not billed on demand, and may throttle", createRemedy)
	case onAWS(e.client) && !isEncrypted(table):
		e.Bad(check, "it is not encrypted with the account's key for DynamoDB", createRemedy)
	case len(t.Indexes) == 0:
		e.OK(check, "%d items or so; it needs no index", aws.ToInt64(table.ItemCount))
	default:
		e.OK(check, "%d items or so", aws.ToInt64(table.ItemCount))
	}
	for _, index := range t.Indexes {
		e.index(t, index, table)
	}
	e.expires(ctx, t)
	e.recovers(ctx, t)
	return true
}

func (e *Examiner) index(t Table, index Index, table *types.TableDescription) {
	check := fmt.Sprintf("index %s of %s", index.Name, t.Name)
	have := indexOf(table, index.Name)
	switch {
	case have == nil:
		e.Bad(check, "it does not exist", createRemedy)
	case keys(index.Keys).fault(have.KeySchema, table) != "":
		e.Bad(check, keys(index.Keys).fault(have.KeySchema, table), "it belongs to something else: remove it, and "+createRemedy)
	case have.IndexStatus != types.IndexStatusActive:
		e.Bad(check, "its status is "+string(have.IndexStatus), "wait until it is ACTIVE")
	default:
		e.OK(check, "by %s", keys(index.Keys))
	}
}

func (e *Examiner) expires(ctx context.Context, t Table) {
	if t.Expires == "" {
		return
	}
	check := "expiry of " + t.Name
	attribute, err := e.expiry(ctx, t.Name)
	switch {
	case err != nil:
		e.Failed(check, err)
	case attribute != t.Expires:
		e.Bad(check, "old items do not expire", createRemedy)
	default:
		e.OK(check, "by the attribute %s", attribute)
	}
}

func (e *Examiner) recovers(ctx context.Context, t Table) {
	check := "recovery of " + t.Name
	state, err := e.recovery(ctx, t.Name)
	switch {
	case err != nil:
		e.Failed(check, err)
	case state == recoveryUnknown:
		e.OK(check, "this endpoint knows no point-in-time recovery")
	case state == recoveryOff:
		e.Bad(check, "point-in-time recovery is off", createRemedy)
	default:
		e.OK(check, "to any point in time")
	}
}
