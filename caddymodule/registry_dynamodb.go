package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/dynamodb"
)

func init() {
	caddy.RegisterModule(DynamoDBRegistry{})
}

// DynamoDBRegistry keeps session records in a DynamoDB table, for any number of edges.
// `caddy webordinary tables create` makes the table. Credentials come from AWS's default
// chain: environment, shared files, web identity, container, instance.
type DynamoDBRegistry struct {
	// The AWS region. Default: as AWS's chain says (AWS_REGION, the profile, the instance).
	Region string `json:"region,omitempty"`

	// The URL of a DynamoDB other than AWS's, such as DynamoDB Local (http://host:port).
	// Default: AWS's of the region.
	Endpoint string `json:"endpoint,omitempty"`

	// What the table's name begins with: "webordinary-" makes webordinary-edit-sessions.
	// Default: "webordinary-".
	TablePrefix string `json:"table_prefix,omitempty"`

	// The table's whole name, instead of table_prefix.
	Table string `json:"table,omitempty"`

	// How long a session that nobody uses is kept; below zero: for ever. A change takes
	// effect at the edge's next start. Default: 180 days.
	Retention caddy.Duration `json:"retention,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (DynamoDBRegistry) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceRegistries + ".dynamodb",
		New: func() caddy.Module { return new(DynamoDBRegistry) },
	}
}

// Validate checks the settings.
func (r *DynamoDBRegistry) Validate() error {
	if err := validEndpoint(r.Endpoint); err != nil {
		return err
	}
	if r.Table != "" && r.TablePrefix != "" {
		return errors.New("table and table_prefix: only one of the two can be given")
	}
	if !tableForm.MatchString(r.table()) {
		return errors.New("table and table_prefix: must be letters, digits, hyphens, underscores and dots, at most 255 in the table's name")
	}
	// An amount without a unit, in JSON, is of nanoseconds.
	if kept := time.Duration(r.Retention); kept > 0 && kept < time.Hour {
		return fmt.Errorf("retention: must be off, or at least an hour, got %s", kept)
	}
	return nil
}

// Identity is which DynamoDB, as far as that is known without asking, and the table.
func (r *DynamoDBRegistry) Identity(string) string {
	return dynamoDBIdentity(r.Region, r.Endpoint, r.table())
}

// Exclusive is false: any number of edges use one table.
func (*DynamoDBRegistry) Exclusive() bool { return false }

func (r *DynamoDBRegistry) table() string {
	switch {
	case r.Table != "":
		return r.Table
	case r.TablePrefix != "":
		return r.TablePrefix + "edit-sessions"
	default:
		return dynamodb.DefaultTable
	}
}

func (r *DynamoDBRegistry) client(ctx context.Context) (*awsdynamodb.Client, error) {
	return dynamo.NewClient(ctx, dynamo.ClientOptions{Region: r.Region, Endpoint: r.Endpoint})
}

// OpenRegistry returns the registry. Whether the table is there, its calls find out.
func (r *DynamoDBRegistry) OpenRegistry(string) (sessions.Registry, error) {
	client, err := r.client(context.Background())
	if err != nil {
		return nil, err
	}
	registry, err := dynamodb.Open(dynamodb.Options{
		Client: client, Table: r.table(), Retention: time.Duration(r.Retention), Logger: lastingLogger("webordinary.registry"),
	})
	if err != nil {
		return nil, err // not the nil *Registry, which would be an interface that is not nil
	}
	return registry, nil
}

// CreateTables implements TableMaker.
func (r *DynamoDBRegistry) CreateTables(ctx context.Context, dryRun bool) ([]TableChange, error) {
	client, err := r.client(ctx)
	if err != nil {
		return nil, err
	}
	defer dynamo.CloseIdle(client)
	done, err := dynamodb.CreateTable(ctx, client, r.table(), dryRun)
	return tableChanges(done), err
}

// ImportSessions implements SessionImporter.
func (r *DynamoDBRegistry) ImportSessions(ctx context.Context, dryRun bool, report func(ImportedSession) error) (err error) {
	client, err := r.client(ctx)
	if err != nil {
		return err
	}
	registry, err := dynamodb.Open(dynamodb.Options{Client: client, Table: r.table(), Retention: time.Duration(r.Retention)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	return registry.Upgrade(ctx, dryRun, func(u dynamodb.Upgrade) error {
		told := ImportedSession{
			SessionID: u.Record.SessionID, ClientID: u.Record.ClientID, ThreadID: u.Record.ThreadID, Task: u.Task, OwnedBy: u.Thread,
		}
		if u.Err != nil {
			told.Fault = u.Err.Error()
		}
		return report(told)
	})
}

// Examine implements Examiner.
func (r *DynamoDBRegistry) Examine(ctx context.Context, _ string) []Finding {
	client, err := r.client(ctx)
	if err != nil {
		return []Finding{failing("session registry", err.Error(), "see to the AWS configuration of the edge's user")}
	}
	defer dynamo.CloseIdle(client)
	return findingsOf(dynamodb.Examine(ctx, client, r.table()))
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	registry dynamodb {
//		region       <region>
//		endpoint     <url>
//		table_prefix <prefix>
//		table        <name>
//		retention    <duration>|off
//	}
//
// An empty argument, as an environment variable that is not set leaves it, means the default.
func (r *DynamoDBRegistry) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var retention string
	err := unmarshalOptions(d, "registry dynamodb", map[string]*string{
		"region": &r.Region, "endpoint": &r.Endpoint, "table_prefix": &r.TablePrefix, "table": &r.Table, "retention": &retention,
	}, nil)
	if err != nil {
		return err
	}
	switch retention {
	case "":
	case "off":
		r.Retention = -1
	default:
		kept, err := caddy.ParseDuration(retention)
		if err != nil {
			return d.Errf("retention: %v", err)
		}
		if kept <= 0 {
			return d.Errf("retention: must be off, or at least an hour, got %s", retention)
		}
		r.Retention = caddy.Duration(kept)
	}
	if err := r.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guards
var (
	_ Registry              = (*DynamoDBRegistry)(nil)
	_ TableMaker            = (*DynamoDBRegistry)(nil)
	_ SessionImporter       = (*DynamoDBRegistry)(nil)
	_ Examiner              = (*DynamoDBRegistry)(nil)
	_ caddy.Validator       = (*DynamoDBRegistry)(nil)
	_ caddyfile.Unmarshaler = (*DynamoDBRegistry)(nil)
)
