package caddymodule

import (
	"context"
	"errors"
	"regexp"
	"time"

	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/dynamodb"
	"github.com/webordinary/router/internal/dynamo"
)

func init() {
	caddy.RegisterModule(DynamoDBConfigStore{})
}

// DynamoDBConfigStore keeps client configurations in three DynamoDB tables, for any number
// of edges. `caddy webordinary tables create` makes the tables. Credentials come from AWS's
// default chain: environment, shared files, web identity, container, instance.
type DynamoDBConfigStore struct {
	// The AWS region. Default: as AWS's chain says (AWS_REGION, the profile, the instance).
	Region string `json:"region,omitempty"`

	// The URL of a DynamoDB other than AWS's, such as DynamoDB Local (http://host:port).
	// Default: AWS's of the region.
	Endpoint string `json:"endpoint,omitempty"`

	// What the tables' names begin with: "webordinary-" makes webordinary-client-configs,
	// webordinary-edit-hosts and webordinary-config-changes. Default: "webordinary-".
	TablePrefix string `json:"table_prefix,omitempty"`

	// The time between two reads of the change log. Default: 1s.
	PollInterval caddy.Duration `json:"poll_interval,omitempty"`

	// About the time between two reads of all clients, which catch what other tools
	// wrote past the change log. Default: 10m.
	Reconcile caddy.Duration `json:"reconcile,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (DynamoDBConfigStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceConfigStores + ".dynamodb",
		New: func() caddy.Module { return new(DynamoDBConfigStore) },
	}
}

// tablePrefixForm is what DynamoDB takes at the beginning of a table's name; the longest
// name behind it is client-configs.
var tablePrefixForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,200}$`)

// Validate checks the settings.
func (s *DynamoDBConfigStore) Validate() error {
	if err := validEndpoint(s.Endpoint); err != nil {
		return err
	}
	if s.TablePrefix != "" && !tablePrefixForm.MatchString(s.TablePrefix) {
		return errors.New("table_prefix: must be letters, digits, hyphens, underscores and dots, at most 200")
	}
	if s.PollInterval < 0 || s.Reconcile < 0 {
		return errors.New("poll_interval and reconcile must not be negative")
	}
	return nil
}

// Identity is which DynamoDB, as far as that is known without asking, and the tables. How
// the tables are followed may change.
func (s *DynamoDBConfigStore) Identity(string) string {
	return dynamoDBIdentity(s.Region, s.Endpoint, s.tables().ClientConfigs)
}

func (s *DynamoDBConfigStore) tables() dynamodb.Tables { return dynamodb.TableNames(s.TablePrefix) }

func (s *DynamoDBConfigStore) client(ctx context.Context) (*awsdynamodb.Client, error) {
	return dynamo.NewClient(ctx, dynamo.ClientOptions{Region: s.Region, Endpoint: s.Endpoint})
}

// OpenConfigStore returns the store. Whether the tables are there, its calls find out.
func (s *DynamoDBConfigStore) OpenConfigStore(string) (configstore.Store, error) {
	client, err := s.client(context.Background())
	if err != nil {
		return nil, err
	}
	store, err := dynamodb.Open(dynamodb.Options{Client: client, Tables: s.tables(), Logger: lastingLogger("webordinary.config_store")})
	if err != nil {
		return nil, err // not the nil *Store, which would be an interface that is not nil
	}
	return store, nil
}

// Local implements ConfigStore: it is elsewhere, and may be out of reach.
func (*DynamoDBConfigStore) Local() bool { return false }

// FollowOptions implements ConfigStore.
func (s *DynamoDBConfigStore) FollowOptions() configstore.FollowOptions {
	return configstore.FollowOptions{Interval: time.Duration(s.PollInterval), Reconcile: time.Duration(s.Reconcile)}
}

// CreateTables implements TableMaker.
func (s *DynamoDBConfigStore) CreateTables(ctx context.Context, dryRun bool) ([]TableChange, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	done, err := dynamodb.CreateTables(ctx, client, s.tables(), dryRun)
	return tableChanges(done), err
}

// Examine implements Examiner.
func (s *DynamoDBConfigStore) Examine(ctx context.Context, _ string) []Finding {
	client, err := s.client(ctx)
	if err != nil {
		return []Finding{failing("config store", err.Error(), "see to the AWS configuration of the edge's user")}
	}
	return findingsOf(dynamodb.Examine(ctx, client, s.tables()))
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	config_store dynamodb {
//		region        <region>
//		endpoint      <url>
//		table_prefix  <prefix>
//		poll_interval <duration>
//		reconcile     <duration>
//	}
//
// An empty argument, as an environment variable that is not set leaves it, means the default.
func (s *DynamoDBConfigStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	err := unmarshalOptions(d, "config_store dynamodb",
		map[string]*string{"region": &s.Region, "endpoint": &s.Endpoint, "table_prefix": &s.TablePrefix},
		map[string]*caddy.Duration{"poll_interval": &s.PollInterval, "reconcile": &s.Reconcile})
	if err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guards
var (
	_ ConfigStore           = (*DynamoDBConfigStore)(nil)
	_ TableMaker            = (*DynamoDBConfigStore)(nil)
	_ Examiner              = (*DynamoDBConfigStore)(nil)
	_ caddy.Validator       = (*DynamoDBConfigStore)(nil)
	_ caddyfile.Unmarshaler = (*DynamoDBConfigStore)(nil)
)
