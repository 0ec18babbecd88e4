// Package dynamodb is a session registry on DynamoDB, for any number of edges. It keeps one
// table, whose partition key is sessionId. Its items are:
//
//   - a session, under its id. Those that this package wrote have a version; those of the
//     older tools, which are read as well, have none.
//   - "slots#CLIENT": the set of the client's sessions that hold a slot (running).
//   - "thread#CLIENT#THREAD": the session that the thread has (session).
//   - "duty": the lease of the edge that asks and sweeps for all (lease).
//
// Slots and threads are changed in the same transaction as the session's own item, so that
// limits and threads are exact whoever writes, and at whatever time.
//
// Two indexes hold keys alone, so that a write of a record changes them only where its
// place in them changes:
//
//   - by-client (clientId, sessionId): for List.
//   - by-queue (queue, queueAt): sparse. An active session is in one of the queues "due#0"
//     to "due#3" at its AskAt, for Due; one that is initializing or draining, failed and
//     holds a slot, or active with a lease, in "unsettled#0" to "unsettled#3", for
//     Unsettled; any other in none. One partition takes 1,000 writes a second, and a session that is
//     asked needs two: four queues are enough for 2,000 questions a second, which is
//     600,000 active sessions at one in five minutes.
//
// Indexes lag behind by some milliseconds, at times more. What they name is therefore read
// from the table before it is returned: List reads consistently, Due and Unsettled do not.
//
// A session without a slot expires when it has not been written for Options.Retention: the
// attribute ttl, of the session and a month later of its thread, says when. DynamoDB
// removes them within days of that; until then they work, and a wake lifts the date.
package dynamodb

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
)

// DefaultTable is the name of the table by default.
const DefaultTable = "webordinary-edit-sessions"

// DefaultRetention is how long a session that nobody uses is kept by default.
const DefaultRetention = 180 * 24 * time.Hour

// Options are what a Registry needs.
type Options struct {
	// Client is the connection to AWS; see NewClient. Required. Close closes its idle connections,
	// and nothing else of it.
	Client *dynamodb.Client
	// Table is the name of the table. Default: DefaultTable.
	Table string
	// Retention is how long a session that nobody uses is kept; below zero: for ever.
	// It counts for sessions that are written from then on. Default: DefaultRetention.
	Retention time.Duration
	// Logger names records that cannot be read. Default: none.
	Logger *zap.Logger
}

// Registry is a sessions.Registry. See Open.
type Registry struct {
	client    *dynamodb.Client
	table     string
	retention time.Duration
	broken    *brokenLog
	slots     *clientLocks
}

// Open returns a registry on an existing table; see CreateTable. It does not use the
// network: what is wrong with the table or the credentials, each call says, and Examine
// in one go.
func Open(o Options) (*Registry, error) {
	if o.Client == nil {
		return nil, errors.New("opening session registry: no DynamoDB client")
	}
	o.Table = orDefault(o.Table)
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &Registry{
		client:    o.Client,
		table:     o.Table,
		retention: o.Retention,
		broken:    newBrokenLog(o.Logger.With(zap.String("table", o.Table))),
		slots:     newClientLocks(),
	}, nil
}

// Close closes idle connections.
func (r *Registry) Close() error {
	dynamo.CloseIdle(r.client)
	return nil
}

var _ sessions.Registry = (*Registry)(nil)
