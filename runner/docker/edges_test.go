package docker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

func TestAnotherEdgeFindsContainers(t *testing.T) {
	for name, publish := range map[string]string{"on their networks": "", "at published ports": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, nil)
			if publish != "" {
				d.o.Tunables.Publish = publish
			}
			first := d.runner()
			c := d.start(first, request("client#user@example.com#thread", 3))
			d.answers(c)
			require.NoError(t, first.Close(t.Context()))
			d.answers(c)
			if publish != "" {
				assert.Contains(t, c.Address, publish+":")
			}

			second := d.runner()
			list, err := second.List(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []sessions.Container{c}, list)
			again, err := second.Describe(t.Context(), c.Ref)
			require.NoError(t, err)
			assert.Equal(t, c, again)
			again, err = second.Start(t.Context(), request(c.SessionID, c.Epoch))
			require.NoError(t, err)
			assert.Equal(t, c, again)
			require.NoError(t, second.Stop(t.Context(), c.Ref, "idle"))

			third := d.runner()
			again, err = third.Describe(t.Context(), c.Ref)
			require.NoError(t, err)
			assert.False(t, again.Running)
			assert.Equal(t, "idle (exit status 0)", again.Reason, "as another edge wrote it down")
			again, err = third.Start(t.Context(), request(c.SessionID, c.Epoch))
			require.NoError(t, err)
			assert.False(t, again.Running, "an epoch is started once")
		})
	}
}

func TestDeploymentsAreSeparate(t *testing.T) {
	d, other := deploy(t, nil), deploy(t, nil)
	mine, theirs := d.runner(), other.runner()
	c := d.start(mine, request("one", 1))
	of := other.start(theirs, request("one", 1))
	list, err := theirs.List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []sessions.Container{of}, list)
	_, err = theirs.Describe(t.Context(), c.Ref)
	require.ErrorIs(t, err, sessions.ErrNoContainer)
	require.NoError(t, theirs.Stop(t.Context(), c.Ref, "not mine"))
	now, err := mine.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.True(t, now.Running)
	kept, err := theirs.Kept(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"one"}, kept)
}

// most follows how many containers of a deployment run at a time, until stop is called.
func (d *deployment) most() (stop func() (most, starts int)) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	filter := d.mine()
	filter.Add("type", "container")
	messages, failed := d.cli.Events(ctx, events.ListOptions{Filters: filter})
	var running, most, starts int
	done := make(chan struct{})
	last := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case m := <-messages:
				switch m.Action {
				case events.ActionStart:
					running, starts = running+1, starts+1
					most = max(most, running)
				case events.ActionDie:
					running--
				case events.ActionRename:
					close(last)
				}
			case <-failed:
				return
			}
		}
	}()
	return func() (int, int) {
		// One more event, after which all before it have been seen.
		made, err := d.cli.ContainerCreate(ctx, &container.Config{
			Image: d.o.Tunables.Image, Labels: map[string]string{labelDeployment: d.name},
		}, nil, nil, nil, "")
		require.NoError(d.t, err)
		require.NoError(d.t, d.cli.ContainerRename(ctx, made.ID, d.name+"-marker"))
		select {
		case <-last:
		case <-time.After(patience):
			assert.Fail(d.t, "the engine's events do not come")
		}
		cancel()
		<-done
		return most, starts
	}
}

func TestEdgesRacingForASessionStartOne(t *testing.T) {
	d := deploy(t, nil)
	edges := []*Runner{d.runner(), d.runner(), d.runner()}
	stop := d.most()
	refs := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			c, err := edges[i%len(edges)].Start(t.Context(), request("one", 1))
			if assert.NoError(t, err) {
				mu.Lock()
				defer mu.Unlock()
				refs[c.Ref] = true
			}
		})
	}
	wg.Wait()
	assert.Len(t, refs, 1)
	most, starts := stop()
	assert.Equal(t, 1, most)
	assert.Equal(t, 1, starts)
}

func TestEdgesRacingWithEpochsRunOneAtATime(t *testing.T) {
	d := deploy(t, nil)
	edges := []*Runner{d.runner(), d.runner(), d.runner()}
	stop := d.most()
	const epochs = 5
	var wg sync.WaitGroup
	for i := range 3 * epochs {
		wg.Go(func() {
			// Those that come after a later one are refused.
			_, _ = edges[(i+i/epochs)%len(edges)].Start(t.Context(), request("one", int64(i%epochs)+1))
		})
	}
	wg.Wait()
	last := d.start(edges[0], request("one", epochs))
	d.answers(last)
	list, err := edges[1].List(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []sessions.Container{last}, list)
	most, starts := stop()
	assert.Equal(t, 1, most)
	t.Logf("%d of %d epochs were started", starts, epochs)
}

func TestEdgesRacingForAClientsNetwork(t *testing.T) {
	d := deploy(t, nil)
	edges := []*Runner{d.runner(), d.runner(), d.runner()}
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			_, err := edges[i%len(edges)].Start(t.Context(), request(fmt.Sprintf("session-%d", i), 1))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	list, err := edges[0].List(t.Context())
	require.NoError(t, err)
	assert.Len(t, list, 9)
	assert.Len(t, d.networks(), 1)
}

// create makes a container as an edge does that dies before it starts it.
func (d *deployment) create(r *Runner, req sessions.StartRequest) string {
	d.t.Helper()
	tunables := r.tunables.Load()
	network, err := r.network(d.t.Context(), tunables, req.ClientID)
	require.NoError(d.t, err)
	id, err := r.create(d.t.Context(), r.spec(tunables, tunables.Sizes[req.Size], req, network, false), req.SessionID)
	require.NoError(d.t, err)
	return id
}

func TestEdgeThatDiedBeforeTheStartIsSucceeded(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	id := d.create(r, request("one", 1))
	c := d.start(r, request("one", 1))
	assert.Equal(t, refPrefix+id, c.Ref, "the same one is started")
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))

	id = d.create(r, request("two", 1))
	now, err := r.Describe(t.Context(), refPrefix+id)
	require.NoError(t, err)
	assert.Equal(t, "not started yet", now.Reason)
	next := d.start(r, request("two", 2))
	d.answers(next)
	_, err = r.Describe(t.Context(), refPrefix+id)
	require.ErrorIs(t, err, sessions.ErrNoContainer)

	// Its client's network has gone meanwhile.
	req := request("three", 1)
	req.ClientID = "bramble"
	id = d.create(r, req)
	r.pruneNetworks(t.Context(), "bramble")
	require.Len(t, d.networks(), 1)
	c = d.start(r, req)
	assert.NotEqual(t, refPrefix+id, c.Ref)
	d.answers(c)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
	require.NoError(t, r.Forget(t.Context(), "three"), "that it was made twice does not make it unsaved")
}

// A container that ended by itself takes its client's network with it when its end is confirmed.
func TestNetworkOfAContainerThatEndedByItself(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	c := d.start(r, request("one", 1))
	require.Len(t, d.networks(), 1)
	d.kill(c)
	require.Eventually(t, func() bool {
		now, err := r.Describe(t.Context(), c.Ref)
		return err == nil && !now.Running
	}, patience, 20*time.Millisecond)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "lost"))
	assert.Empty(t, d.networks())
}

func TestForeignContainerOfTheSameName(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	made, err := d.cli.ContainerCreate(t.Context(), &container.Config{Image: d.o.Tunables.Image}, nil, nil, nil, r.sessionName("one"))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, d.cli.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{}))
	})
	_, err = r.Start(t.Context(), request("one", 1))
	require.ErrorContains(t, err, "remove it, or set another `deployment`")
}
