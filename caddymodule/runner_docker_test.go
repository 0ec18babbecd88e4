package caddymodule

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/runner/docker"
)

func TestDockerRunnerKeepsItsDeploymentsName(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	name, err := ownDeployment(data)
	require.NoError(t, err)
	require.NoError(t, docker.CheckName(name))
	again, err := ownDeployment(data)
	require.NoError(t, err)
	assert.Equal(t, name, again)
	other, err := ownDeployment(t.TempDir())
	require.NoError(t, err)
	assert.NotEqual(t, name, other)

	require.NoError(t, os.WriteFile(filepath.Join(data, "docker.deployment"), nil, 0o600))
	_, err = ownDeployment(data)
	require.ErrorContains(t, err, "docker.deployment")
}

func TestDockerRunnerIsReconfigured(t *testing.T) {
	first := &DockerRunner{Host: "unix:///nowhere/engine.sock"}
	data := t.TempDir()
	runner, err := first.OpenRunner(data, zap.NewNop())
	require.NoError(t, err, "the engine may come later")
	t.Cleanup(func() { assert.NoError(t, runner.Close(t.Context())) })

	second := &DockerRunner{Host: first.Host, Image: "another", User: "1000"}
	assert.Equal(t, first.Identity(data), second.Identity(data))
	require.NoError(t, second.Reconfigure(runner))
	second.User = "me"
	require.ErrorContains(t, second.Reconfigure(runner), "user: must be")
	require.Error(t, (&ProcessRunner{}).Reconfigure(runner))

	for what, r := range map[string]*DockerRunner{
		"host": {Host: "tcp://engine:2375"}, "deployment": {Host: first.Host, Deployment: "studio"}, "TLS": {Host: first.Host, TLS: &DockerTLS{CA: "x"}},
	} {
		assert.NotEqual(t, first.Identity(data), r.Identity(data), what)
	}
	assert.NotEqual(t, first.Identity(data), first.Identity(t.TempDir()))
	shared := &DockerRunner{Deployment: "studio"}
	assert.Equal(t, shared.Identity(data), shared.Identity(t.TempDir()), "edges have data folders of their own")
}

func TestDockerRunnerIsExamined(t *testing.T) {
	findings := (&DockerRunner{Host: "unix:///nowhere/engine.sock"}).Examine(t.Context(), t.TempDir())
	require.Len(t, findings, 1)
	assert.False(t, findings[0].OK)
	assert.Contains(t, findings[0].Detail, "no Docker Engine answers at unix:///nowhere/engine.sock: start it")
}

func TestDataFolderIsOneEdges(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	lock, err := lockData(data)
	require.NoError(t, err)
	_, err = lockData(data)
	require.ErrorContains(t, err, "uses "+data+": end it first")
	require.NoError(t, lock.Close())
	lock, err = lockData(data)
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}
