//go:build unix

package ecs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/runner/ecs/ecstest"
	"github.com/webordinary/router/sessions"
)

// deadline is how long tests wait for what takes milliseconds on a machine at rest.
const deadline = 2 * time.Minute

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, deadline, 5*time.Millisecond, what)
}

// isEnding reports whether a task was told to stop: one that saves for some seconds may
// be done by the time that it is looked at.
func isEnding(info ecstest.TaskInfo) bool {
	return info.LastStatus == "STOPPING" || info.LastStatus == "STOPPED"
}

// ended waits until the fake has stopped a task for good.
func ended(t *testing.T, fake *ecstest.Server, arn string) {
	t.Helper()
	eventually(t, "task ends", func() bool {
		info, err := fake.Task(arn)
		return err == nil && info.LastStatus == "STOPPED"
	})
}

func TestWhatATaskIsStartedWith(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake, logTo(zap.New(core)), func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"medium": {CPU: 2048, Memory: 6144}}
	})
	req := request("client#user@example.com#thread", 3)
	req.Size = "medium"
	c, err := r.Start(t.Context(), req)
	require.NoError(t, err)
	assert.Regexp(t, `^arn:aws:ecs:us-east-1:123456789012:task/sessions/[0-9a-f]{32}$`, c.Ref)
	assert.Equal(t, sessions.Container{Ref: c.Ref, SessionID: req.SessionID, Epoch: 3, Running: true, Reason: "waiting for a machine"}, c)

	info, err := fake.Task(c.Ref)
	require.NoError(t, err)
	assert.Equal(t, "tests", info.StartedBy)
	assert.Equal(t, "2048", info.CPU)
	assert.Equal(t, "6144", info.Memory)
	port := map[string]string{"PORT": info.Env["PORT"]}
	assert.Equal(t, map[string]string{
		bootapi.EnvSessionID: req.SessionID, bootapi.EnvTokenHash: req.TokenHash, envEpoch: "3", "PORT": port["PORT"],
	}, info.Env, "ids and a hash, and nothing else")
	assert.Equal(t, map[string]string{
		"webordinary:deployment": "tests", "webordinary:client": "amelia",
		"webordinary:session": "client_user@example.com_thread", "webordinary:epoch": "3",
	}, info.Tags)

	eventually(t, "it has an address", func() bool {
		d, err := r.Describe(t.Context(), c.Ref)
		return err == nil && d.Running && d.Reason == "" && strings.HasSuffix(d.Address, ":"+info.Env["PORT"]) && strings.HasPrefix(d.Address, "127.")
	})
	for _, entry := range logs.All() {
		for _, value := range entry.ContextMap() {
			assert.NotContains(t, fmt.Sprint(value), req.TokenHash)
		}
	}
	started := logs.FilterMessage("container started").All()
	require.Len(t, started, 1)
	assert.Equal(t, map[string]any{"client": "amelia", "session": req.SessionID, "epoch": int64(3), "task": c.Ref, "size": "medium"}, started[0].ContextMap())
}

func TestStartRefuses(t *testing.T) {
	r := runner(t, madeUpECS(t, ecstest.Options{}))
	for name, c := range map[string]struct {
		change func(*sessions.StartRequest)
		want   string
	}{
		"no session":   {func(r *sessions.StartRequest) { r.SessionID = "" }, "session id"},
		"long session": {func(r *sessions.StartRequest) { r.SessionID = strings.Repeat("a", 201) }, "session id"},
		"no epoch":     {func(r *sessions.StartRequest) { r.Epoch = 0 }, "epoch"},
		"no hash":      {func(r *sessions.StartRequest) { r.TokenHash = "" }, "token hash"},
		"odd hash":     {func(r *sessions.StartRequest) { r.TokenHash = "zz" }, "token hash"},
		"odd size":     {func(r *sessions.StartRequest) { r.Size = "huge" }, "small, medium or large"},
	} {
		req := request("one", 1)
		c.change(&req)
		_, err := r.Start(t.Context(), req)
		assert.ErrorContains(t, err, c.want, name)
	}
}

func TestOneCallHoweverManyStart(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Slow: ecstest.Duration(200 * time.Millisecond)}})
	r := runner(t, fake)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			_, err := r.Start(t.Context(), request("one", 1))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Len(t, fake.Tasks(), 1)
	assert.LessOrEqual(t, fake.Calls()["RunTask"], 2)
}

// What cannot be placed is said in words, and is placed once there is room.
func TestFull(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Full: "RESOURCE:MEMORY", Room: 1}})
	r := runner(t, fake)
	first, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	_, err = r.Start(t.Context(), request("two", 1))
	require.ErrorIs(t, err, sessions.ErrCapacity)
	assert.ErrorContains(t, err, "no machine of the cluster has enough memory free: RESOURCE:MEMORY")
	require.NoError(t, r.Stop(t.Context(), first.Ref, "idle"))
	_, err = r.Start(t.Context(), request("two", 1))
	require.NoError(t, err)
}

