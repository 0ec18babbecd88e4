package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
)

const (
	// writerPrefix makes the test binary a process that writes to the tables of this
	// prefix, with the name in writerName.
	writerPrefix = "DYNAMODB_TEST_WRITER"
	writerName   = "DYNAMODB_TEST_WRITER_NAME"

	writerRounds = 12
)

// writerMain puts and deletes clients, some of them its own and one that all writers share,
// for some rounds, and until its standard input ends.
func writerMain(prefix string) (err error) {
	ctx := context.Background()
	client, err := dynamo.NewClient(ctx, dynamo.ClientOptions{})
	if err != nil {
		return err
	}
	s, err := Open(Options{Client: client, Tables: TableNames(prefix)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	name := os.Getenv(writerName)
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	for i := 0; ; i++ {
		if i >= writerRounds {
			select {
			case <-stop:
				return nil
			default:
			}
		}
		own := fmt.Sprintf("%s-%d", name, i)
		_, err := s.PutAll(ctx, []configstore.Write{
			{Client: testClient(own), Expect: configstore.NoVersion},
			{Client: testClient("shared"), Expect: configstore.AnyVersion},
		})
		if err == nil && i%3 == 0 {
			err = s.Delete(ctx, own, 1)
		}
		if err != nil {
			return err
		}
	}
}

// mirror follows a store as an edge does.
type mirror struct {
	entries  map[string]configstore.Entry
	position configstore.Position
	versions map[string][]int64 // of the changes seen
}

func newMirror(t *testing.T, s *Store) *mirror {
	t.Helper()
	m := &mirror{versions: make(map[string][]int64)}
	m.entries, m.position = scan(t, s)
	return m
}

func (m *mirror) poll(t *testing.T, s *Store) {
	t.Helper()
	changes, position, err := s.Changes(t.Context(), m.position)
	require.NoError(t, err)
	m.position = position
	for _, c := range changes {
		m.versions[c.ClientID] = append(m.versions[c.ClientID], c.Version)
		if c.Deleted {
			delete(m.entries, c.ClientID)
		} else {
			m.entries[c.ClientID] = c.Entry
		}
	}
}

// Four processes write while one reader follows from the beginning and one from the middle.
func TestWriters(t *testing.T) {
	endpoint := dynamodblocal.Start(t)
	endpoint.Setenv(t)
	prefix := dynamodblocal.Prefix()
	_, err := CreateTables(t.Context(), newClient(t), TableNames(prefix), false)
	require.NoError(t, err)
	s := openStore(t, newClient(t), TableNames(prefix))
	first := newMirror(t, s)

	const writers = 4
	var running sync.WaitGroup
	var ended atomic.Int32
	outputs := make([]error, writers)
	input, stop, err := os.Pipe()
	require.NoError(t, err)
	defer input.Close()
	for i := range writers {
		running.Go(func() {
			defer ended.Add(1)
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), writerPrefix+"="+prefix, fmt.Sprintf("%s=writer-%d", writerName, i))
			child.Stdin = input
			if output, err := child.CombinedOutput(); err != nil {
				outputs[i] = fmt.Errorf("writer %d: %w: %s", i, err, output)
			}
		})
	}
	var second *mirror
	for ended.Load() < writers {
		first.poll(t, s)
		if second == nil && len(first.versions["shared"]) >= writers*writerRounds/3 {
			second = newMirror(t, s)
		}
		if second != nil {
			second.poll(t, s)
			if len(second.versions) > 0 {
				_ = stop.Close() // again and again
			}
		}
	}
	running.Wait()
	require.NoError(t, errors.Join(outputs...))
	first.poll(t, s)
	require.NotNil(t, second)
	second.poll(t, s)

	entries, _ := scan(t, s)
	assert.Equal(t, entries, first.entries)
	assert.Equal(t, entries, second.entries)
	for i, version := range first.versions["shared"] {
		require.Equal(t, int64(i+1), version, "each version once, in order")
	}
	shared, changes := len(first.versions["shared"]), 0
	for _, versions := range first.versions {
		changes += len(versions)
	}
	assert.Equal(t, int64(shared), entries["shared"].Version)
	assert.GreaterOrEqual(t, shared, writers*writerRounds)
	// Each put was of two clients, the other transactions were deletes.
	assertNoGaps(t, s, int64(changes-shared))
}

