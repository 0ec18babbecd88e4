// Package dynamodb is the configstore.Store on DynamoDB, for any number of edges and
// writers. It keeps three tables:
//
//   - client configs: partition key clientId; config (a map), createdAt, updatedAt and
//     version. The older tools write to it too: their rows have no version.
//   - edit hosts: partition key host; clientId. A host belongs to one client.
//   - config changes: partition key part, sort key seq. The partition "changes" is the
//     change log: one item for each transaction, numbered without a gap, and above them the
//     head, which holds the last number. Each write advances the head under the condition
//     that nobody else did, so that transactions are seen in the order of their numbers,
//     whoever wrote them, and no clock matters. Other partitions hold one item for each
//     client that there ever was: its highest version.
//
// Log items expire; a reader that is further behind scans again. See
// docs/adr/0004-the-change-log-is-a-sequence.md.
//
// Actions that an identity needs on the tables: to follow them GetItem, BatchGetItem, Query
// and Scan; to write PutItem, UpdateItem, DeleteItem and ConditionCheckItem too; to make them
// CreateTable, UpdateTable, DescribeTable, UpdateTimeToLive, DescribeTimeToLive,
// UpdateContinuousBackups and DescribeContinuousBackups.
package dynamodb

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// DefaultTablePrefix is what the names of the tables begin with by default.
const DefaultTablePrefix = "webordinary-"

const (
	// scanSegments is how many parts of the table a scan reads at the same time.
	scanSegments = 4
	// retention is how long the change log holds a change at least. A follower that is
	// further behind must scan again.
	retention = 7 * 24 * time.Hour
)

// Tables are the names of a store's tables.
type Tables struct {
	ClientConfigs, EditHosts, ConfigChanges string
}

// TableNames returns the names of the tables with a prefix; "" is DefaultTablePrefix.
func TableNames(prefix string) Tables {
	if prefix == "" {
		prefix = DefaultTablePrefix
	}
	return Tables{
		ClientConfigs: prefix + "client-configs",
		EditHosts:     prefix + "edit-hosts",
		ConfigChanges: prefix + "config-changes",
	}
}

func (t Tables) all() []string { return []string{t.ClientConfigs, t.EditHosts, t.ConfigChanges} }

// Options are what a Store needs.
type Options struct {
	// Client is the connection to AWS; see NewClient. Required. Close closes its idle
	// connections, and nothing else of it.
	Client *dynamodb.Client
	// Tables are the names of the tables. Default: TableNames("").
	Tables Tables
	// Now is the clock of CreatedAt, UpdatedAt and the expiry of changes; nothing else depends on
	// it. Default: time.Now.
	Now func() time.Time
	// Logger tells of claims of hosts that were left behind. Default: none.
	Logger *zap.Logger
}

// Store is a configstore.Store. See Open.
type Store struct {
	client *dynamodb.Client
	tables Tables
	now    func() time.Time
	logger *zap.Logger

	// writing lets writers of this process queue up rather than win the head from each other.
	writing chan struct{}
	// unclaimed belongs to who writes.
	unclaimed unclaimed
	listed    listed
}

// Open returns a store on existing tables; see CreateTables. It does not use the network:
// what is wrong with the tables or the credentials, each call says, and Examine in one go.
func Open(o Options) (*Store, error) {
	if o.Client == nil {
		return nil, errors.New("opening config store: no DynamoDB client")
	}
	if o.Tables == (Tables{}) {
		o.Tables = TableNames("")
	}
	if slices.Contains(o.Tables.all(), "") {
		return nil, errors.New("opening config store: the name of a table is empty")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &Store{
		client:  o.Client,
		tables:  o.Tables,
		now:     o.Now,
		logger:  o.Logger,
		writing: make(chan struct{}, 1),
		listed:  listed{lock: make(chan struct{}, 1)},
	}, nil
}

// Close closes idle connections.
func (s *Store) Close() error {
	dynamo.CloseIdle(s.client)
	return nil
}

// String names the store in errors.
func (s *Store) String() string { return fmt.Sprintf("DynamoDB table %s", s.tables.ClientConfigs) }

var _ configstore.Store = (*Store)(nil)