// ECS throttles all for a while, and what was asked for comes about nevertheless.
func TestThrottledForAWhile(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Throttle: 1}})
	r := runner(t, fake, logTo(zap.New(core)))
	started := make(chan error)
	go func() {
		c, err := r.Start(t.Context(), request("one", 1))
		if err == nil {
			err = r.Stop(t.Context(), c.Ref, "idle")
		}
		started <- err
	}()
	eventually(t, "it is tried again", func() bool { return fake.Calls()["RunTask"] >= 3 })
	fake.SetMoods(ecstest.Moods{})
	require.NoError(t, <-started)
	assert.Equal(t, 1, logs.FilterMessage("ECS throttles calls").Len(), "said once, not at each try")
}

func TestThrottledForTooLong(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	r.timing.patience, r.timing.readPatience = 300*time.Millisecond, 300*time.Millisecond
	c, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	fake.SetMoods(ecstest.Moods{Throttle: 1})
	for action, do := range map[string]func() error{
		"RunTask":       func() error { _, err := r.Start(t.Context(), request("two", 1)); return err },
		"StopTask":      func() error { return r.Stop(t.Context(), c.Ref, "idle") },
		"DescribeTasks": func() error { _, err := r.Describe(t.Context(), c.Ref); return err },
		"ListTasks":     func() error { _, err := r.List(t.Context()); return err },
	} {
		err := do()
		require.ErrorIs(t, err, sessions.ErrRunnerUnavailable, action)
		assert.ErrorContains(t, err, "ECS throttles the account's "+action+" calls", action)
	}
	fake.SetMoods(ecstest.Moods{})
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
}

// A start that came about without an answer is found by the next one.
func TestRepliesLost(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{Moods: ecstest.Moods{LoseReplies: 1}})
	r := runner(t, fake)
	r.timing.readPatience = 200 * time.Millisecond
	_, err := r.Start(t.Context(), request("one", 1))
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	require.ErrorContains(t, err, "ECS does not answer RunTask")
	require.Len(t, fake.Tasks(), 1)

	fake.SetMoods(ecstest.Moods{})
	r.timing.readPatience = quick.readPatience
	c, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	assert.Equal(t, fake.Tasks()[0].ARN, c.Ref)
	require.Len(t, fake.Tasks(), 1)

	// The next epoch ends it, though this process never learned of it.
	fake.SetMoods(ecstest.Moods{LoseReplies: 1})
	r.timing.readPatience = 200 * time.Millisecond
	_, err = r.Start(t.Context(), request("two", 1))
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	lag := ecstest.Duration(quick.settle * 2 / 3) // it is not listed at first
	fake.SetMoods(ecstest.Moods{Lag: lag})
	r.timing.readPatience = quick.readPatience
	next, err := r.Start(t.Context(), request("two", 2))
	require.NoError(t, err)
	tasks := fake.Tasks()
	require.Len(t, tasks, 3)
	assert.Equal(t, "STOPPED", tasks[1].LastStatus)
	assert.Equal(t, next.Ref, tasks[2].ARN)
	assert.Empty(t, fake.Doubles())
}

// An edge with other settings finds the container that another has started.
func TestStartWithOtherSettings(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	one := runner(t, fake)
	two := runner(t, fake, func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"small": {CPU: 256, Memory: 1024}}
		o.Tunables.Port = 9999
		o.Tunables.CapacityProviders = []CapacityProvider{{Name: "FARGATE_SPOT", Weight: 1}}
	})
	c, err := one.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	again, err := two.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	assert.Equal(t, c.Ref, again.Ref)
	eventually(t, "both know its address", func() bool {
		a, err1 := one.Describe(t.Context(), c.Ref)
		b, err2 := two.Describe(t.Context(), c.Ref)
		return err1 == nil && err2 == nil && a.Address != "" && a.Address == b.Address
	})

	// With another token it is another container, which must not be.
	req := request("one", 1)
	req.TokenHash = bootapi.HashToken("another")
	for _, r := range []*Runner{one, two, runner(t, fake)} {
		_, err = r.Start(t.Context(), req)
		assert.ErrorIs(t, err, sessions.ErrOtherToken)
	}
	require.Len(t, fake.Tasks(), 1)

	_, err = two.Start(t.Context(), request("two", 1))
	require.NoError(t, err)
	assert.Equal(t, "256", fake.Tasks()[1].CPU)
}

