package sessions_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/dynamodb"
)

// Three edges, each with its own client of the table, are asked for 300 sessions of a
// client at once: as many run as it may have, and everybody else is told why not.
func TestLimitIsExactOverAllEdges(t *testing.T) {
	const creates, limit = 300, 5
	local := dynamodblocal.Start(t)
	local.Setenv(t)
	b := newBench(t)
	b.put("cedar", limit, func(*configstore.Client) {})
	table := dynamodblocal.Prefix() + "edit-sessions"
	var edges []*sessions.Service
	var registries []*dynamodb.Registry
	for i := range 3 {
		c, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{Endpoint: local.URL})
		require.NoError(t, err)
		t.Cleanup(func() { dynamo.CloseIdle(c) })
		if i == 0 {
			_, err = dynamodb.CreateTable(t.Context(), c, table, false)
			require.NoError(t, err)
		}
		r, err := dynamodb.Open(dynamodb.Options{Client: c, Table: table, Logger: b.logger})
		require.NoError(t, err)
		registries = append(registries, r)
		t.Cleanup(func() { assert.NoError(t, r.Close()) })
		s, _ := b.edge(b.lease(15*time.Second), func(o *sessions.Options) { o.Registry = r })
		edges = append(edges, s)
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	begin, ids := make(chan struct{}), []string{}
	for i := range creates {
		wg.Go(func() {
			<-begin
			r, _, err := edges[i%len(edges)].Create(context.Background(), sessions.CreateRequest{ClientID: "cedar", Wake: true})
			if err != nil {
				assert.ErrorIs(t, err, sessions.ErrLimit)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, r.SessionID)
		})
	}
	began := time.Now()
	close(begin)
	wg.Wait()
	t.Logf("%d creations for %d slots by %d edges: %s", creates, limit, len(edges), time.Since(began))
	require.Len(t, ids, limit)
	for _, id := range ids {
		b.active(edges[0], id)
	}
	assert.Len(t, b.machine.started(), limit)
	held, err := registries[1].Running(t.Context(), "cedar")
	require.NoError(t, err)
	assert.ElementsMatch(t, ids, held)

	// One that sleeps makes room for one, at every edge.
	require.NoError(t, edges[1].Sleep(t.Context(), ids[0], "asked for"))
	_, _, err = edges[2].Create(t.Context(), sessions.CreateRequest{ClientID: "cedar", Wake: true})
	require.NoError(t, err)
	_, err = edges[1].Wake(t.Context(), ids[0])
	require.ErrorIs(t, err, sessions.ErrLimit)
}
