// Package runnertest is the conformance suite of sessions.Runner. Every runner passes
// it, with containers that are real ones or answer like containerboot: they listen at
// the address that the runner tells, prove the token's hash at bootapi.PathProof, and
// end on SIGTERM.
package runnertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// Options say what is tested.
type Options struct {
	// New returns a runner without containers. The suite closes it.
	New func(t *testing.T) sessions.Runner
	// Crash ends a container from outside and at once, as a crash would.
	Crash func(t *testing.T, r sessions.Runner, c sessions.Container)
	// Outlive: containers run on when their runner is closed. New sees to it that they
	// are gone after the test.
	Outlive bool
	// Another returns one more runner of the same deployment, as another edge has it,
	// for containers that edges share. The suite closes it. Nil: they are one runner's.
	Another func(t *testing.T, r sessions.Runner) sessions.Runner
	// Patience is how long a container may take to answer or to end. Default: 2 min.
	Patience time.Duration
}

// Run tests a runner against the contract.
func Run(t *testing.T, o Options) {
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	tests := map[string]func(*testing.T, suite){
		"StartGivesAContainerThatKnowsItsHash": testStart,
		"StartIsIdempotent":                    testIdempotent,
		"StartIsIdempotentUnderConcurrency":    testConcurrentStarts,
		"StartOfANewEpochEndsTheOld":           testSuccession,
		"RacingEpochsLeaveOneContainer":        testRacingEpochs,
		"StopIsConfirmed":                      testStop,
		"StopIsForOneEpoch":                    testStopOfOldEpoch,
		"StopsRunTogether":                     testConcurrentStops,
		"AnEndedEpochStaysEnded":               testNoSecondStart,
		"AnotherTokensContainerIsNotGiven":     testOtherToken,
		"CrashIsSeen":                          testCrash,
		"DescribeOfUnknown":                    testUnknown,
		"SessionsAreSeparate":                  testManySessions,
		"IDsOfOlderTools":                      testOddIDs,
		"CancelledContext":                     testCancelled,
		"AStartGivenUpIsListed":                testGivenUp,
		"ForgetRemovesWhatIsKept":              testForget,
		"Close":                                testClose,
	}
	if o.Another != nil {
		tests["AnotherEdgeComesAfter"] = testSuccessor
		tests["EdgesStartOneContainer"] = testStartOnTwo
		tests["AnotherEdgeTakesOver"] = testTakeOver
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := suite{Options: o, runner: o.New(t)}
			s.closeAfter(t, s.runner)
			test(t, s)
		})
	}
}

type suite struct {
	Options
	runner sessions.Runner
}

// closeAfter closes a runner when the test has ended.
func (s suite) closeAfter(t *testing.T, r sessions.Runner) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		assert.NoError(t, r.Close(ctx))
	})
}

// another is the suite with one more edge's runner.
func (s suite) another(t *testing.T) suite {
	t.Helper()
	s.runner = s.Another(t, s.runner)
	s.closeAfter(t, s.runner)
	return s
}

func request(id string, epoch int64) sessions.StartRequest {
	return sessions.StartRequest{
		SessionID: id, ClientID: "amelia", Epoch: epoch, Size: "small",
		TokenHash: bootapi.HashToken(fmt.Sprintf("%s/%d", id, epoch)),
	}
}

func (s suite) context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), s.Patience)
	t.Cleanup(cancel)
	return ctx
}

func (s suite) start(t *testing.T, id string, epoch int64) sessions.Container {
	t.Helper()
	c, err := s.runner.Start(s.context(t), request(id, epoch))
	require.NoError(t, err)
	require.NotEmpty(t, c.Ref)
	require.Equal(t, id, c.SessionID)
	require.Equal(t, epoch, c.Epoch)
	return c
}

// answering waits until a container proves that it has its token's hash.
func (s suite) answering(t *testing.T, c sessions.Container) string {
	t.Helper()
	var address string
	require.Eventually(t, func() bool {
		d, err := s.runner.Describe(s.context(t), c.Ref)
		address = d.Address
		return err == nil && d.Running && address != "" && proves(address, request(c.SessionID, c.Epoch).TokenHash)
	}, s.Patience, 20*time.Millisecond, "container %s answers", c.Ref)
	return address
}

// proves asks whoever listens at an address for the proof of a hash.
func proves(address, hash string) bool {
	// A connection for each question: an address may have a new owner.
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	nonce := bootapi.NewNonce()
	body, _ := json.Marshal(bootapi.ProofRequest{Nonce: nonce}) // of strings: cannot fail
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+bootapi.PathProof, bytes.NewReader(body))
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var proof bootapi.Proof
	err = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&proof)
	return err == nil && bootapi.CheckProof(hash, nonce, proof.Proof)
}

