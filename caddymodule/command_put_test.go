package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// variant is acme's configuration with another id and host, and one text replaced by another.
func variant(id, from, to string) string {
	return strings.Replace(strings.NewReplacer("acme", id, "Acme", id).Replace(acme), from, to, 1)
}

func TestPutReportsEveryFaultAndWritesNothing(t *testing.T) {
	c := newTestCLI(t)
	input := "[" + variant("good", "", "") + ",\n" + variant("other", ":10", ":0") + ",\n" +
		variant("third", `"branch":"main"`, `"branch":"","brunch":1`) + ",\n" + variant("good", "", "") + "]"
	_, _, err := c.run(input, "client", "put", "-")
	require.Error(t, err)
	assert.Equal(t, []string{
		"4 faults, nothing was written",
		"config 2 (line 4), other: settings.idleTimeoutMinutes: must be between 1 and 1440, got 0",
		"config 3 (line 7), third: repository.brunch: unknown field",
		"config 3 (line 7), third: repository.branch: must not be empty",
		`config 4 (line 10), good: clientId: "good" stands already at config 1 (line 1)`,
	}, strings.Split(err.Error(), "\n"), "one fault a line")
	out, _, err := c.run("", "client", "list", "--json")
	require.NoError(t, err)
	assert.Equal(t, "[]\n", out)

	out, _, err = c.run(input, "client", "validate", "-", "--json")
	require.Error(t, err)
	var result validation
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	assert.Equal(t, 1, result.Valid)
	require.Len(t, result.Faults, 4)
	assert.Equal(t, inputFault{
		Config: 2, Line: 4, ClientID: "other",
		Fault: configstore.Fault{Path: "settings.idleTimeoutMinutes", Message: "must be between 1 and 1440, got 0"},
	}, result.Faults[0])
}

func TestPutRefusesTwoClaimsInOneInput(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(acme+"\n"+strings.Replace(acme, `"acme"`, `"copy"`, 1), "client", "put", "-")
	require.ErrorContains(t, err, `host "edit.acme.example" is claimed by "acme" too`)
	_, _, err = c.run(acme+"\n"+acme, "client", "put", "-")
	require.ErrorContains(t, err, `"acme" stands already`)
}

func TestPutIfVersion(t *testing.T) {
	c := newTestCLI(t)
	put := func(input string, args ...string) (string, error) {
		out, _, err := c.run(input, append([]string{"client", "put", "-"}, args...)...)
		return out, err
	}
	_, err := put(acme, "--if-version", "1")
	require.ErrorContains(t, err, `client "acme" is not stored, but was expected at version 1`)
	_, err = put(acme)
	require.NoError(t, err)
	out, err := put(acme, "--if-version", "1")
	require.NoError(t, err)
	assert.Equal(t, "acme  unchanged (version 1)\n", out)
	out, err = put(variant("acme", ":10", ":20"), "--if-version", "1")
	require.NoError(t, err)
	assert.Contains(t, out, "acme  changed (version 2)")
	for _, dry := range [][]string{nil, {"--dry-run"}} {
		_, err = put(variant("acme", ":10", ":30"), append(dry, "--if-version", "1")...)
		require.EqualError(t, err, `client "acme" is at version 2, not 1: somebody changed it since; read it again`)
	}
	_, err = put(acme+variant("b", "", ""), "--if-version", "1")
	require.ErrorContains(t, err, "the version of one client, and there are 2")
	_, err = put(acme, "--if-version", "-3")
	require.ErrorContains(t, err, "must not be negative")
	_, err = put(acme, "--if-version", "abc")
	require.ErrorContains(t, err, `"--if-version" flag: must be a number`)
	_, err = put(acme, "--if-version", "9")
	require.EqualError(t, err, `client "acme" is at version 2, not 9: it was deleted and made anew, or never had that version; read it again`)

	_, _, err = c.run("", "client", "delete", "acme", "--if-version", "1")
	require.ErrorContains(t, err, `client "acme" is at version 2, not 1`)
	_, _, err = c.run("", "client", "delete", "acme", "--if-version", "2")
	require.NoError(t, err)
}

