package caddymodule

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
)

// addRunner has the configuration name the tests' containerboot.
func (c *testCLI) addRunner(binary string) {
	c.t.Helper()
	text, err := os.ReadFile(c.config)
	require.NoError(c.t, err)
	changed := strings.Replace(string(text), "public_origin", "runner process {\nbinary "+binary+"\n}\npublic_origin", 1)
	require.NoError(c.t, os.WriteFile(c.config, []byte(changed), 0o600))
}

func TestDoctor(t *testing.T) {
	c := newTestCLI(t)
	c.addRunner(containerboot)
	out, _, err := c.run("", "doctor")
	require.NoError(t, err, out)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 9)
	for i, check := range []string{"data folder", "clock", "config store", "session registry", "containerboot", "git", "node", "npm", "edge"} {
		assert.True(t, strings.HasPrefix(lines[i], "ok    "+check+": "), lines[i])
	}
	assert.Contains(t, lines[8], "none runs yet")

	out, _, err = c.run("", "doctor", "--json")
	require.NoError(t, err)
	var findings []Finding
	require.NoError(t, json.Unmarshal([]byte(out), &findings))
	assert.Len(t, findings, 9)
}

func TestDoctorFailures(t *testing.T) {
	c := newTestCLI(t)
	c.addRunner(filepath.Join(t.TempDir(), "none"))
	dir := filepath.Dir(c.config)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o600), "a file in the place of the data folder")
	tools := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(tools, "node"), []byte("#!/bin/sh\necho v18.19.0\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tools, "npm"), []byte("#!/bin/sh\nexit 3\n"), 0o755))
	t.Setenv("PATH", tools)
	listener, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	require.NoError(t, err)
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	out, _, err := c.run("", "doctor")
	require.EqualError(t, err, "8 of 8 checks failed")
	for _, want := range []string{
		"FAIL  data folder: " + filepath.Join(dir, "data") + " is no folder: set `data` to another one",
		"FAIL  config store: ",
		"FAIL  session registry: ",
		"FAIL  containerboot: ",
		"FAIL  git: is not on PATH: install git",
		"FAIL  node: v18.19.0 at " + filepath.Join(tools, "node") + " is too old: install Node 20.3",
		"FAIL  npm: running " + filepath.Join(tools, "npm") + " --version: exit status 3: install npm",
		"FAIL  edge: no edge is running: what answers at ",
	} {
		assert.Contains(t, out, want)
	}
}

func TestDoctorOfECS(t *testing.T) {
	forECS(t)
	fake := ecstest.Start(t, ecstest.Options{Define: func(d *ecstest.Definition) { d.NetworkMode = "bridge" }})
	c := newTestCLI(t)
	text, err := os.ReadFile(c.config)
	require.NoError(t, err)
	runner := fmt.Sprintf("runner ecs {\ncluster sessions\ntask_definition session\nsubnets subnet-1\nendpoint %s\n}\npublic_origin", fake.Endpoint())
	require.NoError(t, os.WriteFile(c.config, []byte(strings.Replace(string(text), "public_origin", runner, 1)), 0o600))
	out, _, err := c.run("", "doctor")
	require.EqualError(t, err, "1 of 9 checks failed")
	for _, want := range []string{
		"ok    ECS cluster: sessions in us-east-1 is active\n",
		"FAIL  ECS task definition: session:1 has the network mode \"bridge\": set networkMode to awsvpc",
		"ok    ECS network: subnet-1 with the VPC's default security group",
		"ok    ECS tasks: 0 of webordinary run\n",
	} {
		assert.Contains(t, out, want)
	}
}

func TestExamineClock(t *testing.T) {
	now := time.Date(2026, time.May, 1, 0, 0, 0, 0, time.UTC)
	assert.True(t, examineClock(now, now.Add(time.Second)).OK)
	assert.Contains(t, examineClock(now, now.Add(time.Hour)).Detail, "differs by 1h0m0s")
	assert.Contains(t, examineClock(time.Unix(0, 0), time.Unix(0, 0)).Detail, "1970")
}

func TestOlderThan(t *testing.T) {
	for text, want := range map[string]bool{
		"v20.3.1": false, "v20.2.0": true, "v18.19.0": true, "v22.0.0": false, "git version 2.39.5": false, "": false, "v": false, "7": false,
	} {
		version := [2]int{20, 3}
		if strings.HasPrefix(text, "git") {
			version = [2]int{2, 31}
		}
		assert.Equal(t, want, olderThan(text, version[0], version[1]), text)
	}
}

func TestTablesOfEmbeddedStores(t *testing.T) {
	c := newTestCLI(t)
	for _, args := range [][]string{nil, {"--dry-run"}} {
		out, errs, err := c.run("", append([]string{"tables", "create"}, args...)...)
		require.NoError(t, err)
		assert.Equal(t, "the configuration's stores are embedded and need no tables\n", out)
		assert.Empty(t, errs)
	}
	out, _, err := c.run("", "tables", "create", "--json")
	require.NoError(t, err)
	assert.Equal(t, "[]\n", out)
}
