//go:build unix

package ecs

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
	"github.com/webordinary/router/sessions"
)

// started starts a container and waits until it listens.
func started(t *testing.T, fake *ecstest.Server, r *Runner, id string) sessions.Container {
	t.Helper()
	c, err := r.Start(t.Context(), request(id, 1))
	require.NoError(t, err)
	eventually(t, "it runs", func() bool {
		info, err := fake.Task(c.Ref)
		if err != nil || info.LastStatus != "RUNNING" || info.PID == 0 {
			return err == nil && info.LastStatus == "RUNNING"
		}
		conn, err := net.Dial("tcp", net.JoinHostPort(info.Address, info.Env["PORT"]))
		return err == nil && conn.Close() == nil
	})
	return c
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{StopTimeout: time.Second})
	r := runner(t, fake)
	c := started(t, fake, r, "stubborn")
	pid := fake.Tasks()[0].PID
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Stop(cancelled, c.Ref, "idle"), context.Canceled)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "too "+strings.Repeat("long, ", 100)+"\n"))
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.False(t, d.Running)
	assert.Regexp(t, `^too long, .*; exit status 137: it was killed`, d.Reason)
}

func TestStopOfOneThatHangs(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{StopTimeout: 200 * time.Millisecond})
	r := runner(t, fake)
	c := started(t, fake, r, "one")
	require.NoError(t, fake.Signal(c.Ref, syscall.SIGSTOP))
	require.NoError(t, r.Stop(t.Context(), c.Ref, "hangs"))
}

// One that is ending still runs, and says so, until it has ended.
func TestStopIsSeenByOthers(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{})
	one, two := runner(t, fake), runner(t, fake)
	c := started(t, fake, one, "slow")
	stopping := make(chan error)
	go func() { stopping <- one.Stop(t.Context(), c.Ref, "idle") }()
	eventually(t, "it is ending", func() bool { return isEnding(fake.Tasks()[0]) })
	list, err := two.List(t.Context())
	require.NoError(t, err)
	if fake.Tasks()[0].LastStatus == "STOPPING" { // not on a machine that was asleep meanwhile
		require.Len(t, list, 1)
		assert.True(t, list[0].Running)
		assert.Equal(t, "it is ending: idle", list[0].Reason)
		assert.True(t, list[0].Ending)
	}
	require.NoError(t, <-stopping)
	list, err = two.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestStopBeforeItRuns(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{Moods: ecstest.Moods{Pull: ecstest.Duration(time.Hour)}})
	r := runner(t, fake)
	c, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	eventually(t, "it says what it waits for", func() bool {
		d, err := r.Describe(t.Context(), c.Ref)
		return err == nil && d.Reason == "fetching the container image" && d.Address != ""
	})
	require.NoError(t, r.Stop(t.Context(), c.Ref, ""))
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.Equal(t, "stopped", d.Reason)
}

// Of what the runner cannot have started it knows nothing, and stops nothing.
func TestReferencesOfOthers(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	c := started(t, fake, r, "one")
	for _, ref := range []string{
		"", "process:one:1", "arn:aws:ecs:us-east-1:123456789012:task/0123456789abcdef0123456789abcdef",
		strings.Replace(c.Ref, "us-east-1", "eu-west-1", 1), strings.Replace(c.Ref, "/sessions/", "/others/", 1),
		strings.Replace(c.Ref, "123456789012", "999999999999", 1), // ECS refuses this one
	} {
		_, err := r.Describe(t.Context(), ref)
		require.ErrorIs(t, err, sessions.ErrNoContainer, ref)
		require.NoError(t, r.Stop(t.Context(), ref, "idle"), ref)
	}
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.True(t, d.Running)

	// Nor does one deployment meddle with another's.
	other := runner(t, fake, func(o *Options) { o.StartedBy = "staging" })
	_, err = other.Describe(t.Context(), c.Ref)
	require.ErrorIs(t, err, sessions.ErrNoContainer)
	list, err := other.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
	_, err = other.Start(t.Context(), request("one", 2))
	require.NoError(t, err)
	d, err = r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.True(t, d.Running)
}

func TestCloseEndsWhatWaits(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{StopTimeout: time.Hour})
	r := newRunner(t, options(t, fake))
	c := started(t, fake, r, "stubborn")
	failed := make(chan error, 2)
	go func() { failed <- r.Stop(t.Context(), c.Ref, "idle") }()
	eventually(t, "it is told to end", func() bool { return fake.Tasks()[0].LastStatus == "STOPPING" })
	go func() {
		_, err := r.Start(t.Context(), request("stubborn", 2))
		failed <- err
	}()
	eventually(t, "a start waits for it", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.flights) == 1
	})
	require.NoError(t, r.Close(t.Context()))
	for range 2 {
		require.ErrorIs(t, <-failed, sessions.ErrRunnerUnavailable)
	}
	for name, do := range map[string]func() error{
		"Start":    func() error { _, err := r.Start(t.Context(), request("two", 1)); return err },
		"Stop":     func() error { return r.Stop(t.Context(), c.Ref, "idle") },
		"Describe": func() error { _, err := r.Describe(t.Context(), c.Ref); return err },
		"List":     func() error { _, err := r.List(t.Context()); return err },
		"Forget":   func() error { return r.Forget(t.Context(), "two") },
		"Kept":     func() error { _, err := r.Kept(t.Context()); return err },
	} {
		require.ErrorIs(t, do(), sessions.ErrRunnerUnavailable, name)
	}
	require.NoError(t, r.Close(t.Context()), "once more")
}