// gone requires that a container does not run, is not listed, and does not answer.
func (s suite) gone(t *testing.T, c sessions.Container, address string) {
	t.Helper()
	d, err := s.runner.Describe(s.context(t), c.Ref)
	if err != nil {
		require.ErrorIs(t, err, sessions.ErrNoContainer)
	} else {
		require.False(t, d.Running)
		require.NotEmpty(t, d.Reason, "why it does not run")
	}
	for _, l := range s.list(t) {
		require.NotEqual(t, c.Ref, l.Ref)
	}
	if address != "" {
		require.False(t, proves(address, request(c.SessionID, c.Epoch).TokenHash))
	}
}

func (s suite) list(t *testing.T) []sessions.Container {
	t.Helper()
	list, err := s.runner.List(s.context(t))
	require.NoError(t, err)
	return list
}

func testStart(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	address := s.answering(t, c)
	assert.False(t, proves(address, bootapi.HashToken("another")))

	list := s.list(t)
	require.Len(t, list, 1)
	assert.Equal(t, c.Ref, list[0].Ref)
	assert.Equal(t, "one", list[0].SessionID)
	assert.EqualValues(t, 1, list[0].Epoch)
	assert.True(t, list[0].Running)
}

func testIdempotent(t *testing.T, s suite) {
	first := s.start(t, "one", 1)
	address := s.answering(t, first)
	again := s.start(t, "one", 1)
	assert.Equal(t, first.Ref, again.Ref)
	assert.True(t, again.Running)
	assert.Equal(t, address, s.answering(t, again))
	assert.Len(t, s.list(t), 1)
}

func testConcurrentStarts(t *testing.T, s suite) {
	refs := make([]string, 50)
	together(len(refs), func(i int) {
		if c, err := s.runner.Start(s.context(t), request("one", 1)); assert.NoError(t, err) {
			refs[i] = c.Ref
		}
	})
	for _, ref := range refs {
		assert.Equal(t, refs[0], ref)
	}
	assert.Len(t, s.list(t), 1)
}

func testSuccession(t *testing.T, s suite) {
	old := s.start(t, "one", 1)
	oldAddress := s.answering(t, old)
	next := s.start(t, "one", 2)
	s.gone(t, old, oldAddress)
	s.answering(t, next)

	_, err := s.runner.Start(s.context(t), request("one", 1))
	require.Error(t, err, "an epoch that has passed")
	s.answering(t, next)
	assert.Len(t, s.list(t), 1)
	assert.Greater(t, s.start(t, "one", 7).Epoch, next.Epoch, "epochs may be left out")
}

func testRacingEpochs(t *testing.T, s suite) {
	const epochs = 8
	together(epochs, func(i int) {
		// Those that come after a later one are refused.
		_, _ = s.runner.Start(s.context(t), request("one", int64(i+1)))
	})
	last := s.start(t, "one", epochs)
	s.answering(t, last)
	list := s.list(t)
	require.Len(t, list, 1)
	assert.Equal(t, last.Ref, list[0].Ref)
}

func testStop(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	address := s.answering(t, c)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "idle"))
	s.gone(t, c, address)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "idle"), "it has ended")

	// One that nobody has waited for is stopped as well.
	c = s.start(t, "two", 1)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, ""))
	s.gone(t, c, c.Address)
	assert.Empty(t, s.list(t))
}

func testStopOfOldEpoch(t *testing.T, s suite) {
	old := s.start(t, "one", 1)
	next := s.start(t, "one", 2)
	require.NoError(t, s.runner.Stop(s.context(t), old.Ref, "late"))
	s.answering(t, next)
}

func testConcurrentStops(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	address := s.answering(t, c)
	together(10, func(int) { assert.NoError(t, s.runner.Stop(s.context(t), c.Ref, "idle")) })
	s.gone(t, c, address)
	next := s.start(t, "one", 2)
	s.answering(t, next)
}

func testNoSecondStart(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	address := s.answering(t, c)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "idle"))
	again, err := s.runner.Start(s.context(t), request("one", 1))
	if err == nil {
		assert.Equal(t, c.Ref, again.Ref)
		assert.False(t, again.Running)
	}
	s.gone(t, c, address)
}

