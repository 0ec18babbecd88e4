package dynamodb_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	aws_dynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/dynamodb"
)

// meter counts calls by operation, and the capacity units that they took.
type meter struct {
	mu    sync.Mutex
	calls map[string]int
	units float64
}

func newMeter() *meter { return &meter{calls: make(map[string]int)} }

// add adds what another has counted.
func (m *meter) add(other *meter) {
	for operation, calls := range other.calls {
		m.calls[operation] += calls
	}
	m.units += other.units
}

// String is the calls, and the units.
func (m *meter) String() string {
	var parts []string
	for _, operation := range slices.Sorted(maps.Keys(m.calls)) {
		parts = append(parts, fmt.Sprintf("%d %s", m.calls[operation], operation))
	}
	return fmt.Sprintf("%s (%.1f units)", strings.Join(parts, ", "), m.units)
}

// total is the number of calls.
func (m *meter) total() int {
	n := 0
	for _, calls := range m.calls {
		n += calls
	}
	return n
}

// take returns what was counted, and begins anew.
func (m *meter) take() *meter {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := &meter{calls: m.calls, units: m.units}
	m.calls, m.units = make(map[string]int), 0
	return taken
}

// metered opens a registry on a table whose calls are counted.
func metered(t testing.TB, name string) (*dynamodb.Registry, *meter) {
	t.Helper()
	m := newMeter()
	c := client(t, dynamodblocal.Start(t).URL)
	options := c.Options()
	options.APIOptions = append(options.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("meter", m.count), middleware.Before)
	})
	r, err := dynamodb.Open(dynamodb.Options{Client: aws_dynamodb.New(options), Table: name})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r, m
}

func (m *meter) count(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	switch p := in.Parameters.(type) {
	case *aws_dynamodb.GetItemInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *aws_dynamodb.QueryInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *aws_dynamodb.UpdateItemInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *aws_dynamodb.TransactWriteItemsInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	case *aws_dynamodb.BatchGetItemInput:
		p.ReturnConsumedCapacity = types.ReturnConsumedCapacityTotal
	}
	out, metadata, err := next.HandleInitialize(ctx, in)
	var used []types.ConsumedCapacity
	one := func(c *types.ConsumedCapacity) {
		if c != nil {
			used = append(used, *c)
		}
	}
	switch p := out.Result.(type) {
	case *aws_dynamodb.GetItemOutput:
		one(p.ConsumedCapacity)
	case *aws_dynamodb.QueryOutput:
		one(p.ConsumedCapacity)
	case *aws_dynamodb.UpdateItemOutput:
		one(p.ConsumedCapacity)
	case *aws_dynamodb.TransactWriteItemsOutput:
		used = p.ConsumedCapacity
	case *aws_dynamodb.BatchGetItemOutput:
		used = p.ConsumedCapacity
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[awsmiddleware.GetOperationName(ctx)]++
	for _, c := range used {
		m.units += aws.ToFloat64(c.CapacityUnits)
	}
	return out, metadata, err
}

// The calls that each transition takes, printed with the capacity units that DynamoDB Local
// says: write units for writes, read units for reads.
func TestCallsPerTransition(t *testing.T) {
	r, m := metered(t, table(t))
	rec := record("a")
	rec.UserID, rec.PreviewURL = "scott", "https://edit.amelia.webordinary.com/session/a"
	create := func(rec sessions.Record) func() (sessions.Record, error) {
		return func() (sessions.Record, error) { return r.Create(t.Context(), rec, 5) }
	}
	update := func(e sessions.Event) func() (sessions.Record, error) {
		return func() (sessions.Record, error) { return r.Update(t.Context(), after(t, rec, e), 5) }
	}
	const write, transaction = "UpdateItem", "TransactWriteItems"
	for _, step := range []struct {
		name string
		do   func() (sessions.Record, error)
		want map[string]int
	}{
		{"look up a thread that has none", func() (sessions.Record, error) {
			_, err := r.ByThread(t.Context(), "amelia", "none")
			require.ErrorIs(t, err, sessions.ErrNotFound)
			return rec, nil
		}, map[string]int{"GetItem": 1, "Query": 1}},
		{"create asleep", create(rec), map[string]int{transaction: 1}},
		{"wake", update(wake), map[string]int{transaction: 1}},
		{"started", update(started), map[string]int{write: 1}},
		{"located", update(sessions.Event{Kind: sessions.EventLocated, IP: "10.0.1.200", Port: 8080}), map[string]int{write: 1}},
		{"renew a lease", update(sessions.Event{Kind: sessions.EventRenew, Holder: "edge"}), map[string]int{write: 1}},
		{"ready", update(ready), map[string]int{write: 1}},
		{"asked", update(sessions.Event{Kind: sessions.EventAsked, AskAt: begin.Add(time.Hour), LastActivity: begin}), map[string]int{write: 1}},
		{"drain", update(drain), map[string]int{write: 1}},
		{"busy after all", update(sessions.Event{Kind: sessions.EventBusy, AskAt: begin.Add(time.Hour)}), map[string]int{write: 1}},
		{"drain again", update(drain), map[string]int{write: 1}},
		{"stopped", update(stopped), map[string]int{transaction: 1}},
		{"instruct", func() (sessions.Record, error) {
			rec.Instruction = "make the heading larger"
			return r.Update(t.Context(), rec, 0)
		}, map[string]int{transaction: 1}},
		{"wake again", update(wake), map[string]int{transaction: 1}},
		{"fail", update(sessions.Event{Kind: sessions.EventFail}), map[string]int{write: 1}},
		{"stopped, instruction kept", update(stopped), map[string]int{transaction: 2}},
		{"look up", func() (sessions.Record, error) { return r.Get(t.Context(), "a") }, map[string]int{"GetItem": 1}},
		{"look up by thread", func() (sessions.Record, error) { return r.ByThread(t.Context(), "amelia", "thread-a") }, map[string]int{"GetItem": 2}},
		{"delete", func() (sessions.Record, error) { return rec, r.Delete(t.Context(), "a", rec.Version) }, map[string]int{"GetItem": 1, transaction: 1}},
		{"create awake", create(after(t, record("b"), wake)), map[string]int{transaction: 1}},
	} {
		m.take()
		next, err := step.do()
		require.NoError(t, err, step.name)
		taken := m.take()
		t.Logf("%-32s %s", step.name, taken)
		assert.Equal(t, step.want, taken.calls, step.name)
		rec = next
	}
}

// fill writes n active sessions, past the registry's limits and threads, whose questions
// are spread over a time.
func fill(t testing.TB, name string, n int, over time.Duration) {
	t.Helper()
	rows := rawTable(t, name)
	var wg sync.WaitGroup
	chunks := make(chan []types.WriteRequest)
	for range 8 {
		wg.Go(func() {
			for chunk := range chunks {
				_, err := rows.client.BatchWriteItem(context.Background(), &aws_dynamodb.BatchWriteItemInput{
					RequestItems: map[string][]types.WriteRequest{name: chunk},
				})
				assert.NoError(t, err)
			}
		})
	}
	var chunk []types.WriteRequest
	for i := range n {
		rec := record(fmt.Sprintf("session-%06d", i))
		rec.ClientID = fmt.Sprintf("client-%04d", i%2000)
		rec.UserID, rec.PreviewURL = "scott", "https://edit.amelia.webordinary.com/session/a"
		e := ready
		e.AskAt = begin.Add(over * time.Duration(i) / time.Duration(n))
		it := dynamodb.Encode(after(t, rec, wake, started, e))
		if chunk = append(chunk, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}}); len(chunk) == 25 || i == n-1 {
			chunks <- chunk
			chunk = nil
		}
	}
	close(chunks)
	wg.Wait()
}

