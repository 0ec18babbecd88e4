package dynamodb_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/dynamodb"
)

// Slots that no session holds, because its record was removed or replaced by other means,
// are freed when they would stand in somebody's way.
func TestSlotsLeftBehind(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	for _, id := range []string{"removed", "replaced", "running"} {
		_, err := r.Create(t.Context(), after(t, record(id), wake), 3)
		require.NoError(t, err)
	}
	rows.remove("removed")
	rows.put(item{"sessionId": text("replaced"), "clientId": text("amelia"), "threadId": text("thread-replaced"), "status": text("active")})

	first, err := r.Create(t.Context(), after(t, record("first"), wake), 3)
	require.NoError(t, err)
	second, err := r.Create(t.Context(), record("second"), 3)
	require.NoError(t, err)
	_, err = r.Update(t.Context(), after(t, second, wake), 3)
	require.NoError(t, err)
	running, err := r.Running(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, []string{"first", "running", "second"}, running)
	_, err = r.Create(t.Context(), after(t, record("third"), wake), 3)
	require.ErrorIs(t, err, sessions.ErrLimit, "and no more than those")

	// One that is named already, though it holds none, takes its own.
	replaced, err := r.Get(t.Context(), "replaced")
	require.NoError(t, err)
	_, err = r.Update(t.Context(), after(t, replaced, wake), 3)
	require.ErrorIs(t, err, sessions.ErrLimit)
	_, err = r.Update(t.Context(), after(t, first, ready, drain, stopped), 3)
	require.NoError(t, err)
	_, err = r.Update(t.Context(), after(t, replaced, wake), 3)
	require.NoError(t, err)
}

// A thread whose session has expired can be had anew.
func TestThreadLeftBehind(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	old, err := r.Create(t.Context(), record("old"), 1)
	require.NoError(t, err)
	rows.remove("old")
	_, err = r.ByThread(t.Context(), "amelia", old.ThreadID)
	require.ErrorIs(t, err, sessions.ErrNotFound)
	rec := record("new")
	rec.ThreadID = old.ThreadID
	rec, err = r.Create(t.Context(), rec, 1)
	require.NoError(t, err)
	got, err := r.ByThread(t.Context(), "amelia", old.ThreadID)
	require.NoError(t, err)
	assert.Equal(t, rec, got)
	_, err = r.Create(t.Context(), old, 1)
	require.ErrorIs(t, err, sessions.ErrThreadTaken)
}

func ttlOf(t *testing.T, it item) (time.Time, bool) {
	t.Helper()
	n, ok := it["ttl"].(*types.AttributeValueMemberN)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(n.Value, 10, 64)
	require.NoError(t, err)
	return time.Unix(seconds, 0), true
}

func TestExpiry(t *testing.T) {
	const retention = 10 * 24 * time.Hour
	name := table(t)
	rows := rawTable(t, name)
	kept := registryOn(t, name)
	r, err := dynamodb.Open(dynamodb.Options{Client: rows.client, Table: name, Retention: retention})
	require.NoError(t, err)
	forever, err := dynamodb.Open(dynamodb.Options{Client: rows.client, Table: name, Retention: -1})
	require.NoError(t, err)
	expires := func(id string, in time.Duration) {
		t.Helper()
		at, ok := ttlOf(t, rows.get(id))
		require.True(t, ok, "it expires")
		assert.WithinDuration(t, time.Now().Add(in), at, time.Hour)
	}
	stays := func(id string) {
		t.Helper()
		it := rows.get(id)
		require.NotEmpty(t, it)
		assert.NotContains(t, it, "ttl")
	}
	const thread, month = "thread#amelia#thread-a", 30 * 24 * time.Hour

	rec, err := r.Create(t.Context(), record("a"), 1)
	require.NoError(t, err)
	expires("a", retention)
	expires(thread, retention+month)
	rec, err = r.Update(t.Context(), after(t, rec, wake), 1)
	require.NoError(t, err)
	stays("a")
	stays(thread)
	rec, err = r.Update(t.Context(), after(t, rec, ready, drain), 1)
	require.NoError(t, err)
	stays("a")
	rec, err = kept.Update(t.Context(), after(t, rec, stopped), 1)
	require.NoError(t, err)
	expires("a", dynamodb.DefaultRetention)
	expires(thread, dynamodb.DefaultRetention+month)
	rec.Instruction = "make the heading larger"
	rec, err = r.Update(t.Context(), rec, 0)
	require.NoError(t, err)
	expires("a", retention)
	expires(thread, retention+month) // the session's write is its thread's as well
	rec, err = forever.Update(t.Context(), after(t, rec, wake), 1)
	require.NoError(t, err)
	_, err = forever.Update(t.Context(), after(t, rec, ready, drain, stopped), 1)
	require.NoError(t, err)
	stays("a")
	stays(thread)
	stays("slots#amelia")
}

