package dynamo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// ErrThrottled is part of the error of a call that DynamoDB refused for its rate.
var ErrThrottled = &CallError{
	What:   "DynamoDB throttles, for there are more requests than the tables or the account allow",
	Remedy: "wait, and see that the tables are billed on demand",
}

// CallError says in words what is wrong and what to do; what it wraps is for errors.Is and As.
type CallError struct {
	What, Remedy string
	wraps        []error
}

// Error is What and Remedy.
func (f *CallError) Error() string {
	if f.Remedy == "" {
		return f.What
	}
	return f.What + ": " + f.Remedy
}

// Unwrap returns what the fault was made of.
func (f *CallError) Unwrap() []error { return f.wraps }

// What to do about faults that several checks find.
const (
	createRemedy      = "run `caddy webordinary tables create`"
	clockRemedy       = "set the clock, and keep it by NTP"
	credentialsRemedy = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run with a role" //nolint:gosec // G101: names only
)

// Codes of AWS's errors, by what to do about them. Those of clock skew are sent for other
// faults of a signature as well.
var (
	throttlingCodes = []string{
		"ThrottlingException", "Throttling", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "TooManyRequestsException",
	}
	deniedCodes      = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
	credentialsCodes = []string{
		"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "ExpiredToken",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignatureException",
		"OptInRequired",
	}
	skewCodes = []string{
		"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", "InvalidSignatureException", "SignatureDoesNotMatch", "AuthFailure",
	}
)

// skewTolerance is how far AWS lets clocks differ.
const skewTolerance = 5 * time.Minute

// Translate says what a failed call means, and what to do. All but a refusal of the request
// itself, and a context that was cancelled, wraps unavailable as well. tables are those that
// the call was about.
func Translate(ctx context.Context, client *dynamodb.Client, unavailable, err error, tables ...string) error {
	var answer smithy.APIError
	answered := errors.As(err, &answer)
	code, message := "", ""
	if answered {
		code, message = answer.ErrorCode(), answer.ErrorMessage()
	}
	failed := func(what, remedy string) error {
		return fmt.Errorf("%w: %w", unavailable, &CallError{what, remedy, []error{err}})
	}
	said := fmt.Sprintf("(%s: %s)", code, message)
	skew, dated := clockSkew(err)
	switch {
	case ctx.Err() != nil:
		return Stopped(ctx, unavailable, err)
	case slices.Contains(throttlingCodes, code):
		return fmt.Errorf("%w: %w", unavailable, &CallError{ErrThrottled.What + " " + said, ErrThrottled.Remedy, []error{ErrThrottled, err}})
	case isMissing(err):
		return failed(missingTables(ctx, client, tables), createRemedy+", or correct the region or the table prefix")
	case code == "ValidationException" && strings.Contains(message, "specified index"):
		return failed(strings.Join(tables, ", ")+" lacks an index "+said, createRemedy)
	case code == "ValidationException" && strings.Contains(message, "backfilling"):
		return failed("an index is being made "+said, "wait until it is ACTIVE")
	case slices.Contains(deniedCodes, code):
		return failed("AWS denies access: "+message, "allow the action on the table to this identity")
	case slices.Contains(skewCodes, code) && dated && skew.Abs() > skewTolerance:
		return failed(fmt.Sprintf("this machine's clock is %s, so that AWS refuses its signatures", skewText(skew)), clockRemedy)
	case slices.Contains(credentialsCodes, code), slices.Contains(skewCodes, code):
		return failed("AWS does not accept the credentials "+said, "renew or correct them")
	case answered && answer.ErrorFault() == smithy.FaultServer:
		return failed("DynamoDB failed "+said, "try again")
	case answered:
		return &CallError{What: "DynamoDB refused the request " + said, wraps: []error{err}}
	case isCredentials(err):
		return failed("there are no AWS credentials ("+cause(err)+")", credentialsRemedy)
	default:
		return failed(fmt.Sprintf("DynamoDB at %s does not answer (%s)", where(client), cause(err)), "see to the connection, the region and the endpoint")
	}
}

// Stopped is the error of a call that its caller's context ended.
func Stopped(ctx context.Context, unavailable, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", unavailable, &CallError{What: "DynamoDB did not answer in time", wraps: []error{ctx.Err(), err}})
	}
	return &CallError{What: ctx.Err().Error(), wraps: []error{ctx.Err(), err}}
}

// isMissing: a table does not exist. That of one of its indexes is told otherwise.
func isMissing(err error) bool {
	var missing *types.ResourceNotFoundException
	var gone *types.TableNotFoundException
	return errors.As(err, &missing) || errors.As(err, &gone)
}

// missingTables names the tables that do not exist: a call about several does not say which.
func missingTables(ctx context.Context, client *dynamodb.Client, tables []string) string {
	if len(tables) > 1 {
		tables = slices.DeleteFunc(slices.Sorted(slices.Values(tables)), func(name string) bool {
			_, err := client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
			return !isMissing(err)
		})
	}
	region := client.Options().Region
	switch len(tables) {
	case 0:
		return "a table does not exist in region " + region
	case 1:
		return fmt.Sprintf("table %s does not exist in region %s", tables[0], region)
	default:
		return fmt.Sprintf("tables %s do not exist in region %s", strings.Join(tables, ", "), region)
	}
}

// clockSkew is how far this machine's clock is ahead of the server that answered.
func clockSkew(err error) (time.Duration, bool) {
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil || response.Response.Response == nil {
		return 0, false
	}
	date, parsed := http.ParseTime(response.Response.Header.Get("Date"))
	if parsed != nil {
		return 0, false
	}
	return time.Since(date), true
}

func skewText(ahead time.Duration) string {
	direction := "ahead"
	if ahead < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("%s %s", ahead.Abs().Round(time.Second), direction)
}

// isCredentials reports whether a call was not even sent, for want of credentials.
func isCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get identity: ") || strings.Contains(text, "failed to refresh cached credentials")
}

// cause is the innermost of what went wrong with a connection, without the SDK's frames.
func cause(err error) string {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "no answer in time"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// where names the endpoint.
func where(client *dynamodb.Client) string {
	if endpoint := client.Options().BaseEndpoint; endpoint != nil {
		return *endpoint
	}
	return "AWS, region " + client.Options().Region
}

// onAWS is false for DynamoDB Local and the like, which do not encrypt. An endpoint of
// one's own network (PrivateLink) is AWS too.
func onAWS(client *dynamodb.Client) bool {
	endpoint := client.Options().BaseEndpoint
	if endpoint == nil {
		return true
	}
	u, err := url.Parse(*endpoint)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

// Pause waits, or returns why ctx ended.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
