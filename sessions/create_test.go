package sessions_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

func TestCreateAndWake(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	r, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", UserID: "ann", Wake: true})
	require.NoError(t, err)
	assert.True(t, created)
	assert.Equal(t, sessions.StatusInitializing, r.Status)
	assert.Empty(t, string(r.Start.Token))
	assert.Regexp(t, `^edit-[a-z2-7]{12}$`, r.ThreadID)
	assert.Equal(t, r.ThreadID, r.EditBranch)
	assert.Equal(t, int64(1), r.Epoch)
	b.active(s, r.SessionID)
	got, err := s.Get(t.Context(), r.SessionID)
	require.NoError(t, err)
	assert.Equal(t, sessions.StatusActive, got.Status)
	assert.Empty(t, string(got.Start.Token))
	list, err := s.List(t.Context(), "amelia", "", 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Empty(t, string(list[0].Start.Token))
}

func TestThreadIsResumed(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	first, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring"})
	require.NoError(t, err)
	require.True(t, created)
	again, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring", Instruction: "go on", Wake: true})
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, first.SessionID, again.SessionID)
	assert.Equal(t, sessions.StatusInitializing, again.Status)
	b.active(s, first.SessionID)
	assert.Equal(t, "go on", b.only().claimed().Instruction)

	_, _, err = s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring", Instruction: "more"})
	require.ErrorIs(t, err, sessions.ErrInvalid, "a running container takes no other claim")
	running, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", ThreadID: "spring", Wake: true})
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, sessions.StatusActive, running.Status)
	other, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "bramble", ThreadID: "spring"})
	require.NoError(t, err)
	assert.True(t, created, "another client's thread of the same name")
	assert.NotEqual(t, first.SessionID, other.SessionID)
	assert.Len(t, b.machine.started(), 1)
}

func TestManyCreationsOfOneThreadAreOne(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	ids := make([]string, 30)
	made := make([]bool, len(ids))
	var wg sync.WaitGroup
	for n := range ids {
		wg.Go(func() {
			r, created, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "bramble", ThreadID: "spring", Wake: true})
			assert.NoError(t, err)
			ids[n], made[n] = r.SessionID, created
		})
	}
	wg.Wait()
	count := 0
	for n := range ids {
		assert.Equal(t, ids[0], ids[n])
		if made[n] {
			count++
		}
	}
	assert.Equal(t, 1, count)
	b.active(s, ids[0])
	assert.Len(t, b.machine.started(), 1)
}

func TestCreateRefuses(t *testing.T) {
	b := newBench(t)
	s, _ := b.edge()
	for field, bad := range map[string][]sessions.CreateRequest{
		"clientId": {{}},
		"userId": {
			{ClientID: "amelia", UserID: strings.Repeat("x", 201)},
			{ClientID: "amelia", UserID: "a\nb"},
			{ClientID: "amelia", UserID: "\xff"},
		},
		"threadId": {
			{ClientID: "amelia", ThreadID: strings.Repeat("x", 101)},
			{ClientID: "amelia", ThreadID: "-rf"},
			{ClientID: "amelia", ThreadID: ".hidden"},
			{ClientID: "amelia", ThreadID: "a..b"},
			{ClientID: "amelia", ThreadID: "a/b"},
			{ClientID: "amelia", ThreadID: "a.lock"},
			{ClientID: "amelia", ThreadID: "a."},
			{ClientID: "amelia", ThreadID: "a b"},
			{ClientID: "amelia", ThreadID: "a~1"},
			{ClientID: "amelia", ThreadID: "a#b"},
			{ClientID: "amelia", ThreadID: "a\n"},
			{ClientID: "amelia", ThreadID: "HEAD"},
			{ClientID: "amelia", ThreadID: "ü"},
			{ClientID: "amelia", ThreadID: "main"}, // what the site is published from
		},
		"instruction": {
			{ClientID: "amelia", Instruction: strings.Repeat("x", 16<<10+1)},
			{ClientID: "amelia", Instruction: "\xff"},
		},
	} {
		for _, req := range bad {
			_, _, err := s.Create(t.Context(), req)
			require.ErrorIs(t, err, sessions.ErrInvalid, "%+v", req)
			var invalid *sessions.InvalidError
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, field, invalid.Field)
		}
	}
	_, _, err := s.Create(t.Context(), sessions.CreateRequest{ClientID: "nobody"})
	require.ErrorIs(t, err, configstore.ErrNotFound)
	b.put("amelia", 1, func(c *configstore.Client) { c.Disabled = true })
	_, _, err = s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia"})
	require.ErrorIs(t, err, sessions.ErrDisabled)
	list, err := s.List(t.Context(), "", "", 10)
	require.NoError(t, err)
	assert.Empty(t, list)
}

func TestWithoutRunner(t *testing.T) {
	b := newBench(t)
	edge, _ := b.edge()
	s := b.service(nil)
	id := b.sleeping(s, "amelia")
	_, err := s.Wake(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrNoRunner)
	require.ErrorIs(t, s.Sleep(t.Context(), id, "x"), sessions.ErrNoRunner)
	_, _, err = s.Create(t.Context(), sessions.CreateRequest{ClientID: "amelia", Wake: true})
	require.ErrorIs(t, err, sessions.ErrNoRunner)

	b.awake(edge, id)
	require.ErrorIs(t, s.Delete(t.Context(), id), sessions.ErrNoRunner)
	_, err = s.Lookup(t.Context(), id)
	require.NoError(t, err)
	require.NoError(t, edge.Sleep(t.Context(), id, "x"))
	require.NoError(t, s.Delete(t.Context(), id))
	_, err = s.Get(t.Context(), id)
	require.ErrorIs(t, err, sessions.ErrNotFound)
}
