package ecs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"

	"github.com/webordinary/router/sessions"
)

// answer is what ECS told of a task: the zero value is that it does not know it.
type answer struct {
	task    task
	known   bool
	refused bool // it takes the ARN for none of the cluster's
}

// errUnseen: ECS does not know a task that may have been started a moment ago.
var errUnseen = fmt.Errorf("%w: ECS does not know the task yet, or no more", sessions.ErrRunnerUnavailable)

// Describe returns the state of a container. See sessions.Runner. Of a task that ECS has
// ceased to know it says for some seconds that it cannot tell: it may be too new.
func (r *Runner) Describe(ctx context.Context, ref string) (sessions.Container, error) {
	if !r.isOurs(ref) {
		return sessions.Container{}, fmt.Errorf("reference %q is not a task of cluster %s in %s: %w", ref, r.clusterName(), r.region, sessions.ErrNoContainer)
	}
	t, err := r.describe(ctx, ref)
	if err != nil {
		return sessions.Container{}, fmt.Errorf("describing %s: %w", ref, unavailable(err))
	}
	return t.container(), nil
}

// describe returns what is known of a task after ECS was asked. sessions.ErrNoContainer.
func (r *Runner) describe(ctx context.Context, arn string) (task, error) {
	if t, ok := r.tasks.get(arn); ok && t.ended() {
		return t, nil // for good
	}
	a, err := r.describes.ask(ctx, arn)
	switch {
	case err != nil:
		return task{}, err
	case a.refused:
		return task{}, fmt.Errorf("ECS takes it for none of the cluster's: %w", sessions.ErrNoContainer)
	}
	if a.known {
		if !a.task.ours() {
			return task{}, fmt.Errorf("it was not started by %q: %w", r.startedBy, sessions.ErrNoContainer)
		}
		return a.task, nil
	}
	switch t, known, gone := r.tasks.miss(arn, time.Now(), r.timing); {
	case gone:
		return task{}, fmt.Errorf("ECS does not know it any more: %w", sessions.ErrNoContainer)
	case known:
		return t, nil
	default:
		return task{}, errUnseen
	}
}

// describeBatch asks ECS for some tasks, and takes in what it tells.
func (r *Runner) describeBatch(arns []string) (map[string]answer, error) {
	out, err := call(r.life, r.life, r, r.describeTasks, r.timing.readPatience, func(ctx context.Context) (*awsecs.DescribeTasksOutput, error) {
		return r.client.DescribeTasks(ctx, &awsecs.DescribeTasksInput{Cluster: &r.cluster, Tasks: arns})
	})
	switch {
	case err == nil:
	case len(arns) > 1 && poisoned(err):
		// One of them is refused: the others are not to suffer for it.
		half := len(arns) / 2
		answers, err := r.describeBatch(arns[:half])
		if err != nil {
			return nil, err
		}
		rest, err := r.describeBatch(arns[half:])
		maps.Copy(answers, rest)
		return answers, err
	case poisoned(err):
		return map[string]answer{arns[0]: {refused: true}}, nil
	default:
		return nil, err
	}
	answers := make(map[string]answer, len(arns))
	now := time.Now()
	for _, t := range out.Tasks {
		answers[aws.ToString(t.TaskArn)] = answer{task: r.learn(t, now), known: true}
	}
	return answers, nil
}

// poisoned reports whether a call was refused for what it names.
func poisoned(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "InvalidParameterException"
}

// learn takes in a task that ECS tells of.
func (r *Runner) learn(t types.Task, now time.Time) task {
	return r.tasks.put(newTask(t, r.startedBy, now))
}
