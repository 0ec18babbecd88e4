//go:build unix

package ecs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/runner/ecs/ecstest"
	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/runnertest"
)

// quick are times that suit a test. What must outlast a mood's lag does.
var quick = timing{
	attempt:       10 * time.Second,
	describeEvery: 20 * time.Millisecond, surveyEvery: 20 * time.Millisecond, stopPoll: 20 * time.Millisecond,
	patience: 30 * time.Second, readPatience: 20 * time.Second,
	missingKnown: 10 * time.Second, missingUnknown: 3 * time.Second,
	settle: time.Second, keepEnded: time.Hour,
}

// fakeECS starts an ECS whose containers are the test's own program.
func fakeECS(t *testing.T, o ecstest.Options) *ecstest.Server {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	if o.Command == nil {
		o.Command = []string{self}
	}
	return ecstest.Start(t, o)
}

// madeUpECS starts an ECS whose containers are made up.
func madeUpECS(t *testing.T, o ecstest.Options) *ecstest.Server {
	t.Helper()
	o.Command = nil
	return ecstest.Start(t, o)
}

func options(t *testing.T, fake *ecstest.Server) Options {
	t.Helper()
	client, err := NewClient(t.Context(), ClientOptions{Region: fake.Region(), Endpoint: fake.Endpoint()})
	require.NoError(t, err)
	return Options{
		Client: client, Cluster: "sessions", StartedBy: "tests",
		Tunables: Tunables{TaskDefinition: "session", Subnets: []string{"subnet-1"}, Port: fake.Port()},
	}
}

func newRunner(t *testing.T, o Options) *Runner {
	t.Helper()
	r, err := New(o)
	require.NoError(t, err)
	r.timing = quick
	return r
}

// runner returns a runner that is closed with the test.
func runner(t *testing.T, fake *ecstest.Server, changes ...func(*Options)) *Runner {
	t.Helper()
	o := options(t, fake)
	for _, change := range changes {
		change(&o)
	}
	r := newRunner(t, o)
	t.Cleanup(func() { assert.NoError(t, r.Close(context.Background())) })
	return r
}

func logTo(log *zap.Logger) func(*Options) { return func(o *Options) { o.Logger = log } }

func request(id string, epoch int64) sessions.StartRequest {
	return sessions.StartRequest{SessionID: id, ClientID: "amelia", Epoch: epoch, TokenHash: bootapi.HashToken(id), Size: "small"}
}

// conformance runs the suite on an ECS in some mood.
func conformance(t *testing.T, o ecstest.Options) {
	fakes := map[sessions.Runner]*ecstest.Server{}
	runnertest.Run(t, runnertest.Options{
		New: func(t *testing.T) sessions.Runner {
			fake := fakeECS(t, o)
			t.Cleanup(func() { assert.Empty(t, fake.Doubles()) })
			r := newRunner(t, options(t, fake))
			fakes[r] = fake
			return r
		},
		Another: func(t *testing.T, r sessions.Runner) sessions.Runner {
			return newRunner(t, options(t, fakes[r]))
		},
		Crash: func(t *testing.T, r sessions.Runner, c sessions.Container) {
			require.NoError(t, fakes[r].Signal(c.Ref, syscall.SIGKILL))
		},
		Outlive: true,
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	conformance(t, ecstest.Options{})
}

func TestConformanceInTheWorstMoods(t *testing.T) {
	t.Parallel()
	conformance(t, ecstest.Options{Moods: ecstest.Worst()})
}

func TestConformanceWithContainerboot(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "containerboot")
	out, err := exec.Command("go", "build", "-o", binary, "github.com/webordinary/router/cmd/containerboot").CombinedOutput()
	require.NoError(t, err, string(out))
	conformance(t, ecstest.Options{Command: []string{binary}, Moods: ecstest.Moods{
		Provision: ecstest.Duration(50 * time.Millisecond), Pull: ecstest.Duration(50 * time.Millisecond), ReuseAddresses: true,
	}})
}
