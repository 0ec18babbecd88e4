package daemon_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/daemon"
	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/internal/leaktest"
)

// The test's binary is the server as well: it listens at ADDRESS until it is asked to end.
const asServer = "DAEMON_TEST_ADDRESS"

func TestMain(m *testing.M) {
	if addr := os.Getenv(asServer); addr != "" {
		if _, err := os.Stat(os.Getenv("BROKEN")); err == nil {
			os.Stderr.WriteString("Error: listen EADDRINUSE\n")
			_ = os.Remove(os.Getenv("BROKEN"))
			os.Exit(1)
		}
		_ = http.ListenAndServe(addr, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				os.Exit(0)
			}
		}))
		os.Exit(1)
	}
	leaktest.VerifyTestMain(m)
}

const patience = time.Minute

func config(t *testing.T) daemon.Config {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken")
	return daemon.Config{
		StartTimeout: patience,
		Command: func(host, port string) tool.Command {
			return tool.Command{Name: "server", Args: []string{self}, Dir: "/", Env: []string{asServer + "=" + host + ":" + port, "BROKEN=" + broken}}
		},
	}
}

func start(t *testing.T, c daemon.Config) *daemon.Daemon {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d, err := daemon.Start(ctx, c)
	require.NoError(t, err)
	t.Cleanup(func() { d.Stop(context.Background()) })
	return d
}

// end has a server end by itself.
func end(t *testing.T, d *daemon.Daemon) (was string) {
	t.Helper()
	addr, err := d.Wait(t.Context())
	require.NoError(t, err)
	resp, err := http.Get("http://" + addr + "/end")
	if err == nil {
		resp.Body.Close()
	}
	return addr
}

func TestKeepsUp(t *testing.T) {
	t.Parallel()
	ended, up := make(chan error, 10), make(chan struct{}, 10)
	c := config(t)
	c.Ended = func(err error, again time.Duration) {
		assert.Positive(t, again)
		ended <- err
	}
	c.Up = func() { up <- struct{}{} }
	d := start(t, c)
	for range 2 {
		was := end(t, d)
		require.ErrorIs(t, <-ended, daemon.ErrEnded)
		<-up
		addr, err := d.Wait(t.Context())
		require.NoError(t, err)
		assert.NotEqual(t, was, addr)
		assert.True(t, d.IsUp())
	}
	was, err := d.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Restart(t.Context()))
	addr, err := d.Wait(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, was, addr)
	d.Stop(t.Context())
	_, err = d.Wait(t.Context())
	require.ErrorIs(t, err, daemon.ErrStopped)
	require.ErrorIs(t, d.Restart(t.Context()), daemon.ErrStopped)
	assert.Empty(t, ended, "a stop and a restart are no end")
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	c := config(t)
	for name, test := range map[string]struct {
		script string
		change func(*daemon.Config)
		want   error
	}{
		"ends":   {"exit 0", func(*daemon.Config) {}, daemon.ErrEnded},
		"silent": {"exec sleep 600", func(c *daemon.Config) { c.StartTimeout = time.Millisecond }, daemon.ErrSilent},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c
			c.Command = func(_, _ string) tool.Command {
				return tool.Command{Name: "server", Args: []string{"/bin/sh", "-c", test.script}, Dir: "/"}
			}
			test.change(&c)
			_, err := daemon.Start(t.Context(), c)
			require.ErrorIs(t, err, test.want)
		})
	}
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		c := c
		c.Command = func(_, _ string) tool.Command {
			return tool.Command{Name: "server", Args: []string{"/bin/sh", "-c", "echo why; exit 3"}, Dir: "/"}
		}
		_, err := daemon.Start(t.Context(), c)
		var failed *tool.Error
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, 3, failed.Code)
		assert.Equal(t, []string{"why"}, failed.Lines)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
	})
}

// TestAddressTaken: somebody else may have taken the address that was free a moment ago.
func TestAddressTaken(t *testing.T) {
	t.Parallel()
	c := config(t)
	broken := c.Command("", "").Env[1][len("BROKEN="):]
	require.NoError(t, os.WriteFile(broken, nil, 0o600))
	start(t, c)
	assert.NoFileExists(t, broken)
}
