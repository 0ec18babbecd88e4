package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/webordinary/router/sessions"
)

// fault is what kind of error a call met.
type fault int

const (
	faultNone      fault = iota
	faultThrottled       // asked too often: nothing was done
	faultTransient       // no answer, or one that says nothing: it may have been done
	faultRefused         // it was not done and will not be
)

var (
	throttles = []string{"ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException"}
	// clocks: the signature's time is wrong. The client learns by how much from the
	// answer, and sets it right with the next call.
	clocks    = []string{"RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"}
	transient = []string{"ServerException", "InternalFailure", "InternalError", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException"}
	strangers = []string{"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature", "IncompleteSignatureException", "OptInRequired"}
	denials   = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"}
)

// faultOf sorts the errors of a call.
func faultOf(err error) fault {
	var api smithy.APIError
	switch {
	case err == nil:
		return faultNone
	case noCredentials(err):
		return faultRefused
	case !errors.As(err, &api):
		return faultTransient // of the network
	case slices.Contains(throttles, api.ErrorCode()):
		return faultThrottled
	case slices.Contains(clocks, api.ErrorCode()), slices.Contains(transient, api.ErrorCode()):
		return faultTransient
	case slices.Contains(strangers, api.ErrorCode()), slices.Contains(denials, api.ErrorCode()):
		return faultRefused
	case api.ErrorFault() == smithy.FaultServer:
		return faultTransient
	default:
		return faultRefused
	}
}

// noCredentials reports whether a call was not made because there are none.
func noCredentials(err error) bool {
	var op *smithy.OperationError
	return errors.As(err, &op) && (strings.Contains(op.Err.Error(), "get identity") || strings.Contains(op.Err.Error(), "retrieve credentials"))
}

// advice is what to do about an error, by its code ("" for any) and a part of its message.
var advice = []struct {
	code, part string
	sentinel   error
	todo       string
}{
	{"", "Capacity is unavailable", sessions.ErrCapacity, "Fargate has no capacity in the subnets' availability zones: add subnets in others"},
	{"", "limit on the number of", sessions.ErrCapacity, "the account's Fargate quota is used up: ask AWS for a higher one, or stop sessions"},
	{"", "number of concurrently", sessions.ErrCapacity, "the account's quota is used up: ask AWS for a higher one, or stop sessions"},
	{"LimitExceededException", "", sessions.ErrCapacity, "a quota of the account is used up"},
	{"ClientException", "PROVISIONING", sessions.ErrCapacity, "too many tasks of the cluster wait for a machine"},
	{"ClusterNotFoundException", "", nil, "create the cluster, or set `cluster` and `region`"},
	{"", "TaskDefinition is inactive", nil, "the task definition was deregistered: register it again, or set `task_definition`"},
	{"", "Unable to describe task definition", nil, "register the task definition, or set `task_definition`"},
	{"", "TaskDefinition not found", nil, "register the task definition, or set `task_definition`"},
	{"", "not a container in the TaskDefinition", nil, "set `container` to the container's name in the task definition"},
	{"", "No Fargate configuration", nil, "Fargate has no such size: set `size`"},
	{"", "ubnet", nil, "set `subnets` to those of the cluster's VPC"},
	{"", "ecurity", nil, "set `security_groups` to those of the subnets' VPC"},
	{"", "apacity provider", nil, "set `capacity_provider` to one that the cluster has"},
	{"", "awsvpc", nil, "the task definition must have the network mode awsvpc"},
	{"PlatformTaskDefinitionIncompatibilityException", "", nil, "the task definition must require FARGATE compatibility"},
	{"BlockedException", "", nil, "AWS has blocked the account: ask its support"},
}

// explain says in words what an error of a call means and what to do. Errors after which
// another try may help are sessions.ErrRunnerUnavailable or ErrCapacity.
func (r *Runner) explain(action string, err error) error {
	var api smithy.APIError
	switch {
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled) && !errors.As(err, &api):
		return err
	case noCredentials(err):
		return fmt.Errorf("%w: the edge has no AWS credentials: give it a role, or set AWS_PROFILE: %w", sessions.ErrRunnerUnavailable, err)
	case !errors.As(err, &api):
		return fmt.Errorf("%w: ECS does not answer %s: %w", sessions.ErrRunnerUnavailable, action, err)
	}
	code, said := api.ErrorCode(), &saidError{api: api, err: err}
	switch {
	case slices.Contains(throttles, code):
		return fmt.Errorf("%w: ECS throttles the account's %s calls: %w", sessions.ErrRunnerUnavailable, action, said)
	case slices.Contains(denials, code):
		return fmt.Errorf("the edge's AWS role does not allow ecs:%s, or what it needs (docs/ecs.md has a policy): %w", action, said)
	case slices.Contains(strangers, code):
		return fmt.Errorf("%w: AWS does not know the edge's credentials, or they have expired: %w", sessions.ErrRunnerUnavailable, said)
	case slices.Contains(clocks, code):
		return fmt.Errorf("%w: AWS refuses the signature: set this machine's clock right, or its secret key: %w", sessions.ErrRunnerUnavailable, said)
	case faultOf(err) == faultTransient:
		return fmt.Errorf("%w: ECS failed to answer %s: %w", sessions.ErrRunnerUnavailable, action, said)
	}
	for _, a := range advice {
		if (a.code == "" || a.code == code) && strings.Contains(api.ErrorMessage(), a.part) {
			if a.sentinel != nil {
				return fmt.Errorf("%w: %s: %w", a.sentinel, a.todo, said)
			}
			return fmt.Errorf("%s (cluster %s, region %s): %w", a.todo, r.clusterName(), r.region, said)
		}
	}
	return fmt.Errorf("ECS refuses %s: %w", action, said)
}

