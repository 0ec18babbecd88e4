// Package registrytest is what every session registry must do, as tests. A registry
// is one when Run passes.
package registrytest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/leaktest"
	"github.com/webordinary/router/sessions"
)

// Options say how to make the registries under test.
type Options struct {
	// Open returns an empty registry and a way to open the same records again, as
	// another process would. Both are closed by the test that uses them.
	Open func(t *testing.T) (sessions.Registry, func() sessions.Registry)
}

// Run tests a registry, line by line of the contract.
func Run(t *testing.T, o Options) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Options){
		"CreateAndGet":                 testCreateAndGet,
		"CreateRefusesTakenThread":     testThreadTaken,
		"CreateRefusesTakenID":         testIDTaken,
		"CreateRefusesOverLimit":       testCreateLimit,
		"UpdateReplaces":               testUpdate,
		"UpdateIsOptimisticallyLocked": testOptimisticLock,
		"UpdateTakesAndFreesSlots":     testUpdateSlots,
		"UpdateKeepsIdentity":          testIdentity,
		"Delete":                       testDelete,
		"List":                         testList,
		"ListPages":                    testListPages,
		"Due":                          testDue,
		"DueOrder":                     testDueOrder,
		"Unsettled":                    testUnsettled,
		"UpdateFromAnyState":           testAnyChange,
		"FailedKeepsItsSlot":           testFailedSlot,
		"IDs":                          testIDs,
		"LongTexts":                    testLongTexts,
		"RefusedWriteChangesNothing":   testRefusedWrite,
		"ConcurrentCreatesKeepLimit":   testConcurrentLimit,
		"ConcurrentWakesKeepLimit":     testConcurrentWakes,
		"ConcurrentThreadIsOne":        testConcurrentThread,
		"ConcurrentUpdatesAreOne":      testConcurrentUpdate,
		"ManyCreatesForFiveSlots":      testManyCreates,
		"ThreadRace":                   testThreadRace,
		"WakeOrDelete":                 testWakeOrDelete,
		"RacingTransitions":            testRacingTransitions,
		"DutyIsOnesAtATime":            testDuty,
		"SurvivesReopening":            testReopen,
		"EndedContext":                 testEndedContext,
	} {
		t.Run(name, func(t *testing.T) {
			already := goleak.IgnoreCurrent()
			t.Cleanup(func() { leaktest.VerifyNone(t, already) }) // the last, after all are closed
			test(t, o)
		})
	}
}

func open(t *testing.T, o Options) sessions.Registry {
	t.Helper()
	r, _ := o.Open(t)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// record returns an inactive session of a client.
func record(client string, n int) sessions.Record {
	return sessions.Record{
		SessionID:    fmt.Sprintf("%s-%04d", client, n),
		ClientID:     client,
		UserID:       "user",
		ThreadID:     fmt.Sprintf("thread-%d", n),
		EditBranch:   fmt.Sprintf("thread-%d", n),
		PreviewURL:   "https://edit.example.com/session/x",
		Instruction:  "make the heading larger",
		Status:       sessions.StatusInactive,
		CreatedAt:    epochStart,
		LastActivity: epochStart,
	}
}

// in returns a session in a state, reached by the state machine's own events.
func in(t *testing.T, r sessions.Record, status sessions.Status, askAt time.Time) sessions.Record {
	t.Helper()
	wake := sessions.Event{Kind: sessions.EventWake, Holder: "edge", Start: sessions.Start{Token: "secret", Size: "small", At: epochStart}}
	events := map[sessions.Status][]sessions.Event{
		sessions.StatusInactive:     {},
		sessions.StatusInitializing: {wake, {Kind: sessions.EventStarted, Container: "ref", IP: "10.0.0.1", Port: 8080}, {Kind: sessions.EventUnwake}},
		sessions.StatusActive: {
			wake,
			{Kind: sessions.EventStarted, Container: "ref"},
			{Kind: sessions.EventReady, AskAt: askAt},
			{Kind: sessions.EventAsked, AskAt: askAt, LastActivity: epochStart, Awake: &sessions.Awake{
				At: epochStart, Activity: "document", Reason: "save failed: no", Busy: true, SaveFailed: true, Unanswered: 2,
			}},
		},
		sessions.StatusDraining: {wake, {Kind: sessions.EventReady, AskAt: askAt}, {Kind: sessions.EventDrain, Holder: "edge"}},
		sessions.StatusFailed: {wake, {
			Kind:    sessions.EventFail,
			Failure: bootapi.Failure{Phase: bootapi.PhaseCloning, Cause: "no such repository", Detail: "fatal", Retryable: true},
		}},
	}[status]
	for _, e := range events {
		next, err := sessions.Next(r, e, epochStart)
		require.NoError(t, err)
		r = next
	}
	return r
}

// create stores a session in a state, with a high limit.
func create(t *testing.T, reg sessions.Registry, r sessions.Record) sessions.Record {
	t.Helper()
	got, err := reg.Create(t.Context(), r, 1000)
	require.NoError(t, err)
	return got
}

// equal compares records, times by their moment.
func equal(t *testing.T, want, got sessions.Record) {
	t.Helper()
	for _, r := range []*sessions.Record{&want, &got} {
		r.CreatedAt, r.LastActivity, r.AskAt = r.CreatedAt.UTC(), r.LastActivity.UTC(), r.AskAt.UTC()
	}
	assert.Equal(t, want, got)
}

// update stores a session after an event.
func update(t *testing.T, reg sessions.Registry, r sessions.Record, e sessions.Event) sessions.Record {
	t.Helper()
	next, err := sessions.Next(r, e, epochStart)
	require.NoError(t, err)
	got, err := reg.Update(t.Context(), next, 1000)
	require.NoError(t, err)
	return got
}

// patience is for a registry whose lists lag behind, and for a machine under load.
const patience = 30 * time.Second

// eventually waits until a list has these sessions, in this order.
func eventually(t *testing.T, want []string, list func() ([]sessions.Record, error)) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		recs, err := list()
		require.NoError(t, err)
		if got := ids(recs); slices.Equal(want, got) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			require.Equal(t, want, ids(recs))
		}
	}
}

func ids(recs []sessions.Record) []string {
	all := make([]string, 0, len(recs))
	for _, r := range recs {
		all = append(all, r.SessionID)
	}
	return all
}
