// Package ecs runs session containers as tasks of Amazon ECS, on Fargate or on other
// capacity that gives every task a network interface of its own.
//
// Any number of edges share one deployment: region, cluster and the name in startedBy.
// What they need to know of a task is in the task itself, in the overrides that it was
// started with; nothing is kept on the edge, and containers outlive it. A task is
// started with the session's id, its epoch, the hash of its token and the port to listen
// on, and with no secret, as whoever may describe tasks sees these.
//
// A start is idempotent by its clientToken, which is made of session and epoch. ECS
// honours it for 24 hours, or for an hour or so after the task has ended; later, it is
// the registry that never asks for an epoch twice.
//
// ECS is eventually consistent: for a while it may not know a task that it has just
// started, or tell an older state of it. So what this process has seen of a task never
// goes back, and a task that was seen is not gone because it is missing once.
package ecs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// Options are what a Runner is made of.
type Options struct {
	// Client calls ECS; see NewClient.
	Client *awsecs.Client
	// Cluster is the name or ARN of the cluster.
	Cluster string
	// StartedBy names the deployment: the tasks with this name, and no others, are
	// this runner's. See CheckStartedBy.
	StartedBy string
	// Tunables are the first ones; see SetTunables.
	Tunables Tunables
	// Logger is for what happens to containers. Default: none.
	Logger *zap.Logger
}

// Runner is a sessions.Runner of ECS tasks.
type Runner struct {
	client    *awsecs.Client
	region    string
	cluster   string
	startedBy string
	tunables  atomic.Pointer[Tunables]
	log       *zap.Logger
	timing    timing
	born      time.Time

	runTask, stopTask, describeTasks, listTasks *action

	tasks     *tasks
	describes *batcher[answer] // by ARN
	surveys   *batcher[survey] // one key
	oneFilter atomic.Bool      // ECS does not list ended tasks by startedBy

	life context.Context // ends with Close, with errClosed
	end  context.CancelCauseFunc
	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[string]*flight   // starts under way, by session id
	unsure  map[string]time.Time // sessions of which a start may have come about unseen, and when
}

// timing is how long things may take. Tests have less time.
type timing struct {
	attempt        time.Duration // one call of the API
	describeEvery  time.Duration // between the beginnings of two DescribeTasks that are not full
	surveyEvery    time.Duration // between the beginnings of two rounds of ListTasks
	stopPoll       time.Duration // between two looks at a task that is ending; grows to the fourfold
	patience       time.Duration // of a call that must be made, while ECS throttles or fails
	readPatience   time.Duration // of a call that only asks
	missingKnown   time.Duration // until a task that this process has seen, and ECS does not know, is gone
	missingUnknown time.Duration // the same of one that it never saw
	settle         time.Duration // until ListTasks shows a task that was started, at the latest
	keepEnded      time.Duration // until what is known of an ended task is dropped
}

var defaultTiming = timing{
	attempt:       15 * time.Second,
	describeEvery: 250 * time.Millisecond, surveyEvery: time.Second, stopPoll: 500 * time.Millisecond,
	patience: time.Minute, readPatience: 10 * time.Second,
	// ECS knows an ended task for an hour: one that was seen lately cannot be gone.
	missingKnown: 5 * time.Minute, missingUnknown: 15 * time.Second,
	settle: 5 * time.Second, keepEnded: time.Hour,
}

// How many calls of an action may be under way at once. RunTask takes a second or so, and
// ECS lets an account start 20 tasks a second.
const (
	maxChanges = 20
	maxReads   = 4
)

// New returns a runner. It calls nothing.
func New(o Options) (*Runner, error) {
	if o.Client == nil {
		return nil, errors.New("ecs runner: client must be set")
	}
	if o.Cluster == "" {
		return nil, errors.New("ecs runner: cluster must be set")
	}
	if err := CheckStartedBy(o.StartedBy); err != nil {
		return nil, fmt.Errorf("ecs runner: started by: %w", err)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	r := &Runner{
		client: o.Client, region: o.Client.Options().Region, cluster: o.Cluster, startedBy: o.StartedBy,
		log: o.Logger, timing: defaultTiming, born: time.Now(), tasks: newTasks(),
		runTask: newAction("RunTask", maxChanges), stopTask: newAction("StopTask", maxChanges),
		describeTasks: newAction("DescribeTasks", maxReads), listTasks: newAction("ListTasks", maxReads),
		flights: map[string]*flight{}, unsure: map[string]time.Time{},
	}
	if err := r.SetTunables(o.Tunables); err != nil {
		return nil, err
	}
	r.life, r.end = context.WithCancelCause(context.Background())
	r.describes = &batcher[answer]{call: r.describeBatch, most: maxBatch, spawn: r.spawn, life: r.life, every: func() time.Duration { return r.timing.describeEvery }}
	r.surveys = &batcher[survey]{call: r.surveyBatch, most: 1, spawn: r.spawn, life: r.life, every: func() time.Duration { return r.timing.surveyEvery }}
	return r, nil
}

// maxStartedBy is how long a startedBy may be in every version of the API.
const maxStartedBy = 36

var startedByPattern = regexp.MustCompile(`^[A-Za-z0-9/_-]+$`)

// CheckStartedBy reports what is wrong with a value of Options.StartedBy.
func CheckStartedBy(name string) error {
	if len(name) > maxStartedBy || !startedByPattern.MatchString(name) {
		return fmt.Errorf("must be 1 to %d letters, digits, '-', '_' and '/', got %q", maxStartedBy, name)
	}
	return nil
}

// errClosed: this process has nothing to do with the containers any more.
var errClosed = fmt.Errorf("the runner is closed: %w", sessions.ErrRunnerUnavailable)

// spawn runs fn, which Close waits for. false: the runner is closed, and fn is not run.
func (r *Runner) spawn(fn func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.work.Go(fn)
	return true
}

// within returns a context that ends with ctx, or with the runner; done must be called.
func (r *Runner) within(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.life, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// cause is why a context has ended: errClosed, or its error.
func cause(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errClosed) {
		return err
	}
	return ctx.Err()
}

// clusterName is the name in the ARNs of the cluster's tasks.
func (r *Runner) clusterName() string {
	return r.cluster[strings.LastIndexByte(r.cluster, '/')+1:]
}

// Close ends what this process does for containers, which live on: they are those of all
// edges. A start whose answer has not come yet is left as it is; if it came about, the
// next one of its epoch finds it.
func (r *Runner) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end(errClosed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var _ sessions.Runner = (*Runner)(nil)