// What other tools wrote to a session's row of ours stays.
func TestUnknownAttributesStay(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	rec, err := r.Create(t.Context(), record("a"), 1)
	require.NoError(t, err)
	it := rows.get("a")
	it["lastCommit"], it["labels"] = text("9fceb02"), &types.AttributeValueMemberSS{Value: []string{"x", "y"}}
	rows.put(it)
	rec, err = r.Update(t.Context(), after(t, rec, wake), 1)
	require.NoError(t, err)
	rec, err = r.Update(t.Context(), after(t, rec, started), 1)
	require.NoError(t, err)
	now := rows.get("a")
	assert.Equal(t, it["lastCommit"], now["lastCommit"])
	assert.Equal(t, it["labels"], now["labels"])
	got, err := r.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, rec, got)
}

// The row has the names and the types of the older tools, where they have such an attribute.
func TestRow(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	rec := record("a")
	rec.UserID, rec.PreviewURL = "scott", "https://edit.amelia.webordinary.com/session/a"
	rec.LastActivity = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	rec = after(t, rec, wake, started)
	rec.LastActivity = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	rec.ContainerIP, rec.ContainerPort = "10.0.1.200", 8080
	_, err := r.Create(t.Context(), rec, 1)
	require.NoError(t, err)
	it := rows.get("a")
	assert.Regexp(t, `^[A-Z2-7]{26}$`, it["writeId"].(*types.AttributeValueMemberS).Value)
	delete(it, "writeId")
	queue := it["queue"].(*types.AttributeValueMemberS).Value
	assert.Regexp(t, `^unsettled#[0-3]$`, queue)
	n := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	assert.Equal(t, item{
		"sessionId": text("a"), "clientId": text("amelia"), "userId": text("scott"), "threadId": text("thread-a"),
		"status": text("initializing"), "previewUrl": text("https://edit.amelia.webordinary.com/session/a"),
		"editBranch": text("thread-a"), "lastActivity": n("1772366400123.456789"), "createdAt": text("2026-03-01T12:00:00Z"),
		"taskArn": text("arn:aws:ecs:task/1"), "containerIp": text("10.0.1.200"), "containerPort": n("8080"),
		"epoch": n("1"), "version": n("1"),
		"lease": &types.AttributeValueMemberM{Value: item{"holder": text("edge"), "beat": n("1")}},
		"start": &types.AttributeValueMemberM{Value: item{"token": text("secret"), "size": text("small"), "at": text("2026-03-01T12:00:00Z")}},
		"queue": text(queue), "queueAt": n("1772366400123.456789"),
	}, it)
	assert.Equal(t, item{
		"sessionId": text("thread#amelia#thread-a"), "kind": text("thread"), "session": text("a"),
	}, rows.get("thread#amelia#thread-a"))
	assert.Equal(t, item{
		"sessionId": text("slots#amelia"), "kind": text("slots"), "running": &types.AttributeValueMemberSS{Value: []string{"a"}},
	}, rows.get("slots#amelia"))
}