func testOtherToken(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	s.answering(t, c)
	other := request("one", 1)
	other.TokenHash = bootapi.HashToken("another")
	_, err := s.runner.Start(s.context(t), other)
	require.ErrorIs(t, err, sessions.ErrOtherToken)
	s.answering(t, c)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "deleted"))

	// The session's id is given again.
	next, err := s.runner.Start(s.context(t), other)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		d, err := s.runner.Describe(s.context(t), next.Ref)
		return err == nil && d.Running && d.Address != "" && proves(d.Address, other.TokenHash)
	}, s.Patience, 20*time.Millisecond, "it has the hash that was asked for")
	assert.Len(t, s.list(t), 1)
}

func testCrash(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	s.answering(t, c)
	s.Crash(t, s.runner, c)
	require.Eventually(t, func() bool {
		d, err := s.runner.Describe(s.context(t), c.Ref)
		return errors.Is(err, sessions.ErrNoContainer) || err == nil && !d.Running && d.Reason != ""
	}, s.Patience, 10*time.Millisecond)
	assert.NoError(t, s.runner.Stop(s.context(t), c.Ref, "crashed"))
	next := s.start(t, "one", 2)
	s.answering(t, next)
}

func testUnknown(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	for _, ref := range []string{c.Ref + "0", c.Ref + "/x", "no such thing", "", "::"} {
		_, err := s.runner.Describe(s.context(t), ref)
		assert.ErrorIs(t, err, sessions.ErrNoContainer, "%q", ref)
	}
	assert.Len(t, s.list(t), 1)
}

func testManySessions(t *testing.T, s suite) {
	const n = 12
	started := make([]sessions.Container, n)
	together(n, func(i int) {
		var err error
		started[i], err = s.runner.Start(s.context(t), request(fmt.Sprintf("session-%d", i), 1))
		assert.NoError(t, err)
	})
	require.False(t, t.Failed())
	addresses := map[string]bool{}
	for _, c := range started {
		addresses[s.answering(t, c)] = true
	}
	assert.Len(t, addresses, n)
	assert.Len(t, s.list(t), n)

	together(n/2, func(i int) { assert.NoError(t, s.runner.Stop(s.context(t), started[i].Ref, "idle")) })
	assert.Len(t, s.list(t), n-n/2)
	for _, c := range started[n/2:] {
		s.answering(t, c)
	}
}

func testOddIDs(t *testing.T, s suite) {
	ids := []string{"client#user@example.com#thread", "a:b:1", "..", "../up", "ä/ö", ".hidden", "a b", "A_B", "a_b", "a#b"}
	started := map[string]sessions.Container{}
	for _, id := range ids {
		started[id] = s.start(t, id, 1)
	}
	for _, c := range started {
		s.answering(t, c)
	}
	assert.Len(t, s.list(t), len(ids))
	for _, c := range started {
		require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "idle"))
	}
	assert.Empty(t, s.list(t))
}

func testCancelled(t *testing.T, s suite) {
	old := s.start(t, "one", 1)
	s.answering(t, old)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Either it was done, or it says why not; it never leaves a mess.
	if _, err := s.runner.Start(ctx, request("one", 2)); err != nil {
		assert.ErrorIs(t, err, context.Canceled)
	}
	next := s.start(t, "one", 3)
	s.answering(t, next)
	assert.Len(t, s.list(t), 1)
	if err := s.runner.Stop(ctx, next.Ref, "idle"); err != nil {
		assert.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, s.runner.Stop(s.context(t), next.Ref, "idle"))
	s.gone(t, next, "")
}

// testGivenUp gives starts up at various times. What they have started is listed as soon
// as they have returned, and nothing of them comes later.
func testGivenUp(t *testing.T, s suite) {
	const n, step, late = 10, 15 * time.Millisecond, time.Second
	together(n, func(i int) {
		id := fmt.Sprintf("session-%d", i)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*step)
		defer cancel()
		_, err := s.runner.Start(ctx, request(id, 1))
		list, listErr := s.runner.List(s.context(t))
		if !assert.NoError(t, listErr) {
			return
		}
		found := false
		for _, c := range list {
			if c.SessionID == id {
				found = true
				assert.NoError(t, s.runner.Stop(s.context(t), c.Ref, "given up"))
			}
		}
		assert.True(t, found || err != nil, "one that was started is listed")
	})
	tick := time.NewTicker(late / 10)
	defer tick.Stop()
	for until := time.Now().Add(late); time.Now().Before(until); <-tick.C {
		require.Empty(t, s.list(t), "of a start that was given up")
	}
}

