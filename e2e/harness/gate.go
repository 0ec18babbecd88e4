package harness

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Gate is an edge's way to a service of AWS, at which calls can be stopped.
type Gate struct {
	// URL is where the edge finds the service.
	URL string

	mu    sync.Mutex
	stops []*Stop
}

// Call is a call of the service.
type Call struct {
	// Action is what is called, without the service's name: RunTask.
	Action string
	Body   string
}

// Moment is when a call is stopped.
type Moment int

const (
	// Unsent: the service never hears of the call.
	Unsent Moment = iota
	// Unanswered: the service has done what was asked, and the edge does not hear of it.
	Unanswered
)

// Stop is a point at which an edge gets no further, whatever it tries.
type Stop struct {
	matches func(Call) bool
	moment  Moment
	once    sync.Once
	reached chan struct{}
	lifted  chan struct{}
}

type stopKey struct{}

var errStopped = errors.New("the answer was held back")

// NewGate makes a way to a service for the time of a test.
func NewGate(t testing.TB, service string) *Gate {
	t.Helper()
	target, err := url.Parse(service)
	require.NoError(t, err)
	g := new(Gate)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	// Whose edge was killed, and what the ECS cuts off: the edge is to see that, too.
	forward.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	forward.ModifyResponse = func(r *http.Response) error {
		if s, ok := r.Request.Context().Value(stopKey{}).(*Stop); ok {
			s.hold(r.Request.Context())
			return errStopped
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		action := r.Header.Get("X-Amz-Target")
		if s := g.stop(Call{Action: action[strings.LastIndexByte(action, '.')+1:], Body: string(body)}); s != nil {
			if s.moment == Unanswered {
				r = r.WithContext(context.WithValue(r.Context(), stopKey{}, s))
			} else {
				s.hold(r.Context())
				panic(http.ErrAbortHandler)
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		forward.Transport.(*http.Transport).CloseIdleConnections()
	})
	g.URL = server.URL
	return g
}

// stop is where a call is to be stopped, if it is.
func (g *Gate) stop(c Call) *Stop {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.stops {
		if s.matches(c) {
			return s
		}
	}
	return nil
}

// hold waits until the caller has gone or the stop is lifted.
func (s *Stop) hold(ctx context.Context) {
	s.once.Do(func() { close(s.reached) })
	select {
	case <-s.lifted:
	case <-ctx.Done():
	}
}

// Stop stops all calls that match from now on. Until Lift.
func (g *Gate) Stop(moment Moment, matches func(Call) bool) *Stop {
	s := &Stop{matches: matches, moment: moment, reached: make(chan struct{}), lifted: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stops = append(g.stops, s)
	return s
}

// Await waits until the edge has come to the stop.
func (s *Stop) Await(t testing.TB) {
	t.Helper()
	select {
	case <-s.reached:
	case <-time.After(Patience):
		require.FailNow(t, "the edge never made the call that it was to be stopped at")
	}
}

// Lift ends all stops. The connections of what was stopped break; what is called from
// now on passes.
func (g *Gate) Lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.stops {
		close(s.lifted)
	}
	g.stops = nil
}
