package dynamodb_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws_dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/dynamodb"
)

type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func sessionKey(id string) item { return item{"sessionId": text(id)} }

// raw reads and writes a table as other tools do.
type raw struct {
	t      testing.TB
	client *aws_dynamodb.Client
	table  string
}

func rawTable(t testing.TB, table string) raw {
	t.Helper()
	return raw{t, client(t, dynamodblocal.Start(t).URL), table}
}

func (r raw) put(it item) {
	r.t.Helper()
	_, err := r.client.PutItem(r.t.Context(), &aws_dynamodb.PutItemInput{TableName: &r.table, Item: it})
	require.NoError(r.t, err)
}

func (r raw) get(id string) item {
	r.t.Helper()
	out, err := r.client.GetItem(r.t.Context(), &aws_dynamodb.GetItemInput{TableName: &r.table, Key: sessionKey(id), ConsistentRead: aws.Bool(true)})
	require.NoError(r.t, err)
	return out.Item
}

func (r raw) remove(id string) {
	r.t.Helper()
	_, err := r.client.DeleteItem(r.t.Context(), &aws_dynamodb.DeleteItemInput{TableName: &r.table, Key: sessionKey(id)})
	require.NoError(r.t, err)
}

// fixtures are the items in a folder below testdata, by name. Those that would have
// expired by now expire in a year.
func fixtures(t *testing.T, folder string) map[string]item {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := make(map[string]item)
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); !strings.HasSuffix(name, ".record") {
			it := dynamodblocal.Item(t, file)
			if _, isNumber := it["ttl"].(*types.AttributeValueMemberN); isNumber {
				it["ttl"] = &types.AttributeValueMemberN{Value: fmt.Sprint(time.Now().AddDate(1, 0, 0).Unix())}
			}
			all[name] = it
		}
	}
	return all
}

func wantRecord(t *testing.T, name string) sessions.Record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "older", name+".record.json"))
	require.NoError(t, err)
	var rec sessions.Record
	require.NoError(t, json.Unmarshal(data, &rec))
	return rec
}

