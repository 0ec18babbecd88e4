package docker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

// stubborn ends for nothing but SIGKILL; slowly takes some seconds to save.
const (
	stubborn = `trap "" TERM; while :; do sleep 1; done`
	slowly   = `trap 'sleep 2; echo saved >/session/saved; exit 0' TERM; echo up >/session/up; while :; do sleep 0.1; done`
)

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	d := deploy(t, func(o *Options) { o.StopGrace = time.Second })
	d.o.Tunables.Image = d.running(stubborn)
	r := d.runner()
	c := d.start(r, request("one", 1))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Stop(cancelled, c.Ref, "idle"), context.Canceled)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "not needed"))
	now, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.False(t, now.Running)
	// Either the stop that nobody waited for had begun, or the second one did.
	assert.Contains(t, []string{"idle (killed)", "not needed (killed)"}, now.Reason)
}

func TestStopLetsAContainerSave(t *testing.T) {
	d := deploy(t, nil)
	d.o.Tunables.Image = d.running(slowly)
	r := d.runner()
	c := d.start(r, request("one", 1))
	require.Eventually(t, func() bool { _, status := d.exec(c, "test -e /session/up"); return status == 0 }, patience, 50*time.Millisecond)

	// The one who asks goes away, and the edge closes: the save is waited for.
	asking, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() { asked <- r.Stop(asking, c.Ref, "idle") }()
	require.Eventually(t, func() bool { return r.note(context.Background(), c.Ref[len(refPrefix):]) == "idle" }, patience, 20*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-asked, context.Canceled)
	require.NoError(t, r.Close(t.Context()))

	second := d.runner()
	now, err := second.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.False(t, now.Running)
	assert.Equal(t, "idle (exit status 0)", now.Reason)
	d.o.Tunables.Image = d.running("cat /session/saved; exec sleep 600")
	next := d.start(d.runner(), request("one", 2))
	out, _ := d.exec(next, "cat /session/saved")
	assert.Equal(t, "saved", out)
}

func TestCloseGivesUpWhatTakesTooLong(t *testing.T) {
	d := deploy(t, nil)
	d.o.Tunables.Image = d.running(stubborn)
	r := d.runner()
	c := d.start(r, request("one", 1))
	asked := make(chan error, 1)
	go func() { asked <- r.Stop(context.Background(), c.Ref, "idle") }()
	require.Eventually(t, func() bool { return r.note(context.Background(), c.Ref[len(refPrefix):]) == "idle" }, patience, 20*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	require.NoError(t, r.Close(ctx))
	assert.Less(t, time.Since(start), r.grace)
	require.Error(t, <-asked)
	_, err := r.List(t.Context())
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	require.NoError(t, r.Close(t.Context()), "again")
}

func TestContainerThatDiesIsDescribed(t *testing.T) {
	d := deploy(t, nil)
	d.o.Tunables.Image = d.running("exit 3")
	r := d.runner()
	c, err := r.Start(t.Context(), request("one", 1))
	require.NoError(t, err)
	assert.Equal(t, "exit status 3", d.ended(r, c).Reason)
	list, err := r.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestContainerThatCannotBeStarted(t *testing.T) {
	d := deploy(t, func(o *Options) {
		o.Tunables.Volumes = []Volume{{Source: "/no/such/folder", Target: "/data"}}
	})
	r := d.runner()
	_, err := r.Start(t.Context(), request("one", 1))
	require.ErrorContains(t, err, "`volume` names a folder that is not on the engine's machine")

	tunables := d.o.Tunables
	tunables.Volumes = nil
	tunables.Image = "webordinary-no-such-image"
	require.NoError(t, r.SetTunables(tunables))
	_, err = r.Start(t.Context(), request("one", 1))
	require.ErrorContains(t, err, `image "webordinary-no-such-image" is not on the Docker Engine`)
	require.ErrorContains(t, err, "docker build -t webordinary-no-such-image .")
	require.ErrorContains(t, r.Check(t.Context()), "docker build -t webordinary-no-such-image .")

	tunables.Image = d.o.Tunables.Image
	require.NoError(t, r.SetTunables(tunables))
	require.NoError(t, r.Check(t.Context()))
	c := d.start(r, request("one", 1))
	d.answers(c)

	// Where the next one cannot be made, the last one stays, with what it tells.
	tunables.Image = "webordinary-no-such-image"
	require.NoError(t, r.SetTunables(tunables))
	_, err = r.Start(t.Context(), request("one", 2))
	require.ErrorContains(t, err, "docker build")
	now, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.True(t, now.Running)
}
