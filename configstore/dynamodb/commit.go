package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

const (
	// contendedFor bounds how long a write begins anew because others were faster. Writers
	// take turns within milliseconds; a bulk load makes single ones wait for some seconds.
	contendedFor = 30 * time.Second
	// unansweredFor is how long a transaction whose answer was lost is sent again, beside
	// the SDK's own attempts.
	unansweredFor = 10 * time.Second

	firstBackoff = 10 * time.Millisecond
	maxWriteWait = 400 * time.Millisecond
)

// errContended: something is not as it was read; the write begins anew.
var errContended = errors.New("other writers were faster")

// write prepares and commits a transaction until nobody was faster.
func (s *Store) write(ctx context.Context, prepare func(context.Context) (*transaction, error)) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return dynamo.Stopped(ctx, configstore.ErrUnavailable, ctx.Err())
	}
	begun := time.Now()
	for try := 0; ; try++ {
		tx, err := prepare(ctx)
		if err == nil {
			err = s.commit(ctx, tx)
		}
		if !errors.Is(err, errContended) {
			return err
		}
		if time.Since(begun) > contendedFor {
			return fmt.Errorf("%w: tried for %s: %w", configstore.ErrUnavailable, contendedFor, err)
		}
		if err := pause(ctx, backoff(try)); err != nil {
			return err
		}
	}
}

// backoff is a random time, so that those who met once don't meet again.
func backoff(try int) time.Duration {
	most := float64(firstBackoff) * math.Pow(2, float64(min(try, 10)))
	return time.Duration(mathrand.Float64() * min(most, float64(maxWriteWait))) //nolint:gosec // nothing secret depends on it
}

// backOff waits before a call is repeated, and gives up after some tries.
func (s *Store) backOff(ctx context.Context, try int, why error) error {
	if try >= 10 {
		return fmt.Errorf("%w: %w", configstore.ErrUnavailable, why)
	}
	return pause(ctx, backoff(try))
}

// commit writes a transaction: all of it, or errContended where a condition failed.
func (s *Store) commit(ctx context.Context, tx *transaction) error {
	in := &dynamodb.TransactWriteItemsInput{
		TransactItems: tx.actions,
		// What the token was given for once is not done again, so that a transaction
		// can be repeated whose answer was lost.
		ClientRequestToken: new(rand.Text()),
	}
	begun := time.Now()
	for try := 0; ; try++ {
		_, err := s.client.TransactWriteItems(ctx, in)
		if err == nil {
			return nil
		}
		var canceled *types.TransactionCanceledException
		switch {
		case errors.As(err, &canceled):
			return s.cancellation(ctx, canceled, err)
		case ctx.Err() != nil || time.Since(begun) > unansweredFor || !unanswered(err):
			return s.translate(ctx, err, s.tables.all()...)
		}
		if err := pause(ctx, backoff(try+5)); err != nil {
			return err
		}
	}
}

// unanswered reports whether a call may have been carried out although it failed.
func unanswered(err error) bool {
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return true // no answer of DynamoDB's
	}
	var running *types.TransactionInProgressException
	return errors.As(err, &running) || answer.ErrorFault() == smithy.FaultServer
}

// cancellation judges why DynamoDB did not carry out a transaction.
func (s *Store) cancellation(ctx context.Context, canceled *types.TransactionCanceledException, err error) error {
	var contended, throttled bool
	for _, reason := range canceled.CancellationReasons {
		if reason.Code == nil {
			continue
		}
		switch *reason.Code {
		case "", "None":
		case "ConditionalCheckFailed", "TransactionConflict":
			contended = true
		case "ThrottlingError", "ProvisionedThroughputExceeded":
			throttled = true
		default:
			message := ""
			if reason.Message != nil {
				message = ": " + *reason.Message
			}
			return fmt.Errorf("DynamoDB refused the transaction: %s%s", *reason.Code, message)
		}
	}
	switch {
	case throttled:
		return fmt.Errorf("%w: %w", dynamo.ErrThrottled, errContended)
	case contended:
		return errContended
	default:
		return s.translate(ctx, err, s.tables.all()...)
	}
}