func testForget(t *testing.T, s suite) {
	require.NoError(t, s.runner.Forget(s.context(t), "nobody"), "nothing is kept of it")
	const odd = "client#user@example.com#../thread"
	for _, id := range []string{"one", odd} {
		other := s.start(t, "other", 1)
		s.answering(t, other)
		c := s.start(t, id, 1)
		s.answering(t, c)
		require.Error(t, s.runner.Forget(s.context(t), id), "its container runs")
		s.answering(t, c)
		require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "deleted"))
		require.NoError(t, s.runner.Forget(s.context(t), id))
		require.NoError(t, s.runner.Forget(s.context(t), id), "nothing is kept any more")
		kept, err := s.runner.Kept(s.context(t))
		require.NoError(t, err)
		assert.NotContains(t, kept, id)
		s.gone(t, c, "")
		s.answering(t, other)
	}

	// A container that was not seen to save leaves what may be all there is.
	c := s.start(t, "crashed", 1)
	s.answering(t, c)
	s.Crash(t, s.runner, c)
	require.NoError(t, s.runner.Stop(s.context(t), c.Ref, "crashed"))
	if err := s.runner.Forget(s.context(t), "crashed"); err != nil {
		require.ErrorIs(t, err, sessions.ErrUnsaved)
		kept, err := s.runner.Kept(s.context(t))
		require.NoError(t, err)
		assert.Contains(t, kept, "crashed")
	}
}

func testClose(t *testing.T, s suite) {
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, s.answering(t, s.start(t, fmt.Sprintf("session-%d", i), 1)))
	}
	require.NoError(t, s.runner.Close(s.context(t)))
	for i, address := range addresses {
		assert.Equal(t, s.Outlive, proves(address, request(fmt.Sprintf("session-%d", i), 1).TokenHash))
	}
	_, err := s.runner.Start(s.context(t), request("late", 1))
	assert.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	assert.ErrorIs(t, s.runner.Forget(s.context(t), "session-0"), sessions.ErrRunnerUnavailable)
}

func testSuccessor(t *testing.T, s suite) {
	c := s.start(t, "one", 1)
	address := s.answering(t, c)
	require.NoError(t, s.runner.Close(s.context(t)))
	next := s.another(t)
	next.listed(t, c)
	assert.Equal(t, address, next.answering(t, c))
	again := next.start(t, "one", 1)
	assert.Equal(t, c.Ref, again.Ref)
	require.NoError(t, next.runner.Stop(s.context(t), c.Ref, "idle"))
	next.gone(t, c, address)
}

func testStartOnTwo(t *testing.T, s suite) {
	other := s.another(t)
	refs := make([]string, 20)
	together(len(refs), func(i int) {
		runner := []sessions.Runner{s.runner, other.runner}[i%2]
		if c, err := runner.Start(s.context(t), request("one", 1)); assert.NoError(t, err) {
			refs[i] = c.Ref
		}
	})
	for _, ref := range refs {
		assert.Equal(t, refs[0], ref)
	}
	assert.Len(t, s.list(t), 1)
	assert.Len(t, other.list(t), 1)
}

func testTakeOver(t *testing.T, s suite) {
	other := s.another(t)
	old := s.start(t, "one", 1)
	oldAddress := s.answering(t, old)
	other.listed(t, old)
	next := other.start(t, "one", 2)
	other.gone(t, old, oldAddress)
	address := other.answering(t, next)
	assert.Equal(t, address, s.answering(t, next))
	require.NoError(t, s.runner.Stop(s.context(t), old.Ref, "late"))

	// What one of them stops has ended for both.
	require.NoError(t, s.runner.Stop(s.context(t), next.Ref, "idle"))
	s.gone(t, next, address)
	require.Eventually(t, func() bool {
		d, err := other.runner.Describe(s.context(t), next.Ref)
		return errors.Is(err, sessions.ErrNoContainer) || err == nil && !d.Running && d.Reason != ""
	}, s.Patience, 20*time.Millisecond)
	last := other.start(t, "one", 3)
	other.answering(t, last)
}

// listed waits until a container that another edge started is listed.
func (s suite) listed(t *testing.T, c sessions.Container) {
	t.Helper()
	require.Eventually(t, func() bool {
		list, err := s.runner.List(s.context(t))
		if err != nil {
			return false
		}
		for _, l := range list {
			if l.Ref == c.Ref {
				return l.Running && l.SessionID == c.SessionID && l.Epoch == c.Epoch
			}
		}
		return false
	}, s.Patience, 20*time.Millisecond, "container %s is listed", c.Ref)
}

// together calls f(0) to f(n-1) at once and waits for all.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-ready
			f(i)
		})
	}
	close(ready)
	wg.Wait()
}