// BenchmarkReaper is a minute of several edges with 10,000 active sessions, of which each
// is asked once in its idle timeout of half an hour. The edge on duty looks six times for
// what is due, writes each of the 333 answers, renews its duty, and sweeps every other
// minute; every edge looks twelve times which sessions may have been left behind, and who
// is on duty. The calls and units are the same on any machine.
func BenchmarkReaper(b *testing.B) {
	const active, every, look, renew = 10_000, 30 * time.Minute, 10 * time.Second, 5 * time.Second
	name := table(b)
	fill(b, name, active, every)
	r, m := metered(b, name)
	now, duty := begin, sessions.Lease{}
	for b.Loop() {
		m.take()
		asking, asked, each := newMeter(), newMeter(), newMeter()
		count := 0
		for range time.Minute / look {
			now = now.Add(look)
			due, err := r.Due(b.Context(), now, 200)
			require.NoError(b, err)
			asking.add(m.take())
			for _, rec := range due {
				count++
				rec = after(b, rec, sessions.Event{Kind: sessions.EventAsked, AskAt: now.Add(every), LastActivity: now})
				_, err := r.Update(b.Context(), rec, 0)
				require.NoError(b, err)
			}
			asked.add(m.take())
		}
		for range time.Minute / renew {
			_, err := r.Unsettled(b.Context(), active)
			require.NoError(b, err)
			_, err = r.Duty(b.Context())
			require.NoError(b, err)
			each.add(m.take())
			next := sessions.Lease{Holder: "edge", Beat: duty.Beat + 1}
			require.NoError(b, r.SetDuty(b.Context(), duty, next))
			duty = next
			asked.add(m.take())
		}
		swept, err := r.Due(b.Context(), begin.Add(24*time.Hour), active)
		require.NoError(b, err)
		require.Len(b, swept, active)
		sweep := m.take()
		total := asking.total() + asked.total() + each.total() + sweep.total()/2
		b.ReportMetric(float64(count), "due/min")
		b.ReportMetric(float64(total), "calls/min")
		b.ReportMetric(float64(each.total()), "calls/min-and-further-edge")
		b.ReportMetric(asking.units+each.units+sweep.units/2, "RCU/min")
		b.ReportMetric(asked.units, "WCU/min")
		b.Logf("reaper: %d store calls a minute for 10,000 active sessions, and %d for each further edge; "+
			"looking: %s; answers, and the duty: %s; each edge: %s; a sweep, every other minute: %s",
			total, each.total(), asking, asked, each, sweep)
	}
}

// BenchmarkStart is what an edge reads of 10,000 active sessions when it starts.
func BenchmarkStart(b *testing.B) {
	const active = 10_000
	name := table(b)
	fill(b, name, active, 5*time.Minute)
	r, m := metered(b, name)
	for b.Loop() {
		m.take()
		due, err := r.Due(b.Context(), begin.Add(time.Hour), active)
		require.NoError(b, err)
		require.Len(b, due, active)
		unsettled, err := r.Unsettled(b.Context(), active)
		require.NoError(b, err)
		require.Empty(b, unsettled)
		taken := m.take()
		b.ReportMetric(float64(taken.total()), "calls")
		b.ReportMetric(taken.units, "RCU")
		b.Logf("%s", taken)
	}
}