// saidError is an error of the API without the layers of the client around it.
type saidError struct {
	api smithy.APIError
	err error
}

func (e *saidError) Error() string { return e.api.ErrorCode() + ": " + tidy(e.api.ErrorMessage()) }

func (e *saidError) Unwrap() error { return e.err }

// unavailable makes an error of a question one after which a container counts as
// unknown, not as gone.
func unavailable(err error) error {
	if err == nil || errors.Is(err, sessions.ErrRunnerUnavailable) || errors.Is(err, sessions.ErrNoContainer) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", sessions.ErrRunnerUnavailable, err)
}

// explainFailure says in words why RunTask placed nothing.
func explainFailure(f types.Failure) error {
	reason, detail := "", ""
	if f.Reason != nil {
		reason = tidy(*f.Reason)
	}
	if f.Detail != nil {
		detail = ": " + tidy(*f.Detail)
	}
	what, isResource := strings.CutPrefix(reason, "RESOURCE:")
	switch {
	case what == "ENI":
		return fmt.Errorf("%w: no machine of the cluster has a network interface free, or the subnets no address: %s%s", sessions.ErrCapacity, reason, detail)
	case isResource:
		return fmt.Errorf("%w: no machine of the cluster has enough %s free: %s%s", sessions.ErrCapacity, strings.ToLower(what), reason, detail)
	case strings.Contains(reason, "Capacity is unavailable"):
		return fmt.Errorf("%w: Fargate has no capacity in the subnets' availability zones: %s%s", sessions.ErrCapacity, reason, detail)
	case reason == "AGENT", strings.Contains(reason, "No Container Instances"), strings.Contains(reason, "EMPTY CAPACITY PROVIDER"), strings.Contains(reason, "limit on the number"):
		return fmt.Errorf("%w: the cluster has no machine for it: %s%s", sessions.ErrCapacity, reason, detail)
	case reason == "ATTRIBUTE", reason == "LOCATION", strings.Contains(reason, "memberOf"):
		return fmt.Errorf("no machine of the cluster fits the task definition: %s%s", reason, detail)
	default:
		return fmt.Errorf("%w: ECS placed no task: %s%s", sessions.ErrCapacity, reason, detail)
	}
}
