package dynamodb_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func record(id string) sessions.Record {
	return sessions.Record{
		SessionID: id, ClientID: "amelia", ThreadID: "thread-" + id, EditBranch: "thread-" + id,
		Status: sessions.StatusInactive, CreatedAt: begin, LastActivity: begin,
	}
}

// after returns a record after events.
func after(t testing.TB, r sessions.Record, events ...sessions.Event) sessions.Record {
	t.Helper()
	for _, e := range events {
		next, err := sessions.Next(r, e, begin)
		require.NoError(t, err)
		r = next
	}
	return r
}

var (
	wake    = sessions.Event{Kind: sessions.EventWake, Holder: "edge", Start: sessions.Start{Token: "secret", Size: "small", At: begin}}
	started = sessions.Event{Kind: sessions.EventStarted, Container: "arn:aws:ecs:task/1"}
	ready   = sessions.Event{Kind: sessions.EventReady, AskAt: begin.Add(time.Minute)}
	drain   = sessions.Event{Kind: sessions.EventDrain, Holder: "edge"}
	stopped = sessions.Event{Kind: sessions.EventStopped}
)

func TestConflictsAreTriedAgain(t *testing.T) {
	p := newProxy(t)
	r := p.registry(table(t))
	conflict := mood{operation: "TransactWriteItems", reply: cancelled("None", "TransactionConflict", "None")}
	p.next(conflict, conflict, conflict)
	rec, err := r.Create(t.Context(), after(t, record("a"), wake), 1)
	require.NoError(t, err)
	assert.Equal(t, 4, p.spent("TransactWriteItems"))

	p.next(mood{operation: "UpdateItem", reply: refused("TransactionConflictException", "Transaction is ongoing for the item")})
	rec, err = r.Update(t.Context(), after(t, rec, started, ready), 1)
	require.NoError(t, err)
	assert.Equal(t, 2, p.spent("UpdateItem"))

	throttled := mood{operation: "TransactWriteItems", reply: cancelled("ThrottlingError", "None", "None")}
	p.next(throttled, throttled)
	rec, err = r.Update(t.Context(), after(t, rec, drain, stopped), 0)
	require.NoError(t, err)

	p.next(conflict)
	require.NoError(t, r.Delete(t.Context(), rec.SessionID, rec.Version))
	p.spent("")
}

