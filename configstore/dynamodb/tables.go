package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// activeTimeout bounds the wait for a table to be made or changed.
const activeTimeout = 5 * time.Minute

// TableChange is one thing that CreateTables did, or would do.
type TableChange struct {
	Table string
	// What says it in words, as an order: "create it, billed on demand, …".
	What string
}

// String is "table NAME: WHAT".
func (c TableChange) String() string { return fmt.Sprintf("table %s: %s", c.Table, c.What) }

// keyAttribute is a part of a table's key.
type keyAttribute struct {
	name string
	kind types.ScalarAttributeType
}

// tableSpec is what a table must be like.
type tableSpec struct {
	name string
	keys []keyAttribute
	// expires is the attribute by which items expire; "" for none.
	expires string
}

func specs(tables Tables) []tableSpec {
	const s, n = types.ScalarAttributeTypeS, types.ScalarAttributeTypeN
	return []tableSpec{
		{name: tables.ClientConfigs, keys: []keyAttribute{{attrClientID, s}}},
		{name: tables.EditHosts, keys: []keyAttribute{{attrHost, s}}},
		{name: tables.ConfigChanges, keys: []keyAttribute{{attrPart, s}, {attrSeq, n}}, expires: attrExpires},
	}
}

// CreateTables makes what is missing of the tables: billed on demand, encrypted with the
// account's key for DynamoDB, with point-in-time recovery, and the change log's expiry. A
// table that exists, as that of the older tools does, keeps its items and gets what it
// lacks. It returns what it did, or with dryRun would do, in order; nothing where all is as
// it should be. It may be repeated at any time. The error says what could not be done,
// beside what was; a table with another key is refused.
func CreateTables(ctx context.Context, client *dynamodb.Client, tables Tables, dryRun bool) ([]TableChange, error) {
	s, err := Open(Options{Client: client, Tables: tables})
	if err != nil {
		return nil, err
	}
	var done []TableChange
	for _, spec := range specs(s.tables) {
		m := tableMaker{store: s, spec: spec, dryRun: dryRun}
		err := m.run(ctx)
		done = append(done, m.done...)
		if err != nil {
			return done, fmt.Errorf("table %s: %w", spec.name, err)
		}
	}
	return done, nil
}

// tableMaker brings one table into shape.
type tableMaker struct {
	store  *Store
	spec   tableSpec
	dryRun bool
	done   []TableChange
}

func (m *tableMaker) run(ctx context.Context) error {
	table, err := m.store.describe(ctx, m.spec.name)
	if err != nil {
		return err
	}
	if table == nil {
		if err := m.step(m.createText(), func() error { return m.create(ctx) }); err != nil || m.dryRun {
			return err
		}
	} else {
		if fault := keyFault(m.spec, table); fault != "" {
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
func (m *tableMaker) step(what string, do func() error) error {
	if !m.dryRun {
		if err := do(); err != nil {
			return err
		}
	}
	m.done = append(m.done, TableChange{m.spec.name, what})
	return nil
}

func (m *tableMaker) createText() string {
	parts := []string{"create it, billed on demand, encrypted"}
	if m.dryRun { // else they are steps of their own
		if m.spec.expires != "" {
			parts = append(parts, "with items that expire")
		}
		parts = append(parts, "with point-in-time recovery")
	}
	return strings.Join(parts, ", ")
}

func (m *tableMaker) create(ctx context.Context) error {
	in := &dynamodb.CreateTableInput{
		TableName:        &m.spec.name,
		BillingMode:      types.BillingModePayPerRequest,
		SSESpecification: encrypted(),
	}
	for i, key := range m.spec.keys {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String(key.name), AttributeType: key.kind})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: aws.String(key.name), KeyType: keyTypes[i]})
	}
	_, err := m.store.client.CreateTable(ctx, in)
	var exists *types.ResourceInUseException
	if err != nil && !errors.As(err, &exists) { // another one is at it
		return m.store.translate(ctx, err, m.spec.name)
	}
	return m.active(ctx)
}

var keyTypes = [...]types.KeyType{types.KeyTypeHash, types.KeyTypeRange}

func encrypted() *types.SSESpecification {
	return &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
}

func (m *tableMaker) active(ctx context.Context) error {
	err := dynamodb.NewTableExistsWaiter(m.store.client, func(o *dynamodb.TableExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, 2*time.Second
	}).Wait(ctx, &dynamodb.DescribeTableInput{TableName: &m.spec.name}, activeTimeout)
	if err != nil {
		return m.store.translate(ctx, err, m.spec.name)
	}
	return nil
}

// change gives an existing table what it lacks. DynamoDB takes one such change at a time.
func (m *tableMaker) change(ctx context.Context, table *types.TableDescription) error {
	update := func(in *dynamodb.UpdateTableInput) func() error {
		return func() error {
			in.TableName = &m.spec.name
			if _, err := m.store.client.UpdateTable(ctx, in); err != nil {
				return m.store.translate(ctx, err, m.spec.name)
			}
			return m.active(ctx)
		}
	}
	if !onDemand(table) {
		in := &dynamodb.UpdateTableInput{BillingMode: types.BillingModePayPerRequest}
		if err := m.step("bill it on demand", update(in)); err != nil {
			return err
		}
	}
	if !isEncrypted(table) && m.store.onAWS() {
		in := &dynamodb.UpdateTableInput{SSESpecification: encrypted()}
		return m.step("encrypt it with the account's key for DynamoDB", update(in))
	}
	return nil
}

