package dynamo

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A failed attempt costs the idle connections, one that was given up does not.
func TestTransportForgetsConnections(t *testing.T) {
	var opened atomic.Int64
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			arrived <- struct{}{}
			<-r.Context().Done()
		case "/waits":
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/breaks":
			panic(http.ErrAbortHandler)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close) // when the test's context, and what hangs with it, has ended
	client := newTransport(builder())
	t.Cleanup(client.CloseIdleConnections)
	call := func(ctx context.Context, path string) error {
		// A POST, as DynamoDB's are: the transport does not send it again by itself.
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, nil)
		require.NoError(t, err)
		response, err := client.Do(r)
		if err == nil {
			err = response.Body.Close()
		}
		return err
	}
	require.NoError(t, call(t.Context(), "/"))
	require.EqualValues(t, 1, opened.Load())

	// Two at once: one connection is busy, and the other idle when the first is given up.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- call(ctx, "/hangs") }()
	<-arrived
	require.NoError(t, call(t.Context(), "/"))
	require.EqualValues(t, 2, opened.Load())
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NoError(t, call(t.Context(), "/"))
	assert.EqualValues(t, 2, opened.Load(), "the idle connection was kept")

	// Two that are idle, one of which breaks.
	go func() { ended <- call(t.Context(), "/waits") }()
	<-arrived
	require.NoError(t, call(t.Context(), "/"))
	require.EqualValues(t, 3, opened.Load())
	release <- struct{}{}
	require.NoError(t, <-ended)
	require.Error(t, call(t.Context(), "/breaks"))
	require.NoError(t, call(t.Context(), "/"))
	assert.EqualValues(t, 4, opened.Load(), "the other one was closed")
}
