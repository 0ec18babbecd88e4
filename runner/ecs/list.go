package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/webordinary/router/sessions"
)

// survey is this deployment's tasks that have not ended, those which ECS lists and those
// which this process knows.
type survey []task

// List returns the containers of this deployment that have not ended, whichever edge
// started them.
func (r *Runner) List(ctx context.Context) ([]sessions.Container, error) {
	running, err := r.survey(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	list := make([]sessions.Container, 0, len(running))
	for _, t := range running {
		list = append(list, t.container())
	}
	return list, nil
}

// Forget reports whether anything of a session may be running; nothing else of one is
// kept where this runner could remove it: the workspace has ended with the task, and
// what lies in the caches is bounded by containerboot. See sessions.Runner.
func (r *Runner) Forget(ctx context.Context, sessionID string) error {
	if sessionID == "" {
		return nil // no container has such an id
	}
	err := r.forget(ctx, sessionID)
	if err != nil {
		return fmt.Errorf("forgetting session %q: %w", sessionID, err)
	}
	return nil
}

func (r *Runner) forget(ctx context.Context, sessionID string) error {
	running, err := r.survey(ctx, sessionID)
	if err != nil {
		return err
	}
	for _, t := range running {
		if t.sessionID == sessionID {
			return fmt.Errorf("its container runs: %s", t.arn)
		}
	}
	r.mu.Lock()
	_, starting := r.flights[sessionID]
	r.mu.Unlock()
	if starting {
		return errors.New("its container is being started")
	}
	r.tasks.forget(sessionID)
	return nil
}

// Kept returns the sessions whose container runs: of others nothing is kept. See
// sessions.Runner.
func (r *Runner) Kept(ctx context.Context) ([]string, error) {
	running, err := r.survey(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("listing what is kept: %w", err)
	}
	ids := make([]string, 0, len(running))
	for _, t := range running {
		ids = append(ids, t.sessionID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// survey asks ECS which tasks of this deployment have not ended. Where a start of the
// session ("": of any) may have come about unseen, it waits until ECS must list it; for
// one session it takes that to be so, too, when this process has just begun: an edge
// that was killed may have asked for a task a moment ago.
func (r *Runner) survey(ctx context.Context, sessionID string) (survey, error) {
	ctx, done := r.within(ctx)
	defer done()
	if err := r.givenUp(ctx, sessionID); err != nil {
		return nil, err
	}
	if err := r.settled(ctx, sessionID); err != nil {
		return nil, err
	}
	s, err := r.surveys.ask(ctx, "")
	return s, unavailable(err)
}

// givenUp waits until the starts for which nobody waits any more have ended: what they
// asked ECS for is known then, or noted as unsure. They make no more calls, so that is soon.
func (r *Runner) givenUp(ctx context.Context, sessionID string) error {
	r.mu.Lock()
	var ending []*flight
	for id, f := range r.flights {
		if f.askers == 0 && (sessionID == "" || id == sessionID) {
			ending = append(ending, f)
		}
	}
	r.mu.Unlock()
	for _, f := range ending {
		select {
		case <-f.done:
		case <-ctx.Done(): // a start that looks for earlier containers, and is itself given up
			return cause(ctx)
		}
	}
	return nil
}

// settled waits for the time after which ListTasks must show what was started unseen.
func (r *Runner) settled(ctx context.Context, sessionID string) error {
	r.mu.Lock()
	var last time.Time
	if sessionID != "" {
		last = r.born
	}
	for id, at := range r.unsure {
		if (sessionID == "" || id == sessionID) && at.After(last) {
			last = at
		}
	}
	r.mu.Unlock()
	return sleep(ctx, time.Until(last.Add(r.timing.settle)))
}

// surveyBatch is one survey for all who wait for it.
func (r *Runner) surveyBatch([]string) (map[string]survey, error) {
	began := time.Now()
	r.tasks.prune(began, r.timing.keepEnded)
	// Who was told to end is no longer listed with those that run, but may still be saving.
	listed := map[string]bool{}
	for _, desired := range []types.DesiredStatus{types.DesiredStatusRunning, types.DesiredStatusStopped} {
		arns, err := r.listAll(desired)
		if err != nil {
			return nil, err
		}
		for _, arn := range arns {
			listed[arn] = listed[arn] || desired == types.DesiredStatusRunning
		}
	}
	// What is listed as running and was seen before needs no more; all else is looked at.
	var ask []string
	for arn := range listed {
		if !r.tasks.touch(arn, began) {
			ask = append(ask, arn)
		}
	}
	for _, t := range r.tasks.running() {
		if !listed[t.arn] {
			ask = append(ask, t.arn)
		}
	}
	if err := r.look(ask); err != nil {
		return nil, err
	}
	r.mu.Lock()
	for id, at := range r.unsure {
		if at.Add(r.timing.settle).Before(began) {
			delete(r.unsure, id)
		}
	}
	r.mu.Unlock()
	return map[string]survey{"": r.tasks.running()}, nil
}

// look has ECS tell of some tasks, in calls of their own: there may be thousands, which
// those who wait for one container are not to wait for.
func (r *Runner) look(arns []string) error {
	for chunk := range slices.Chunk(arns, maxBatch) {
		answers, err := r.describeBatch(chunk)
		if err != nil {
			return err
		}
		for _, arn := range chunk {
			if !answers[arn].known {
				r.tasks.miss(arn, time.Now(), r.timing)
			}
		}
	}
	return nil
}

// listAll returns the ARNs of this deployment's tasks that are desired to be running,
// or stopped.
func (r *Runner) listAll(desired types.DesiredStatus) ([]string, error) {
	var arns []string
	in := &awsecs.ListTasksInput{Cluster: &r.cluster, StartedBy: &r.startedBy, MaxResults: aws.Int32(maxBatch)}
	if desired != types.DesiredStatusRunning { // which is the default, and the reference allows no other filter beside startedBy
		in.DesiredStatus = desired
	}
	for {
		if desired == types.DesiredStatusStopped && r.oneFilter.Load() {
			in.StartedBy = nil // theirs are told from ours by their description
		}
		out, err := call(r.life, r.life, r, r.listTasks, r.timing.readPatience, func(ctx context.Context) (*awsecs.ListTasksOutput, error) {
			return r.client.ListTasks(ctx, in)
		})
		if err != nil {
			// So far ECS allows it.
			if desired == types.DesiredStatusStopped && poisoned(err) && r.oneFilter.CompareAndSwap(false, true) {
				continue
			}
			return nil, err
		}
		arns = append(arns, out.TaskArns...)
		if aws.ToString(out.NextToken) == "" {
			return arns, nil
		}
		in.NextToken = out.NextToken
	}
}
