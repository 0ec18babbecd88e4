package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testCLI runs commands on a configuration of its own, whose edge does not run.
type testCLI struct {
	t      *testing.T
	config string
}

func newTestCLI(t *testing.T) *testCLI {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(config, []byte(`{
		admin unix/`+dir+`/admin.sock
		webordinary {
			data `+dir+`/data
			hosts {client}-edit.pattern.test
			public_origin https://:8443
		}
	}`), 0o600))
	return &testCLI{t: t, config: config}
}

func (c *testCLI) run(stdin string, args ...string) (stdout, stderr string, err error) {
	return c.execute(stdin, append(args, "--config", c.config))
}

// complete returns what the shell is offered for the last of some arguments.
func (c *testCLI) complete(args ...string) []string {
	out, _, err := c.execute("", append([]string{cobra.ShellCompNoDescRequestCmd, "--config", c.config}, args...))
	require.NoError(c.t, err)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[:len(lines)-1] // the last is the directive
}

func (c *testCLI) execute(stdin string, args []string) (stdout, stderr string, err error) {
	root := &cobra.Command{Use: "caddy", SilenceErrors: true}
	cmd := &cobra.Command{Use: "webordinary"}
	webordinaryCommand(cmd)
	root.AddCommand(cmd)
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	if args[0] == cobra.ShellCompNoDescRequestCmd {
		args = append([]string{args[0], "webordinary"}, args[1:]...)
	} else {
		args = append([]string{"webordinary"}, args...)
	}
	root.SetArgs(args)
	err = root.Execute()
	return out.String(), errs.String(), err
}

const acme = `{"clientId":"acme","domains":{"production":"acme.example","edit":"Edit.Acme.Example."},
"repository":{"url":"https://git.example.com/acme.git","branch":"main"},
"settings":{"containerSize":"small","idleTimeoutMinutes":10,"maxConcurrentSessions":2}}`

func TestClientCommandsWithoutAnEdge(t *testing.T) {
	c := newTestCLI(t)
	out, _, err := c.run(acme, "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "acme  created (version 1)\n", out)
	out, _, err = c.run(acme, "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "acme  unchanged (version 1)\n", out)
	out, _, err = c.run(strings.Replace(acme, ":10", ":20", 1), "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "acme  changed (version 2)\n  settings.idleTimeoutMinutes: 10 → 20\n", out)

	out, _, err = c.run("", "client", "list", "--links")
	require.NoError(t, err)
	assert.Equal(t, "acme  https://edit.acme.example:8443/new\n", out)
	out, _, err = c.run("", "client", "list", "--links", "--json")
	require.NoError(t, err)
	assert.JSONEq(t, `[{"clientId":"acme","url":"https://edit.acme.example:8443/new"}]`, out)

	out, _, err = c.run("", "client", "get", "acme", "--json")
	require.NoError(t, err)
	var info clientInfo
	require.NoError(t, json.Unmarshal([]byte(out), &info))
	assert.Equal(t, "edit.acme.example", info.Config.Domains.Edit)
	assert.EqualValues(t, 2, info.Version)

	_, _, err = c.run("", "client", "delete", "acme")
	require.NoError(t, err)
	_, _, err = c.run("", "client", "get", "acme")
	require.ErrorContains(t, err, "not found")
	out, _, err = c.run("", "client", "list", "--json")
	require.NoError(t, err)
	assert.Equal(t, "[]\n", out)
}

func TestSessionCommandsWithoutAnEdge(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(acme, "client", "put", "-")
	require.NoError(t, err)

	out, _, err := c.run("", "session", "create", "acme", "--user", "jo", "--thread", "spring", "--json")
	require.NoError(t, err)
	var made sessionInfo
	require.NoError(t, json.Unmarshal([]byte(out), &made))
	assert.Equal(t, "inactive", string(made.Status))
	assert.Equal(t, "spring", made.EditBranch)
	assert.Equal(t, "https://edit.acme.example:8443/session/"+made.SessionID, made.PreviewURL)
	assert.NotContains(t, strings.ToLower(out), "token")

	out, _, err = c.run("", "session", "create", "acme", "--thread", "spring", "--json")
	require.NoError(t, err)
	var again sessionInfo
	require.NoError(t, json.Unmarshal([]byte(out), &again))
	assert.Equal(t, made.SessionID, again.SessionID, "a thread has one session")

	out, _, err = c.run("", "session", "list", "acme")
	require.NoError(t, err)
	assert.Contains(t, out, made.SessionID)

	for _, verb := range []string{"wake", "sleep"} {
		_, _, err = c.run("", "session", verb, made.SessionID)
		require.ErrorContains(t, err, "no edge is running", verb)
	}
	_, _, err = c.run("", "session", "create", "nobody")
	require.ErrorContains(t, err, "not found")
	_, _, err = c.run("", "session", "delete", made.SessionID)
	require.NoError(t, err)
	_, _, err = c.run("", "session", "get", made.SessionID)
	require.ErrorContains(t, err, "not found")
}

func TestUnknownCommandsAreErrors(t *testing.T) {
	c := newTestCLI(t)
	for want, args := range map[string][]string{
		"unknown command":      {"client", "rename", "acme"},
		`unknown command "fro`: {"session", "frob"},
		"unknown flag":         {"client", "put", "-", "--deploy-key", "x"},
		"(0): the command is `caddy webordinary client get ID": {"client", "get"},
		"(2): the command is": {"client", "put", "a.json", "b.json"},
		"is a directory":      {"client", "put", "testdata"},
	} {
		_, _, err := c.run(acme, args...)
		require.ErrorContains(t, err, want)
	}
	_, _, err := c.run("", "client")
	require.NoError(t, err, "alone it prints its help")
}

func TestCommandsNameAMissingConfiguration(t *testing.T) {
	c := &testCLI{t: t, config: filepath.Join(t.TempDir(), "Caddyfile")}
	_, _, err := c.run("", "client", "list")
	require.ErrorContains(t, err, "--config")
}