func TestPutDryRun(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(acme, "client", "put", "-")
	require.NoError(t, err)
	out, errs, err := c.run(variant("acme", ":10", ":20")+variant("b", "", ""), "client", "put", "-", "--dry-run")
	require.NoError(t, err)
	assert.Equal(t, "acme  would be changed (version 1)\n  settings.idleTimeoutMinutes: 10 → 20\nb  would be created\n", out)
	assert.Equal(t, "dry run: nothing was written\n", errs)
	out, _, err = c.run("", "client", "list")
	require.NoError(t, err)
	assert.NotContains(t, out, "edit.b.example")
}

func TestPutRedactsKeys(t *testing.T) {
	c := newTestCLI(t)
	key := func(text string) string {
		return `"branch":"main","deployKey":"-----BEGIN PRIVATE KEY-----\n` + text + `\n-----END PRIVATE KEY-----\n"`
	}
	ssh := strings.Replace(acme, "https://git.example.com/acme.git", "git@git.example.com:acme.git", 1)
	for _, text := range []string{"c2VjcmV0", "YW5vdGhlcg=="} {
		for _, args := range [][]string{{"--dry-run"}, {"--dry-run", "--json"}, {"--json"}} {
			out, errs, err := c.run(strings.Replace(ssh, `"branch":"main"`, key(text), 1), append([]string{"client", "put", "-"}, args...)...)
			require.NoError(t, err)
			assert.NotContains(t, out+errs, text)
		}
	}
}

func TestPutMovesHostsBetweenClientsOfOneFile(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(variant("a", "", "")+variant("b", "", ""), "client", "put", "-")
	require.NoError(t, err)
	_, _, err = c.run(variant("b", "Edit.b.Example.", "edit.a.example"), "client", "put", "-")
	require.EqualError(t, err, `putting client "b": host "edit.a.example" is taken by another client`)
	out, _, err := c.run(variant("a", "Edit.a.Example.", "edit.b.example")+variant("b", "Edit.b.Example.", "edit.a.example"), "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "a  changed (version 2)\n  domains.edit: \"edit.a.example\" → \"edit.b.example\"\n"+
		"b  changed (version 2)\n  domains.edit: \"edit.b.example\" → \"edit.a.example\"\n", out)
}

func TestPutOfVeryMany(t *testing.T) {
	c := newTestCLI(t)
	var b strings.Builder
	const n = manyClients + 200
	for i := range n {
		b.WriteString(variant(fmt.Sprintf("c%d", i), "", "") + "\n")
	}
	file := filepath.Join(t.TempDir(), "clients.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	out, _, err := c.run("", "client", "put", file)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d clients: %[1]d created, 0 changed, 0 unchanged\n", n), out)

	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(b.String(), ":10", ":20", 1)), 0o600))
	out, _, err = c.run("", "client", "put", file, "--dry-run")
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d clients would be: 0 created, 1 changed, %d unchanged\n", n, n-1), out)
	out, _, err = c.run("", "client", "put", file)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("%d clients: 0 created, 1 changed, %d unchanged\n", n, n-1), out)

	// A host that is taken ends it, and says how far it is.
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(b.String(), ":10", ":30")+variant("thief", "Edit.thief.Example.", "edit.c3.example")), 0o600))
	_, _, err = c.run("", "client", "put", file)
	require.ErrorContains(t, err, `is claimed by "c3" too`)

	out, _, err = c.run("", "client", "list")
	require.NoError(t, err)
	assert.Equal(t, n+1, strings.Count(out, "\n"))
	out, _, err = c.run("", "client", "list", "--after", "c99", "--limit", "10")
	require.NoError(t, err)
	assert.Equal(t, 11, strings.Count(out, "\n"))
	assert.Contains(t, out, "c990 ")
	var infos []clientInfo
	out, _, err = c.run("", "client", "list", "--json", "--limit", "600")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(out), &infos))
	assert.Len(t, infos, 600)
	assert.Contains(t, c.complete("client", "get", "c77"), "c770")
	assert.Contains(t, c.complete("client", "list", "--after", ""), "c0")
	assert.Equal(t, []string{"1"}, c.complete("client", "delete", "c770", "--if-version", ""))
}
