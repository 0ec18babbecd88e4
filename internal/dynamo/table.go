package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Table is what a table must be like. All are billed on demand, encrypted with the account's
// key for DynamoDB, and have point-in-time recovery.
type Table struct {
	Name string
	// Keys are the partition key and, maybe, the sort key.
	Keys    []Key
	Indexes []Index
	// Expires is the attribute by which items expire; "" for none.
	Expires string
}

// Index is a global secondary index which holds keys alone.
type Index struct {
	Name string
	Keys []Key
}

func (i Index) String() string { return fmt.Sprintf("index %s by %s", i.Name, keys(i.Keys)) }

// TableChange is one thing that was done to a table, or would be.
type TableChange struct {
	Table string
	// What says it in words, as an order: "create it, billed on demand, …".
	What string
}

// String is "table NAME: WHAT".
func (c TableChange) String() string { return fmt.Sprintf("table %s: %s", c.Table, c.What) }

// How long what DynamoDB does in its own time may take.
const (
	activeTimeout = 5 * time.Minute
	indexTimeout  = 12 * time.Hour // of a large table
)

// Make makes a table, or gives one that exists what it lacks; its items stay. It returns
// what it did, or with dryRun would do, in order; nothing where all is as it should be. It
// may be repeated at any time. The error says what could not be done, beside what was, and
// wraps unavailable as Translate's does; a table or an index with another key is refused.
func (t Table) Make(ctx context.Context, client *dynamodb.Client, unavailable error, dryRun bool) ([]TableChange, error) {
	m := &maker{Table: t, tables: tables{client, unavailable}, dryRun: dryRun}
	if err := m.run(ctx); err != nil {
		return m.done, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return m.done, nil
}

// maker brings one table into shape.
type maker struct {
	Table
	tables
	dryRun bool
	done   []TableChange
}

func (m *maker) run(ctx context.Context) error {
	table, err := m.describe(ctx, m.Name)
	if err != nil {
		return err
	}
	if table == nil {
		if err := m.step(m.createText(), func() error { return m.create(ctx) }); err != nil || m.dryRun {
			return err
		}
	} else {
		if fault := keys(m.Keys).fault(table.KeySchema, table); fault != "" {
			return errors.New(fault + ": it belongs to something else; use another table prefix, or remove it")
		}
		if err := m.change(ctx, table); err != nil {
			return err
		}
	}
	if err := m.expire(ctx); err != nil {
		return err
	}
	return m.recover(ctx)
}

// step records a change and makes it unless this is a dry run.
func (m *maker) step(what string, do func() error) error {
	if !m.dryRun {
		if err := do(); err != nil {
			return err
		}
	}
	m.done = append(m.done, TableChange{m.Name, what})
	return nil
}

func (m *maker) createText() string {
	parts := []string{"create it, billed on demand, encrypted"}
	for _, index := range m.Indexes {
		parts = append(parts, "with "+index.String())
	}
	if m.dryRun { // else they are steps of their own
		if m.Expires != "" {
			parts = append(parts, "with items that expire")
		}
		parts = append(parts, "with point-in-time recovery")
	}
	return strings.Join(parts, ", ")
}

func (m *maker) create(ctx context.Context) error {
	in := &dynamodb.CreateTableInput{
		TableName:            &m.Name,
		BillingMode:          types.BillingModePayPerRequest,
		SSESpecification:     encrypted(),
		KeySchema:            keys(m.Keys).schema(),
		AttributeDefinitions: m.definitions(),
	}
	for _, index := range m.Indexes {
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &index.Name, KeySchema: keys(index.Keys).schema(), Projection: keysOnly(),
		})
	}
	_, err := m.client.CreateTable(ctx, in)
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) { // another one is at it
		return m.translate(ctx, err, m.Name)
	}
	return m.active(ctx, activeTimeout)
}

func encrypted() *types.SSESpecification {
	return &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
}

func keysOnly() *types.Projection {
	return &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly}
}

