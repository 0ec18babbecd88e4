package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/runner/ecs/ecstest"
)

// forECS lets clients of AWS find credentials, and nothing else.
func forECS(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "",
	} {
		t.Setenv(name, value)
	}
}

// A session on ECS lives through a reload and a restart of its edge, and sleeps; when ECS
// is at its worst, too.
func TestSessionOnECS(t *testing.T) {
	for name, moods := range map[string]ecstest.Moods{"good": {}, "worst": ecstest.Worst()} {
		t.Run(name, func(t *testing.T) { testSessionOnECS(t, moods) })
	}
}

func testSessionOnECS(t *testing.T, moods ecstest.Moods) {
	forECS(t)
	fake := ecstest.Start(t, ecstest.Options{Command: []string{containerboot}, Moods: moods})
	runner := func(size string) string {
		return fmt.Sprintf(`runner ecs {
			cluster         sessions
			task_definition session
			endpoint        %s
			subnets         subnet-1
			port            %d
			size            small %s
		}`, fake.Endpoint(), fake.Port(), size)
	}
	e := startEdge(t, runner("256 1024"))
	path := e.session()
	require.Len(t, fake.Tasks(), 1)
	assert.Equal(t, "256", fake.Tasks()[0].CPU)

	serves := func() {
		t.Helper()
		var got answer
		// An edge that has just started has no routing table for a moment.
		require.Eventually(t, func() bool {
			got = e.do(http.MethodGet, "edit.acme.test", path, http.Header{"Prefer": {"wait=30"}})
			return got.status == http.StatusOK
		}, 2*patience, 50*time.Millisecond)
		require.Contains(t, got.body, "It works.")
	}
	require.NoError(t, e.load("", runner("512 2048")))
	serves()
	require.NoError(t, caddy.Stop())
	require.NoError(t, e.load("", runner("512 2048")))
	serves()
	require.Len(t, fake.Tasks(), 1, "it is the same container")

	id := fake.Tasks()[0].SessionID
	require.NoError(t, e.live().service.Sleep(context.Background(), id, "tested"))
	assert.Equal(t, "STOPPED", fake.Tasks()[0].LastStatus)
	e.get(path) // wakes it
	serves()
	require.Len(t, fake.Tasks(), 2)
	assert.Equal(t, "512", fake.Tasks()[1].CPU)
	assert.Empty(t, fake.Doubles())
}

func TestECSRunnerModule(t *testing.T) {
	forECS(t)
	r := &ECSRunner{Cluster: "sessions", TaskDefinition: "session", Subnets: []string{"subnet-1"}}
	require.NoError(t, r.Validate())
	assert.Equal(t, "ecs:/sessions/webordinary", r.Identity("/data"))
	staging := *r
	staging.StartedBy, staging.Region = "staging", "eu-west-1"
	assert.Equal(t, "ecs:eu-west-1/sessions/staging", staging.Identity("/data"))
	staging.Port = 9000
	assert.Equal(t, "ecs:eu-west-1/sessions/staging", staging.Identity("/data"), "a tunable")

	opened, err := r.OpenRunner("/data", zap.NewNop())
	require.NoError(t, err)
	defer func() { assert.NoError(t, opened.Close(context.Background())) }()
	require.NoError(t, staging.Reconfigure(opened))
	broken := *r
	broken.Subnets = nil
	require.ErrorContains(t, broken.Reconfigure(opened), "subnets")
	_, err = broken.OpenRunner("/data", zap.NewNop())
	require.ErrorContains(t, err, "subnets")
	require.ErrorContains(t, r.Reconfigure(nil), "no ECS runner")
	t.Setenv("AWS_REGION", "")
	_, err = r.OpenRunner("/data", zap.NewNop())
	require.ErrorContains(t, err, "set `region`")
}
