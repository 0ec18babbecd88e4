package dynamo

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// tables reads what tables are like.
type tables struct {
	client      *dynamodb.Client
	unavailable error
}

func (t tables) translate(ctx context.Context, err error, table string) error {
	if err == nil {
		return nil
	}
	return Translate(ctx, t.client, t.unavailable, err, table)
}

// describe returns a table; nil if there is none.
func (t tables) describe(ctx context.Context, table string) (*types.TableDescription, error) {
	out, err := t.client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, t.translate(ctx, err, table)
	}
	return out.Table, nil
}

func onDemand(table *types.TableDescription) bool {
	return table.BillingModeSummary != nil && table.BillingModeSummary.BillingMode == types.BillingModePayPerRequest
}

func isEncrypted(table *types.TableDescription) bool {
	return table.SSEDescription != nil &&
		(table.SSEDescription.Status == types.SSEStatusEnabled || table.SSEDescription.Status == types.SSEStatusEnabling ||
			table.SSEDescription.Status == types.SSEStatusUpdating)
}

// indexOf returns an index of a table; nil if there is none of that name.
func indexOf(table *types.TableDescription, name string) *types.GlobalSecondaryIndexDescription {
	for i, index := range table.GlobalSecondaryIndexes {
		if aws.ToString(index.IndexName) == name {
			return &table.GlobalSecondaryIndexes[i]
		}
	}
	return nil
}

// expiry returns the attribute by which a table's items expire; "" for none.
func (t tables) expiry(ctx context.Context, table string) (string, error) {
	out, err := t.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil {
		return "", t.translate(ctx, err, table)
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

func (t tables) recovery(ctx context.Context, table string) (recoveryState, error) {
	out, err := t.client.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &table})
	var answer smithy.APIError
	if errors.As(err, &answer) && answer.ErrorCode() == "UnknownOperationException" {
		return recoveryUnknown, nil
	}
	if err != nil {
		return recoveryOff, t.translate(ctx, err, table)
	}
	if d := out.ContinuousBackupsDescription; d != nil && d.PointInTimeRecoveryDescription != nil &&
		d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus == types.PointInTimeRecoveryStatusEnabled {
		return recoveryOn, nil
	}
	return recoveryOff, nil
}
