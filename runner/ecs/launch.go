package ecs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// launch has ECS run the task of a request, which it may do already: then that is it.
func (r *Runner) launch(ctx context.Context, req sessions.StartRequest) (task, error) {
	t, err := r.run(ctx, req, r.clientToken(req, ""))
	var conflict *types.ConflictException
	if err == nil || !errors.As(err, &conflict) || len(conflict.ResourceIds) == 0 {
		return t, err
	}
	// This epoch was started before, with other parameters.
	former, err := r.describe(ctx, conflict.ResourceIds[0])
	switch {
	case err != nil:
		return task{}, fmt.Errorf("looking at the task of an earlier start: %w", unavailable(err))
	case former.sessionID != req.SessionID || former.epoch != req.Epoch:
		return task{}, fmt.Errorf("the client token is that of another container, %s", former.arn)
	case former.tokenHash == req.TokenHash:
		return former, nil // another edge did, which has other settings
	case !former.ended():
		return task{}, sessions.ErrOtherToken
	}
	// The session was deleted since, and its id given again.
	return r.run(ctx, req, r.clientToken(req, req.TokenHash))
}

// run calls RunTask. A call that is under way is seen to its end, whatever becomes of
// whoever asked, so that a container which it starts is known.
func (r *Runner) run(ctx context.Context, req sessions.StartRequest, token string) (task, error) {
	in := r.input(req, token)
	doubtful := false
	out, err := call(ctx, r.life, r, r.runTask, r.timing.patience, func(ctx context.Context) (*awsecs.RunTaskOutput, error) {
		out, err := r.client.RunTask(ctx, in)
		switch faultOf(err) {
		case faultTransient:
			doubtful = true
		case faultNone:
			doubtful = false // of earlier tries, too: it is the same token
		case faultThrottled, faultRefused:
		}
		return out, err
	})
	r.doubt(req.SessionID, doubtful)
	switch {
	case err != nil:
		return task{}, err
	case len(out.Tasks) > 0:
		return r.learn(out.Tasks[0], time.Now()), nil
	case len(out.Failures) > 0:
		return task{}, explainFailure(out.Failures[0])
	default:
		return task{}, fmt.Errorf("%w: ECS placed no task and says nothing", sessions.ErrCapacity)
	}
}

// clientToken is by which ECS knows a start again: 64 characters, which is the most.
func (r *Runner) clientToken(req sessions.StartRequest, salt string) string {
	sum := sha256.New()
	for _, part := range []string{"webordinary start v1", r.startedBy, req.SessionID, strconv.FormatInt(req.Epoch, 10), salt} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part) // a hash takes everything
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// input is the call that starts a container. The same request gives the same call, as
// long as the settings are the same.
func (r *Runner) input(req sessions.StartRequest, token string) *awsecs.RunTaskInput {
	t := r.tunables.Load()
	size := t.Sizes[req.Size]
	assign := types.AssignPublicIpDisabled
	if t.AssignPublicIP {
		assign = types.AssignPublicIpEnabled
	}
	in := &awsecs.RunTaskInput{
		Cluster: &r.cluster, TaskDefinition: &t.TaskDefinition, Count: aws.Int32(1),
		ClientToken: &token, StartedBy: &r.startedBy,
		NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{
			Subnets: t.Subnets, SecurityGroups: t.SecurityGroups, AssignPublicIp: assign,
		}},
		Overrides: &types.TaskOverride{
			Cpu: aws.String(strconv.Itoa(size.CPU)), Memory: aws.String(strconv.Itoa(size.Memory)),
			ContainerOverrides: []types.ContainerOverride{{
				Name: &t.Container,
				Environment: keywords(
					bootapi.EnvSessionID, req.SessionID,
					bootapi.EnvTokenHash, req.TokenHash,
					// By these every edge knows a task's epoch and address, whatever its own settings are.
					envEpoch, strconv.FormatInt(req.Epoch, 10),
					bootapi.EnvPort, strconv.Itoa(t.Port),
				),
			}},
		},
		// For people and bills; no edge reads them.
		Tags: []types.Tag{
			{Key: aws.String("webordinary:deployment"), Value: &r.startedBy},
			{Key: aws.String("webordinary:client"), Value: aws.String(tagValue(req.ClientID))},
			{Key: aws.String("webordinary:session"), Value: aws.String(tagValue(req.SessionID))},
			{Key: aws.String("webordinary:epoch"), Value: aws.String(strconv.FormatInt(req.Epoch, 10))},
		},
	}
	if len(t.CapacityProviders) == 0 {
		in.LaunchType = types.LaunchTypeFargate
	}
	for _, p := range t.CapacityProviders {
		in.CapacityProviderStrategy = append(in.CapacityProviderStrategy, types.CapacityProviderStrategyItem{
			CapacityProvider: aws.String(p.Name), Weight: int32(p.Weight), Base: int32(p.Base), // checked by Tunables.Check
		})
	}
	return in
}

// keywords makes variables of names and values in turn.
func keywords(pairs ...string) []types.KeyValuePair {
	list := make([]types.KeyValuePair, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.KeyValuePair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return list
}

// tagValue makes a text one that a tag can have.
func tagValue(text string) string {
	clean := strings.Map(func(c rune) rune {
		switch {
		case unicode.IsLetter(c), unicode.IsDigit(c), c == ' ', strings.ContainsRune("_.:/=+-@", c):
			return c
		default:
			return '_'
		}
	}, text)
	return clip(clean, 256)
}
