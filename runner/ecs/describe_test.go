//go:build unix

package ecs

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
	"github.com/webordinary/router/sessions"
)

// Whoever waits for a container shares the calls with everybody else who does.
func TestDescribesAreBatched(t *testing.T) {
	const containers, waiting = 250, 3000
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	refs := make([]string, containers)
	var wg sync.WaitGroup
	for i := range refs {
		wg.Go(func() {
			c, err := r.Start(t.Context(), request(fmt.Sprintf("session-%d", i), 1))
			assert.NoError(t, err)
			refs[i] = c.Ref
		})
	}
	wg.Wait()
	before := fake.Calls()["DescribeTasks"]
	fake.SetMoods(ecstest.Moods{Slow: ecstest.Duration(300 * time.Millisecond)})
	r.timing.describeEvery = 300 * time.Millisecond
	began := time.Now()
	for i := range waiting {
		wg.Go(func() {
			d, err := r.Describe(t.Context(), refs[i%containers])
			assert.NoError(t, err)
			assert.Equal(t, refs[i%containers], d.Ref)
		})
	}
	wg.Wait()
	calls := fake.Calls()["DescribeTasks"] - before
	// 3 or 4 have room for all; it is more where the machine takes long to ask them.
	assert.LessOrEqual(t, calls, int(time.Since(began)/(300*time.Millisecond))+1)
	assert.Less(t, calls, waiting/50)
	assert.Equal(t, 1, fake.Crowd()["DescribeTasks"])
	t.Logf("%d questions about %d containers took %d calls", waiting, containers, calls)

	// What has ended for good needs none.
	require.NoError(t, r.Stop(t.Context(), refs[0], "idle"))
	before = fake.Calls()["DescribeTasks"]
	for range 10 {
		d, err := r.Describe(t.Context(), refs[0])
		require.NoError(t, err)
		assert.False(t, d.Running)
	}
	assert.Equal(t, before, fake.Calls()["DescribeTasks"])
}

// A container that was started a moment ago is not gone because ECS does not know it yet.
func TestMissingAtFirst(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Lag: ecstest.Duration(2 * time.Second)}})
	one, two := runner(t, fake), runner(t, fake)
	c, err := one.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	unseen := 0
	eventually(t, "another edge sees it", func() bool {
		d, err := one.Describe(t.Context(), c.Ref)
		require.NoError(t, err, "whoever started it knows it")
		require.True(t, d.Running)
		list, err := one.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)

		d, err = two.Describe(t.Context(), c.Ref)
		if err != nil {
			require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
			require.NotErrorIs(t, err, sessions.ErrNoContainer)
			unseen++
			return false
		}
		return d.Running && d.Address != ""
	})
	t.Logf("not seen %d times", unseen)
}

// What was seen does not go back when an older state is told.
func TestStatesOnlyGoForward(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	c := started(t, fake, r, "one")
	var address string
	eventually(t, "it runs", func() bool {
		d, err := r.Describe(t.Context(), c.Ref)
		address = d.Address
		return err == nil && d.Reason == "" && address != ""
	})
	fake.SetMoods(ecstest.Moods{Lag: ecstest.Duration(time.Minute)})
	for range 20 {
		d, err := r.Describe(t.Context(), c.Ref)
		require.NoError(t, err)
		assert.Equal(t, sessions.Container{Ref: c.Ref, SessionID: "one", Epoch: 1, Address: address, Running: true}, d)
	}
}

// What ECS has forgotten is gone, but not before it was asked for a while.
func TestMissingForGood(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Keep: time.Nanosecond})
	r := runner(t, fake)
	r.timing.missingKnown, r.timing.missingUnknown = 500*time.Millisecond, 500*time.Millisecond
	c := started(t, fake, r, "one")
	strange := strings.Repeat("0", 32)
	strange = c.Ref[:len(c.Ref)-32] + strange
	_, err := r.Describe(t.Context(), strange)
	require.ErrorIs(t, err, errUnseen)

	_, err = r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	require.NoError(t, fake.End(c.Ref, "TerminationNotice", "for tests"))
	for _, ref := range []string{strange, c.Ref} {
		eventually(t, "it is gone", func() bool {
			d, err := r.Describe(t.Context(), ref)
			if err == nil {
				require.True(t, d.Running)
				return false
			}
			return strings.Contains(err.Error(), sessions.ErrNoContainer.Error())
		})
		require.NoError(t, r.Stop(t.Context(), ref, "idle"), "it has ended, somehow")
	}
	list, err := r.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestListHasPages(t *testing.T) {
	const containers = 230
	fake := madeUpECS(t, ecstest.Options{})
	one, two := runner(t, fake), runner(t, fake)
	var wg sync.WaitGroup
	for i := range containers {
		wg.Go(func() {
			_, err := one.Start(t.Context(), request(fmt.Sprintf("session-%d", i), 1))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	_, err := runner(t, fake, func(o *Options) { o.StartedBy = "staging" }).Start(t.Context(), request("other", 1))
	require.NoError(t, err)
	list, err := two.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, list, containers)
	kept, err := two.Kept(t.Context())
	require.NoError(t, err)
	assert.Len(t, kept, containers)

	// Who they are is asked once.
	before := fake.Calls()
	list, err = two.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, list, containers)
	assert.Equal(t, before["DescribeTasks"], fake.Calls()["DescribeTasks"])
	assert.Equal(t, before["ListTasks"]+4, fake.Calls()["ListTasks"], "three pages of those that run, one of those that ended")
}

// Lists of many are one.
func TestListsAreShared(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{Moods: ecstest.Moods{Slow: ecstest.Duration(200 * time.Millisecond)}})
	r := runner(t, fake)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := r.List(t.Context())
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, fake.Calls()["ListTasks"], 8)
}

// Should ECS do what its reference says, that is no obstacle.
func TestListWithOneFilter(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{Moods: ecstest.Moods{OneFilter: true}})
	staging := runner(t, fake, func(o *Options) { o.StartedBy = "staging" })
	c := started(t, fake, staging, "one")
	require.NoError(t, staging.Stop(t.Context(), c.Ref, "idle"))

	one, two := runner(t, fake), runner(t, fake)
	saving := started(t, fake, one, "slow")
	stopping := make(chan error)
	go func() { stopping <- one.Stop(t.Context(), saving.Ref, "idle") }()
	eventually(t, "it saves", func() bool { return fake.Tasks()[1].LastStatus == "STOPPING" })
	_, err := two.Start(t.Context(), request("slow", 2))
	require.NoError(t, err)
	assert.Equal(t, "STOPPED", fake.Tasks()[1].LastStatus)
	require.NoError(t, <-stopping)
	assert.Empty(t, fake.Doubles())
}

func TestForget(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{})
	one, two := runner(t, fake), runner(t, fake)
	require.NoError(t, one.Forget(t.Context(), ""))
	c := started(t, fake, one, "one")
	for _, r := range []*Runner{one, two} {
		require.ErrorContains(t, r.Forget(t.Context(), "one"), "its container runs")
	}
	require.NoError(t, one.Stop(t.Context(), c.Ref, "deleted"))
	for _, r := range []*Runner{one, two} {
		require.NoError(t, r.Forget(t.Context(), "one"))
		assert.Empty(t, r.tasks.of("one"))
	}
}