func TestOlderToolsRows(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	older := fixtures(t, "older")
	for _, it := range older {
		rows.put(it)
	}
	for shape, it := range older {
		t.Run(shape, func(t *testing.T) {
			want := wantRecord(t, shape)
			got, err := r.Get(t.Context(), want.SessionID)
			require.NoError(t, err)
			assert.Equal(t, want, got)
			if _, inIndex := it["clientId"]; inIndex && strings.Contains(want.SessionID, "#") {
				got, err = r.ByThread(t.Context(), "amelia", want.ThreadID)
				require.NoError(t, err)
				assert.Equal(t, want.SessionID, got.SessionID)
			}
			changed := want
			changed.ClientID = "bramble"
			_, err = r.Update(t.Context(), changed, 1)
			require.ErrorContains(t, err, "never change")

			// Its first wake gives it our shape; what we do not know of stays.
			woken, err := r.Update(t.Context(), after(t, want, wake), 10)
			require.NoError(t, err)
			assert.Equal(t, int64(1), woken.Version)
			got, err = r.Get(t.Context(), want.SessionID)
			require.NoError(t, err)
			assert.Equal(t, woken, got)
			got, err = r.ByThread(t.Context(), "amelia", want.ThreadID)
			require.NoError(t, err)
			assert.Equal(t, woken, got)
			running, err := r.Running(t.Context(), "amelia")
			require.NoError(t, err)
			assert.Contains(t, running, want.SessionID)
			now := rows.get(want.SessionID)
			for attr, v := range it {
				switch attr {
				case "isDirty", "lastCommit", "requestCount", "bytesTransferred", "containerId", "inputQueueUrl", "outputQueueUrl":
					assert.Equal(t, v, now[attr], attr)
				}
			}
			for _, attr := range []string{"branch", "lastActivityAt", "startedAt", "chatThreadId", "fargateTaskArn", "taskArn", "containerIp"} {
				assert.NotContains(t, now, attr, "there is one truth")
			}
			_, err = r.Update(t.Context(), after(t, want, wake), 10)
			require.ErrorIs(t, err, sessions.ErrConflict)

			asleep, err := r.Update(t.Context(), after(t, woken, ready, drain, stopped), 10)
			require.NoError(t, err)
			require.NoError(t, r.Delete(t.Context(), want.SessionID, asleep.Version))
		})
	}
	left, err := r.List(t.Context(), "", "", 100)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestOlderRowsAreListedAndDeleted(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	older := fixtures(t, "older")
	for _, it := range older {
		rows.put(it)
	}
	all, err := r.List(t.Context(), "", "", 100)
	require.NoError(t, err)
	assert.Len(t, all, len(older))
	for _, rec := range all {
		require.ErrorIs(t, r.Delete(t.Context(), rec.SessionID, 1), sessions.ErrConflict)
		require.NoError(t, r.Delete(t.Context(), rec.SessionID, 0))
	}
	all, err = r.List(t.Context(), "", "", 100)
	require.NoError(t, err)
	assert.Empty(t, all)
}

// A thread that older tools gave to two users is that of the session used last.
func TestOlderThreadOfTwoUsers(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	for user, used := range map[string]string{"anna": "2025-01-01T00:00:00Z", "ben": "2025-02-01T00:00:00Z", "cleo": "2024-01-01T00:00:00Z"} {
		rows.put(item{"sessionId": text("amelia#" + user + "#t"), "clientId": text("amelia"), "lastActivityAt": text(used)})
	}
	got, err := r.ByThread(t.Context(), "amelia", "t")
	require.NoError(t, err)
	assert.Equal(t, "amelia#ben#t", got.SessionID)

	woken, err := r.Update(t.Context(), after(t, got, wake), 5)
	require.NoError(t, err)
	other, err := r.Get(t.Context(), "amelia#anna#t")
	require.NoError(t, err)
	other, err = r.Update(t.Context(), after(t, other, wake), 5)
	require.NoError(t, err, "it works under its own id")
	got, err = r.ByThread(t.Context(), "amelia", "t")
	require.NoError(t, err)
	assert.Equal(t, woken.SessionID, got.SessionID)
	other, err = r.Update(t.Context(), after(t, other, ready, drain, stopped), 5)
	require.NoError(t, err)
	require.NoError(t, r.Delete(t.Context(), other.SessionID, other.Version))
	got, err = r.ByThread(t.Context(), "amelia", "t")
	require.NoError(t, err)
	assert.Equal(t, woken.SessionID, got.SessionID, "and takes no thread with it")
}

func TestUpgrade(t *testing.T) {
	name := table(t)
	r, rows := registryOn(t, name), rawTable(t, name)
	for _, it := range fixtures(t, "older") {
		rows.put(it)
	}
	rows.put(item{"sessionId": text("amelia#late#thread-42"), "clientId": text("amelia"), "lastActivityAt": text("2026-01-01T00:00:00Z")})
	broken := fixtures(t, "broken")["older-client"]
	rows.put(broken)
	ours, err := r.Create(t.Context(), record("ours"), 1)
	require.NoError(t, err)

	for _, dryRun := range []bool{true, false} {
		found := make(map[string]dynamodb.Upgrade)
		require.NoError(t, r.Upgrade(t.Context(), dryRun, func(u dynamodb.Upgrade) error {
			found[u.Record.SessionID] = u
			return nil
		}))
		assert.Len(t, found, len(fixtures(t, "older"))+2)
		assert.NotContains(t, found, ours.SessionID)
		require.ErrorIs(t, found["broken-older-client"].Err, sessions.ErrUnavailable)
		assert.Equal(t, "amelia#late#thread-42", found["amelia#scott#thread-42"].Thread)
		assert.Empty(t, found["amelia#late#thread-42"].Thread)
		assert.Contains(t, found["amelia#scott#thread-42"].Task, "0f9e8d7c")
		assert.Contains(t, found["5f0c7c1e-6f5e-4b8e-9a53-0c8f3a3d9d10"].Task, "aa11bb22")
	}
	assert.Equal(t, broken, rows.get("broken-older-client"), "what is broken stays as it is")
	for shape := range fixtures(t, "older") {
		want := wantRecord(t, shape)
		want.Version = 1
		got, err := r.Get(t.Context(), want.SessionID)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		byThread, err := r.ByThread(t.Context(), "amelia", want.ThreadID)
		require.NoError(t, err)
		if want.ThreadID == "thread-42" {
			assert.Equal(t, "amelia#late#thread-42", byThread.SessionID)
		} else {
			assert.Equal(t, got, byThread)
		}
	}
	count := 0
	require.NoError(t, r.Upgrade(t.Context(), false, func(u dynamodb.Upgrade) error {
		count++
		return nil
	}))
	assert.Equal(t, 1, count, "the broken one alone is left")
}

func TestBrokenRows(t *testing.T) {
	name := table(t)
	rows := rawTable(t, name)
	core, logs := observer.New(zapcore.DebugLevel)
	r := open(t, name, zap.New(core))
	defer r.Close()
	good := after(t, record("good"), wake, ready)
	good, err := r.Create(t.Context(), good, 1)
	require.NoError(t, err)
	attributes := map[string]string{
		"broken-older-client": "clientId", "broken-older-time": "lastActivityAt", "broken-status": "status",
		"broken-start": "start", "broken-lease": "lease", "broken-version": "version",
	}
	for _, it := range fixtures(t, "broken") {
		rows.put(it)
	}
	for id, attr := range attributes {
		for range 3 {
			_, err := r.Get(t.Context(), id)
			require.ErrorIs(t, err, sessions.ErrUnavailable, id)
			broken := &dynamodb.BrokenError{}
			require.ErrorAs(t, err, &broken, id)
			assert.Equal(t, attr, broken.Attribute, id)
			assert.Equal(t, id, broken.SessionID)
			assert.NotContains(t, err.Error(), "secret")
		}
		named := logs.FilterField(zap.String("session", id))
		require.Equal(t, 1, named.Len(), "named once, not at each read")
		assert.Equal(t, attr, named.All()[0].ContextMap()["attribute"])
	}

	// Every other session works, in lists too.
	for what, list := range map[string]func() ([]sessions.Record, error){
		"client": func() ([]sessions.Record, error) { return r.List(t.Context(), "amelia", "", 2) },
		"all":    func() ([]sessions.Record, error) { return r.List(t.Context(), "", "", 2) },
		"due":    func() ([]sessions.Record, error) { return r.Due(t.Context(), begin.Add(time.Hour), 10) },
	} {
		recs, err := list()
		require.NoError(t, err, what)
		assert.Equal(t, []sessions.Record{good}, recs, what)
	}
	recs, err := r.Unsettled(t.Context(), 10)
	require.NoError(t, err)
	assert.Empty(t, recs)
}