// While others never leave the items alone, a caller's context ends the tries.
func TestConflictsEndWithTheContext(t *testing.T) {
	p := newProxy(t)
	r := p.registry(table(t))
	for range 1000 {
		p.next(mood{operation: "TransactWriteItems", reply: cancelled("TransactionConflict", "None", "None")})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := r.Create(ctx, after(t, record("a"), wake), 1)
	require.ErrorIs(t, err, sessions.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A condition that fails decides, whatever else was in the way.
func TestConditionBesideConflict(t *testing.T) {
	p := newProxy(t)
	name := table(t)
	r := p.registry(name)
	_, err := r.Create(t.Context(), record("a"), 1)
	require.NoError(t, err)
	p.next(mood{operation: "TransactWriteItems", reply: cancelled("ConditionalCheckFailed", "TransactionConflict")})
	_, err = r.Create(t.Context(), record("a"), 1)
	require.ErrorIs(t, err, sessions.ErrConflict)
}

func TestLostAnswers(t *testing.T) {
	p := newProxy(t)
	r := p.registry(table(t))
	lost := func(operation string) { p.next(mood{operation: operation, lost: true}) }

	lost("TransactWriteItems")
	rec, err := r.Create(t.Context(), after(t, record("a"), wake), 1)
	require.NoError(t, err, "a creation")
	running, err := r.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, running)

	lost("UpdateItem")
	lost("UpdateItem")
	rec, err = r.Update(t.Context(), after(t, rec, started), 0)
	require.NoError(t, err, "a write")
	assert.Equal(t, int64(2), rec.Version)
	assert.Equal(t, 3, p.spent("UpdateItem"))

	lost("TransactWriteItems")
	rec, err = r.Update(t.Context(), after(t, rec, ready, drain, stopped), 0)
	require.NoError(t, err, "a slot's return")
	lost("TransactWriteItems")
	rec, err = r.Update(t.Context(), after(t, rec, wake), 1)
	require.NoError(t, err, "a wake")
	got, err := r.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, rec.Version, got.Version)
	assert.Equal(t, int64(2), got.Epoch)

	lost("TransactWriteItems")
	require.NoError(t, r.Delete(t.Context(), "a", rec.Version), "a deletion")
	running, err = r.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Empty(t, running)
	p.spent("")
}

// An answer that was lost is not taken for somebody else's write of the same content.
func TestLostAnswerOrAnothersWrite(t *testing.T) {
	p := newProxy(t)
	name := table(t)
	r, other := p.registry(name), registryOn(t, name)
	rec, err := r.Create(t.Context(), after(t, record("a"), wake), 1)
	require.NoError(t, err)
	next := after(t, rec, started)
	_, err = other.Update(t.Context(), next, 0)
	require.NoError(t, err)
	_, err = r.Update(t.Context(), next, 0)
	require.ErrorIs(t, err, sessions.ErrConflict)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	p := newProxy(t)
	missing := p.registry("no-such-table")
	for name, call := range map[string]func() error{
		"get":       func() error { _, err := missing.Get(t.Context(), "a"); return err },
		"by thread": func() error { _, err := missing.ByThread(t.Context(), "amelia", "t"); return err },
		"running":   func() error { _, err := missing.Running(t.Context(), "amelia"); return err },
		"list":      func() error { _, err := missing.List(t.Context(), "amelia", "", 10); return err },
		"list all":  func() error { _, err := missing.List(t.Context(), "", "", 10); return err },
		"due":       func() error { _, err := missing.Due(t.Context(), begin, 10); return err },
		"unsettled": func() error { _, err := missing.Unsettled(t.Context(), 10); return err },
		"create":    func() error { _, err := missing.Create(t.Context(), record("a"), 1); return err },
		"update":    func() error { _, err := missing.Update(t.Context(), after(t, record("a"), wake), 1); return err },
		"delete":    func() error { return missing.Delete(t.Context(), "a", 1) },
	} {
		err := call()
		require.ErrorIs(t, err, sessions.ErrUnavailable, name)
		assert.ErrorContains(t, err, "no-such-table", name)
		assert.ErrorContains(t, err, "tables create", name)
	}

	r := p.registry(table(t))
	for range 10 {
		p.next(mood{operation: "GetItem", reply: refused("ProvisionedThroughputExceededException", "slow down")})
	}
	_, err := r.Get(t.Context(), "a")
	require.ErrorIs(t, err, sessions.ErrUnavailable)
	assert.ErrorContains(t, err, "throttles")

	p.Close()
	_, err = r.Get(t.Context(), "a")
	require.ErrorIs(t, err, sessions.ErrUnavailable)
	assert.ErrorContains(t, err, "does not answer")
}

// Batches that come back in part are asked for until they are whole.
func TestUnprocessedKeys(t *testing.T) {
	p := newProxy(t)
	name := table(t)
	r := p.registry(name)
	for _, id := range []string{"a", "b", "c"} {
		_, err := r.Create(t.Context(), record(id), 1)
		require.NoError(t, err)
	}
	p.next(mood{operation: "BatchGetItem", status: http.StatusOK, reply: `{"Responses":{"` + name + `":[]},"UnprocessedKeys":{"` + name +
		`":{"ConsistentRead":true,"Keys":[{"sessionId":{"S":"a"}},{"sessionId":{"S":"b"}},{"sessionId":{"S":"c"}}]}}}`})
	recs, err := r.List(t.Context(), "amelia", "", 10)
	require.NoError(t, err)
	assert.Len(t, recs, 3)
	assert.Equal(t, 2, p.spent("BatchGetItem"))
}