// assertNoGaps checks that the log has each number up to the last once.
func assertNoGaps(t *testing.T, s *Store, last int64) {
	t.Helper()
	h, err := s.readHead(t.Context())
	require.NoError(t, err)
	assert.Equal(t, last, h.last)
	out, err := s.client.Query(t.Context(), &dynamodb.QueryInput{
		TableName: &s.tables.ConfigChanges, KeyConditionExpression: aws.String("part = :part"), ExpressionAttributeValues: item{":part": text(logPart)},
	})
	require.NoError(t, err)
	for i, it := range out.Items {
		n, _ := numberOf(it[attrSeq])
		if i == len(out.Items)-1 {
			assert.Equal(t, int64(headSeq), n)
		} else {
			assert.Equal(t, int64(i+1), n)
		}
	}
	assert.Len(t, out.Items, int(last)+1)
}

// A transaction that is long on its way cannot land behind those that were faster, so that
// no reader who has seen those skips it.
func TestSlowWriter(t *testing.T) {
	s := newStore(t)
	put(t, s, "amelia")
	reader := newMirror(t, s)

	x := newToxic(t)
	sent := make(chan struct{})
	var once sync.Once
	slow := openStore(t, x.client(func(operation string) {
		if operation == "TransactWriteItems" {
			once.Do(func() {
				x.add(`{"name": "slow", "type": "latency", "stream": "upstream", "attributes": {"latency": 600000}}`)
				close(sent)
			})
		}
	}), s.tables)
	done := make(chan error, 1)
	go func() {
		_, err := slow.Put(context.Background(), testClient("slow"), configstore.NoVersion)
		done <- err
	}()
	<-sent
	for i := range 5 {
		put(t, s, fmt.Sprintf("fast-%d", i))
		reader.poll(t, s)
	}
	require.NotContains(t, reader.entries, "slow")
	x.remove("slow")
	require.NoError(t, <-done)
	reader.poll(t, s)
	entries, _ := scan(t, s)
	assert.Contains(t, entries, "slow")
	assert.Equal(t, entries, reader.entries)
	assertNoGaps(t, s, 7)
}

// The connection breaks after each write reached DynamoDB, before its answer came back.
func TestLostAnswers(t *testing.T) {
	s := newStore(t)
	reader := newMirror(t, s)
	x := newToxic(t)
	var cutting, attempts atomic.Int32
	cut := openStore(t, x.client(func(operation string) {
		if operation != "TransactWriteItems" {
			return
		}
		// The first two attempts of each write lose their answers.
		switch attempts.Add(1) {
		case 1:
			cutting.Add(1)
			x.add(`{"name": "cut", "type": "limit_data", "stream": "downstream", "attributes": {"bytes": 0}}`)
		case 3:
			x.remove("cut")
		}
	}), s.tables)

	const writes = 5
	for i := range writes {
		attempts.Store(0)
		expect := int64(i)
		if i == 0 {
			expect = configstore.NoVersion
		}
		record, err := cut.Put(t.Context(), testClient("amelia", fmt.Sprintf("alias-%d.example", i)), expect)
		require.NoError(t, err)
		assert.Equal(t, int64(i+1), record.Version)
		assert.GreaterOrEqual(t, attempts.Load(), int32(3))
		got, err := s.Get(t.Context(), "amelia")
		require.NoError(t, err)
		assert.Equal(t, record, got)
	}
	attempts.Store(0)
	require.NoError(t, cut.Delete(t.Context(), "amelia", writes))
	assert.Equal(t, int32(writes+1), cutting.Load())

	reader.poll(t, s)
	assert.Equal(t, []int64{1, 2, 3, 4, 5, 6}, reader.versions["amelia"], "each write once")
	assertNoGaps(t, s, writes+1)
}

// Where no answer comes at all, the error leaves open what happened, and comes soon.
func TestUnansweredWrite(t *testing.T) {
	s := newStore(t)
	x := newToxic(t)
	var once sync.Once
	cut := openStore(t, x.client(func(operation string) {
		if operation == "TransactWriteItems" {
			once.Do(func() {
				x.add(`{"name": "cut", "type": "limit_data", "stream": "downstream", "attributes": {"bytes": 0}}`)
			})
		}
	}), s.tables)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := cut.Put(ctx, testClient("amelia"), configstore.NoVersion)
	require.ErrorIs(t, err, configstore.ErrUnavailable)
	require.NoError(t, ctx.Err())
	_, err = s.Get(t.Context(), "amelia")
	require.NoError(t, err, "it was written")
}
