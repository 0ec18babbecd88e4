package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
)

// Two transactions that touch one item at the same time do not wait for each other:
// DynamoDB turns one away. It is tried again, after a random wait below a bound that doubles.
const (
	contendFirst = 10 * time.Millisecond
	contendMost  = 400 * time.Millisecond
	// contendFor is how long. A caller's context may end it sooner.
	contendFor = 10 * time.Second
)

// The reasons for which DynamoDB turns a transaction away.
const (
	reasonCondition = "ConditionalCheckFailed"
	reasonConflict  = "TransactionConflict"
	reasonThrottled = "ThrottlingError"
	reasonExceeded  = "ProvisionedThroughputExceeded"
)

// contend makes a call until it meets no other on its items.
func contend(ctx context.Context, call func() error) error {
	began, bound := time.Now(), contendFirst
	for {
		err := call()
		if err == nil || !contended(err) {
			return err
		}
		if time.Since(began) > contendFor {
			return fmt.Errorf("%w: others use the same items, for %s: %w", sessions.ErrUnavailable, contendFor, err)
		}
		wait := time.Duration(mathrand.Int64N(int64(bound))) //nolint:gosec // nothing secret depends on it
		if err := dynamo.Pause(ctx, wait); err != nil {
			return err
		}
		bound = min(2*bound, contendMost)
	}
}

// contended reports whether a call was turned away because of others alone.
func contended(err error) bool {
	if errors.Is(err, errUnprocessed) {
		return true
	}
	if conflict := (*types.TransactionConflictException)(nil); errors.As(err, &conflict) {
		return true
	}
	if running := (*types.TransactionInProgressException)(nil); errors.As(err, &running) {
		return true
	}
	cancelled := (*types.TransactionCanceledException)(nil)
	if !errors.As(err, &cancelled) {
		return false
	}
	again := false
	for _, reason := range cancelled.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case reasonConflict, reasonThrottled, reasonExceeded:
			again = true
		case reasonCondition: // it would fail again
			return false
		}
	}
	return again
}

// transact carries a transaction through, or returns the conditions that did not hold, by
// action: nil for one that did. However often it is sent it is carried through once.
func (r *Registry) transact(ctx context.Context, actions ...types.TransactWriteItem) (failed []*types.CancellationReason, err error) {
	in := &dynamodb.TransactWriteItemsInput{TransactItems: actions, ClientRequestToken: aws.String(rand.Text())}
	err = contend(ctx, func() error {
		_, err := r.client.TransactWriteItems(ctx, in)
		return err
	})
	cancelled := (*types.TransactionCanceledException)(nil)
	if !errors.As(err, &cancelled) || len(cancelled.CancellationReasons) != len(actions) {
		return nil, err
	}
	failed = make([]*types.CancellationReason, len(actions))
	for i := range cancelled.CancellationReasons {
		if reason := &cancelled.CancellationReasons[i]; aws.ToString(reason.Code) == reasonCondition {
			failed[i] = reason
		}
	}
	if !slices.ContainsFunc(failed, func(reason *types.CancellationReason) bool { return reason != nil }) {
		return nil, err
	}
	return failed, nil
}