func (m *tableMaker) expire(ctx context.Context) error {
	if m.spec.expires == "" {
		return nil
	}
	attribute, err := m.store.expiry(ctx, m.spec.name)
	if err != nil || attribute == m.spec.expires {
		return err
	}
	if attribute != "" {
		return fmt.Errorf("its items expire by the attribute %s: switch that off, and try again", attribute)
	}
	return m.step("let items expire by the attribute "+m.spec.expires, func() error {
		_, err := m.store.client.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &m.spec.name,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &m.spec.expires, Enabled: aws.Bool(true)},
		})
		if err == nil {
			return nil
		}
		if now, _ := m.store.expiry(ctx, m.spec.name); now == m.spec.expires {
			return nil // another one was faster
		}
		return m.store.translate(ctx, err, m.spec.name)
	})
}

func (m *tableMaker) recover(ctx context.Context) error {
	recovery, err := m.store.recovery(ctx, m.spec.name)
	if err != nil || recovery != recoveryOff {
		return err
	}
	return m.step("switch point-in-time recovery on", func() error {
		in := &dynamodb.UpdateContinuousBackupsInput{
			TableName:                        &m.spec.name,
			PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		}
		for try := 0; ; try++ {
			_, err := m.store.client.UpdateContinuousBackups(ctx, in)
			var notYet *types.ContinuousBackupsUnavailableException // of a new table, for some seconds
			if err == nil || !errors.As(err, &notYet) || try == 60 {
				if err != nil {
					err = m.store.translate(ctx, err, m.spec.name)
				}
				return err
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
	})
}

// describe returns a table; nil if there is none.
func (s *Store) describe(ctx context.Context, table string) (*types.TableDescription, error) {
	out, err := s.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.translate(ctx, err, table)
	}
	return out.Table, nil
}

// keyFault says how a table's key differs, or "".
func keyFault(spec tableSpec, table *types.TableDescription) string {
	var want, have []string
	for _, key := range spec.keys {
		want = append(want, fmt.Sprintf("%s (%s)", key.name, key.kind))
	}
	for _, key := range table.KeySchema {
		kind := types.ScalarAttributeType("")
		for _, definition := range table.AttributeDefinitions {
			if aws.ToString(definition.AttributeName) == aws.ToString(key.AttributeName) {
				kind = definition.AttributeType
			}
		}
		have = append(have, fmt.Sprintf("%s (%s)", aws.ToString(key.AttributeName), kind))
	}
	if slices.Equal(want, have) {
		return ""
	}
	return fmt.Sprintf("its key is %s instead of %s", strings.Join(have, ", "), strings.Join(want, ", "))
}

func onDemand(table *types.TableDescription) bool {
	return table.BillingModeSummary != nil && table.BillingModeSummary.BillingMode == types.BillingModePayPerRequest
}

func isEncrypted(table *types.TableDescription) bool {
	return table.SSEDescription != nil &&
		(table.SSEDescription.Status == types.SSEStatusEnabled || table.SSEDescription.Status == types.SSEStatusEnabling ||
			table.SSEDescription.Status == types.SSEStatusUpdating)
}

// onAWS is false for DynamoDB Local and the like, which do not encrypt. An endpoint of
// one's own network (PrivateLink) is AWS too.
func (s *Store) onAWS() bool {
	endpoint := s.client.Options().BaseEndpoint
	if endpoint == nil {
		return true
	}
	u, err := url.Parse(*endpoint)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

// expiry returns the attribute by which a table's items expire; "" for none.
func (s *Store) expiry(ctx context.Context, table string) (string, error) {
	out, err := s.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		return "", s.translate(ctx, err, table)
	}
	switch d := out.TimeToLiveDescription; {
	case d == nil:
		return "", nil
	case d.TimeToLiveStatus == types.TimeToLiveStatusEnabled || d.TimeToLiveStatus == types.TimeToLiveStatusEnabling:
		return aws.ToString(d.AttributeName), nil
	default:
		return "", nil
	}
}

// The states of a table's point-in-time recovery.
type recoveryState int

const (
	recoveryOff recoveryState = iota
	recoveryOn
	recoveryUnknown // DynamoDB Local has none
)

func (s *Store) recovery(ctx context.Context, table string) (recoveryState, error) {
	out, err := s.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &table})
	var answer smithy.APIError
	if errors.As(err, &answer) && answer.ErrorCode() == "UnknownOperationException" {
		return recoveryUnknown, nil
	}
	if err != nil {
		return recoveryOff, s.translate(ctx, err, table)
	}
	if d := out.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil &&
		d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled {
		return recoveryOn, nil
	}
	return recoveryOff, nil
}
