package site_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

// fixed is a program's address that never changes.
type fixed string

func (f fixed) Wait(context.Context) (string, error) { return string(f), nil }

// TestProgramThatEnds drops a connection that it has taken: who looks is answered by the
// next one, and what somebody sent is sent once.
func TestProgramThatEnds(t *testing.T) {
	for method, want := range map[string]struct{ status, connections int }{
		http.MethodGet:  {http.StatusOK, 2},
		http.MethodPost: {http.StatusBadGateway, 1},
	} {
		t.Run(method, func(t *testing.T) {
			var connections atomic.Int32
			origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "back")
			}))
			origin.Config.ConnState = func(c net.Conn, state http.ConnState) {
				if state == http.StateActive && connections.Add(1) == 1 {
					_ = c.(*net.TCPConn).SetLinger(0) // a reset, as of what the kernel drops
					_ = c.Close()
				}
			}
			origin.Start()
			t.Cleanup(origin.Close)
			p := site.NewProgram(site.ProgramConfig{Target: fixed(origin.Listener.Addr().String())})
			t.Cleanup(p.Close)
			proxy := httptest.NewServer(p)
			t.Cleanup(proxy.Close)

			var body io.Reader
			if method == http.MethodPost {
				body = strings.NewReader("x")
			}
			r, err := http.NewRequestWithContext(t.Context(), method, proxy.URL, body)
			require.NoError(t, err)
			resp, err := proxy.Client().Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, want.status, resp.StatusCode)
			assert.EqualValues(t, want.connections, connections.Load())
		})
	}
}