// active waits until a table and its indexes can be used, and changed again.
func (m *maker) active(ctx context.Context, most time.Duration) error {
	deadline := time.Now().Add(most)
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		table, err := m.describe(ctx, m.Name)
		if err != nil {
			return err
		}
		if table != nil && isActive(table) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: it is not active after %s: try again later", m.unavailable, most)
		}
		if err := Pause(ctx, wait); err != nil {
			return m.translate(ctx, err, m.Name)
		}
	}
}

func isActive(table *types.TableDescription) bool {
	return table.TableStatus == types.TableStatusActive &&
		!slices.ContainsFunc(table.GlobalSecondaryIndexes, func(index types.GlobalSecondaryIndexDescription) bool {
			return index.IndexStatus != types.IndexStatusActive
		})
}

// change gives an existing table what it lacks. DynamoDB takes one such change at a time.
func (m *maker) change(ctx context.Context, table *types.TableDescription) error {
	update := func(most time.Duration, in *dynamodb.UpdateTableInput) func() error {
		return func() error {
			in.TableName = &m.Name
			if _, err := m.client.UpdateTable(ctx, in); err != nil {
				return m.translate(ctx, err, m.Name)
			}
			return m.active(ctx, most)
		}
	}
	if !onDemand(table) {
		in := &dynamodb.UpdateTableInput{BillingMode: types.BillingModePayPerRequest}
		if err := m.step("bill it on demand", update(activeTimeout, in)); err != nil {
			return err
		}
	}
	if !isEncrypted(table) && onAWS(m.client) {
		in := &dynamodb.UpdateTableInput{SSESpecification: encrypted()}
		if err := m.step("encrypt it with the account's key for DynamoDB", update(activeTimeout, in)); err != nil {
			return err
		}
	}
	for _, index := range m.Indexes {
		if have := indexOf(table, index.Name); have != nil {
			if fault := keys(index.Keys).fault(have.KeySchema, table); fault != "" {
				return fmt.Errorf("index %s: %s: it belongs to something else; remove it", index.Name, fault)
			}
			continue
		}
		in := &dynamodb.UpdateTableInput{
			AttributeDefinitions: keys(index.Keys).definitions(),
			GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
				IndexName: &index.Name, KeySchema: keys(index.Keys).schema(), Projection: keysOnly(),
			}}},
		}
		if err := m.step("add the "+index.String(), update(indexTimeout, in)); err != nil {
			return err
		}
	}
	return nil
}

func (m *maker) expire(ctx context.Context) error {
	if m.Expires == "" {
		return nil
	}
	attribute, err := m.expiry(ctx, m.Name)
	if err != nil || attribute == m.Expires {
		return err
	}
	if attribute != "" {
		return fmt.Errorf("its items expire by the attribute %s: switch that off, and try again", attribute)
	}
	return m.step("let items expire by the attribute "+m.Expires, func() error {
		_, err := m.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &m.Name,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &m.Expires, Enabled: aws.Bool(true)},
		})
		if err == nil {
			return nil
		}
		if now, _ := m.expiry(ctx, m.Name); now == m.Expires {
			return nil // another one was faster
		}
		return m.translate(ctx, err, m.Name)
	})
}

func (m *maker) recover(ctx context.Context) error {
	state, err := m.recovery(ctx, m.Name)
	if err != nil || state != recoveryOff {
		return err
	}
	return m.step("switch point-in-time recovery on", func() error {
		in := &dynamodb.UpdateContinuousBackupsInput{
			TableName:                        &m.Name,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		}
		for try := 0; ; try++ {
			_, err := m.client.UpdateContinuousBackups(ctx, in)
			var notYet *types.ContinuousBackupsUnavailableException // of a new table, for some seconds
			if err == nil || !errors.As(err, &notYet) || try == 60 {
				return m.translate(ctx, err, m.Name)
			}
			if err := Pause(ctx, time.Second); err != nil {
				return m.translate(ctx, err, m.Name)
			}
		}
	})
}