// An id may be given again, with epochs from the first on, after its session was deleted.
func TestAnIDGivenAgain(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	one, two := runner(t, fake), runner(t, fake)
	for epoch := range int64(3) {
		c, err := one.Start(t.Context(), request("one", epoch+1))
		require.NoError(t, err)
		_, err = two.Describe(t.Context(), c.Ref)
		require.NoError(t, err)
		require.NoError(t, one.Stop(t.Context(), c.Ref, "idle"))
		_, err = two.Describe(t.Context(), c.Ref)
		require.NoError(t, err)
	}
	require.NoError(t, one.Forget(t.Context(), "one"))

	req := request("one", 1)
	req.TokenHash = bootapi.HashToken("another life")
	c, err := two.Start(t.Context(), req)
	require.NoError(t, err)
	assert.True(t, c.Running)
	again, err := one.Start(t.Context(), req)
	require.NoError(t, err)
	assert.Equal(t, c.Ref, again.Ref)
	assert.Len(t, fake.Tasks(), 4)
}

// An edge is killed when it has just asked for a container, and comes back before ECS
// lists that.
func TestAnEdgeThatComesBackAtOnce(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{Moods: ecstest.Moods{Lag: ecstest.Duration(quick.settle * 2 / 3)}})
	one := newRunner(t, options(t, fake))
	old, err := one.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	require.NoError(t, one.Close(t.Context()))
	two := runner(t, fake)
	_, err = two.Start(t.Context(), request("one", 2))
	require.NoError(t, err)
	info, err := fake.Task(old.Ref)
	require.NoError(t, err)
	assert.Equal(t, "STOPPED", info.LastStatus)
	assert.Len(t, fake.Tasks(), 2)
}

// An edge that knows nothing yet ends what an earlier epoch left behind, whether it runs
// or is ending, and does not wait for what has ended.
func TestEarlierEpochsOfOtherEdges(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{})
	one := runner(t, fake)
	running, saving := started(t, fake, one, "plain"), started(t, fake, one, "slow")
	stopping := make(chan error)
	go func() { stopping <- one.Stop(t.Context(), saving.Ref, "idle") }()
	eventually(t, "it saves, or has done so", func() bool { return isEnding(fake.Tasks()[1]) })

	two := runner(t, fake)
	for i, id := range []string{"plain", "slow"} {
		next, err := two.Start(t.Context(), request(id, 5))
		require.NoError(t, err)
		assert.Equal(t, "STOPPED", fake.Tasks()[i].LastStatus)
		assert.EqualValues(t, 5, next.Epoch)
	}
	require.NoError(t, <-stopping)
	d, err := two.Describe(t.Context(), running.Ref)
	require.NoError(t, err)
	assert.Equal(t, "a newer epoch starts", d.Reason)
	assert.Empty(t, fake.Doubles())

	// A later one is found, too.
	_, err = runner(t, fake).Start(t.Context(), request("plain", 4))
	require.ErrorContains(t, err, "epoch 5 was started since")
}

// Whoever gives up while ECS works at a start leaves no container that nobody knows.
func TestStartGivenUp(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Slow: ecstest.Duration(3 * time.Second)}})
	r := runner(t, fake)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.Start(ctx, request("one", 1))
		done <- err
	}()
	eventually(t, "ECS is asked", func() bool { return fake.Calls()["RunTask"] == 1 })
	fake.SetMoods(ecstest.Moods{}) // of calls from now on
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	eventually(t, "the call has ended", func() bool { return len(r.tasks.of("one")) == 1 })
	next, err := r.Start(t.Context(), request("one", 2))
	require.NoError(t, err)
	tasks := fake.Tasks()
	require.Len(t, tasks, 2)
	assert.Equal(t, "STOPPED", tasks[0].LastStatus)
	assert.Equal(t, next.Ref, tasks[1].ARN)
	assert.Zero(t, fake.Calls()["ListTasks"], "all was known")
}

func TestAddressesAreReused(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{Moods: ecstest.Moods{ReuseAddresses: true}})
	r := runner(t, fake)
	addresses := map[string]bool{}
	for _, id := range []string{"one", "two", "three"} {
		c, err := r.Start(t.Context(), request(id, 1))
		require.NoError(t, err)
		eventually(t, "it has an address", func() bool {
			d, err := r.Describe(t.Context(), c.Ref)
			addresses[d.Address] = d.Address != ""
			return err == nil && d.Address != ""
		})
		require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
		d, err := r.Describe(t.Context(), c.Ref)
		require.NoError(t, err)
		assert.Empty(t, d.Address, "it is nobody's, or another's")
	}
	delete(addresses, "")
	assert.Len(t, addresses, 1)
}

func TestSettingsOfARunningRunner(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	tunables := *r.tunables.Load()
	tunables.Sizes = map[string]Size{"small": {CPU: 1024, Memory: 2048}}
	require.NoError(t, r.SetTunables(tunables))
	tunables.Subnets = nil
	require.ErrorContains(t, r.SetTunables(tunables), "subnets")
	_, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	assert.Equal(t, "1024", fake.Tasks()[0].CPU)
}
