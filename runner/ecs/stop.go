package ecs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/smithy-go"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// maxReason is how long the reason of a stop may be, in bytes.
const maxReason = 255

// Stop has ECS end a task, with SIGTERM and after the task definition's stopTimeout with
// SIGKILL, and returns when it is STOPPED, or ECS has ceased to know it. If ctx ends
// before, the stop goes on. What is not a task of this cluster is none that runs here:
// no error.
func (r *Runner) Stop(ctx context.Context, ref, reason string) error {
	if !r.isOurs(ref) {
		r.log.Warn("not stopping what is no task of this cluster", zap.String("container", ref))
		return nil
	}
	if err := r.stop(ctx, ref, reason); err != nil {
		return fmt.Errorf("stopping %s: %w", ref, err)
	}
	return nil
}

func (r *Runner) stop(ctx context.Context, arn, reason string) error {
	ctx, done := r.within(ctx)
	defer done()
	if t, ok := r.tasks.get(arn); ok && t.ended() {
		return nil
	}
	if reason == "" {
		reason = "stopped"
	}
	asked := false
	for wait := r.timing.stopPoll; ; wait = min(wait*3/2, 4*r.timing.stopPoll) {
		if !asked {
			var err error
			if asked, err = r.askStop(ctx, arn, reason); err != nil {
				return err
			}
		}
		t, err := r.describe(ctx, arn)
		switch {
		case errors.Is(err, sessions.ErrNoContainer):
			return nil
		case err == nil && t.ended():
			r.log.Info("container ended", append(fields(t), zap.String("reason", t.why))...)
			return nil
		case ctx.Err() != nil:
			return cause(ctx)
		}
		// One that cannot be asked about now can be later.
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// askStop has ECS begin to end a task. false: ECS does not know it yet, or no more.
func (r *Runner) askStop(ctx context.Context, arn, reason string) (bool, error) {
	out, err := call(ctx, ctx, r, r.stopTask, r.timing.patience, func(ctx context.Context) (*awsecs.StopTaskOutput, error) {
		return r.client.StopTask(ctx, &awsecs.StopTaskInput{Cluster: &r.cluster, Task: &arn, Reason: aws.String(clip(tidy(reason), maxReason))})
	})
	var api smithy.APIError
	switch {
	case err == nil:
		if out.Task != nil {
			r.learn(*out.Task, time.Now())
		}
		return true, nil
	case poisoned(err), errors.As(err, &api) && api.ErrorCode() == "ClientException" && strings.Contains(api.ErrorMessage(), "not found"):
		return false, nil
	default:
		return false, unavailable(err)
	}
}
