package sessions

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A record is read several times a second for those who watch it, and they may be many:
// what they know already must not have each of them look.
func TestWatchesAreToldWhatIsNewAlone(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	e := s.hold("one")
	w := &Watch{s: s, e: e, c: make(chan struct{}, 1)}
	e.watches[w] = struct{}{}
	told := func() bool {
		select {
		case <-w.C():
			return true
		default:
			return false
		}
	}
	r := Record{SessionID: "one", Version: 1, Status: StatusInitializing, Epoch: 1, Start: &Start{Token: "t"}, ContainerIP: "127.0.0.1", ContainerPort: 1}
	e.publish(r)
	assert.True(t, told(), "it is known now")
	e.publish(r)
	assert.False(t, told(), "nothing is new")
	s.serve(e, r)
	assert.True(t, told(), "it is served")
	assert.Equal(t, StatusActive, w.View().Record.Status)
	r.Version++
	e.publish(r)
	assert.True(t, told(), "it was written")
	r.Status = StatusActive
	s.setRoute(e, r)
	assert.True(t, told(), "its route is set, whatever the version")
	s.dropRoute(e, nil)
	assert.True(t, told(), "its route is dropped")

	r.Version, r.Status, r.Start = r.Version+1, StatusInactive, nil
	e.publish(r)
	assert.True(t, told())
	e.mu.Lock()
	o := s.begin(e, opStop, func(context.Context, *op) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.want(wishAsk)
		e.deleted = true // so that it is not attended, for which there is no registry here
	})
	e.mu.Unlock()
	<-o.done
	assert.NoError(t, s.Close(t.Context()))
	assert.True(t, told(), "nothing more is done to it, as there is no container to ask")
}

func TestReadsForWatchesAreBounded(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for _, n := range []int64{0, 1, 100, 1_000, 10_000} {
		s.attended.Store(n)
		for _, status := range []Status{StatusInitializing, StatusDraining, StatusInactive, StatusFailed, StatusActive} {
			each := s.attendLongest(Record{Status: status})
			assert.LessOrEqual(t, float64(n)/each.Seconds(), 400.0, "%d that are %s", n, status)
			assert.LessOrEqual(t, each, max(attendAtRest, time.Duration(n)*attendEach))
		}
	}
}
