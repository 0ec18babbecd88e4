package caddymodule

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// age makes the stored rows those of older tools: without versions and claims.
func (c *testCLI) age(updates ...string) {
	c.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(c.config), "data", "webordinary.db"))
	require.NoError(c.t, err)
	defer db.Close()
	for _, statement := range append([]string{
		`UPDATE configstore_clients SET version = 0`, `DELETE FROM configstore_hosts`, `DELETE FROM configstore_changes`,
	}, updates...) {
		_, err := db.ExecContext(c.t.Context(), statement)
		require.NoError(c.t, err, statement)
	}
}

func TestImportUpgradesInPlace(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(acme+variant("b", "", "")+variant("c", "", ""), "client", "put", "-")
	require.NoError(t, err)
	out, _, err := c.run("", "client", "import")
	require.NoError(t, err, "there is nothing to ask about")
	assert.Equal(t, "3 up to date\n", out)

	c.age(`UPDATE configstore_clients SET config = replace(config, '"settings":{', '"settings":{"theme":"blue",') WHERE id = 'acme'`,
		`UPDATE configstore_clients SET config = replace(config, 'edit.c.example', 'edit.b.example') WHERE id = 'c'`)
	plan := `2 to upgrade: acme, b
0 up to date
1 in conflict, left as they are:
  c: host "edit.b.example" is claimed by "b" too
acme: unknown field, kept: settings.theme
`
	out, _, err = c.run("", "client", "import")
	require.ErrorContains(t, err, "nothing was written: --yes")
	assert.Equal(t, plan, out)
	out, errs, err := c.run("", "client", "import", "--dry-run")
	require.EqualError(t, err, "left as they are: 1 in conflict; mend them, then import again")
	assert.Equal(t, plan, out)
	assert.Equal(t, "dry run: nothing was written\n", errs)

	out, _, err = c.run("", "client", "import", "--yes")
	require.ErrorContains(t, err, "1 in conflict")
	assert.Equal(t, plan+"2 of 2 clients written\n", out)
	out, _, err = c.run("", "client", "get", "acme", "--json")
	require.NoError(t, err)
	assert.Contains(t, out, `"version": 1`)

	out, _, err = c.run("", "client", "import", "--yes", "--json")
	require.Error(t, err)
	var done imported
	require.NoError(t, json.Unmarshal([]byte(out), &done))
	assert.Zero(t, done.Written)
	assert.Equal(t, 2, done.Unchanged)
	require.Len(t, done.Rows, 1)
	assert.Equal(t, "c", done.Rows[0].ClientID)

	// put mends the one in conflict, and thereby upgrades it.
	out, _, err = c.run(variant("c", "", ""), "client", "put", "-")
	require.NoError(t, err)
	assert.Equal(t, "c  upgraded from an older row (version 1)\n  domains.edit: \"edit.b.example\" → \"edit.c.example\"\n", out)
	out, _, err = c.run("", "client", "import")
	require.NoError(t, err)
	assert.Equal(t, "3 up to date\n", out)
}

func TestListSaysWhichRowsAreNotServed(t *testing.T) {
	c := newTestCLI(t)
	_, _, err := c.run(acme+variant("b", "", ""), "client", "put", "-")
	require.NoError(t, err)
	c.age(`UPDATE configstore_clients SET config = replace(config, ':10', ':0') WHERE id = 'b'`)
	const fault = "settings.idleTimeoutMinutes: must be between 1 and 1440, got 0"
	out, _, err := c.run("", "client", "list")
	require.NoError(t, err)
	assert.Contains(t, out, "  enabled\n")
	assert.Contains(t, out, "  broken: "+fault+"\n")
	out, _, err = c.run("", "client", "list", "--links")
	require.NoError(t, err)
	assert.Equal(t, "acme  https://edit.acme.example:8443/new\n", out, "b's host answers 404")
	out, _, err = c.run("", "client", "get", "b", "--json")
	require.NoError(t, err)
	assert.Contains(t, out, `"broken": "`+fault)
}

func TestImportOfAFile(t *testing.T) {
	c := newTestCLI(t)
	scan := `{"Items":[{"clientId":{"S":"acme"},"owner":{"S":"jo"},"config":{"M":{"clientId":{"S":"acme"},
		"domains":{"M":{"production":{"S":"acme.example"},"edit":{"S":"Edit.acme.example"}}},
		"repository":{"M":{"url":{"S":"https://git.example.com/acme.git"},"branch":{"S":"main"}}},
		"settings":{"M":{"containerSize":{"S":"small"},"idleTimeoutMinutes":{"N":"10"},"maxConcurrentSessions":{"N":"2"}}},
		"legacy":{"BOOL":true}}}}],"Count":1}`
	file := filepath.Join(t.TempDir(), "scan.json")
	require.NoError(t, os.WriteFile(file, []byte(scan), 0o600))
	out, _, err := c.run("", "client", "import", file, "--yes")
	require.NoError(t, err)
	assert.Equal(t, "1 to create: acme\n0 up to date\nacme: unknown field, kept: legacy\n"+
		"acme: beside the configuration, not kept: owner\n1 of 1 client written\n", out)
	out, _, err = c.run(scan, "client", "import", "-", "--yes")
	require.NoError(t, err, "again, there is nothing to do")
	assert.Contains(t, out, "1 up to date")

	_, _, err = c.run(acme+"\n"+variant("b", "", ""), "client", "import", "-")
	require.ErrorContains(t, err, "--yes carries the plan out")
	out, _, err = c.run(`{"clientId":"x","config":{}}`+"\n{oops}\n"+variant("b", "", ""), "client", "import", "-", "--yes")
	require.EqualError(t, err, "left as they are: 2 faulty; mend them, then import again")
	assert.Contains(t, out, "1 to create: b\n")
	assert.Contains(t, out, "  x, config 1 (line 1): domains.edit: must not be empty\n")
	assert.Contains(t, out, "  config 2 (line 2): invalid JSON")
	assert.Contains(t, out, "1 of 1 client written\n")

	_, _, err = c.run("", "client", "import", filepath.Join(t.TempDir(), "none.json"))
	require.ErrorContains(t, err, "none.json")
	_, _, err = c.run("", "client", "import", "--yes", "--dry-run")
	require.ErrorContains(t, err, "exclude each other")
}

func TestImportNamesFewOfVeryMany(t *testing.T) {
	c := newTestCLI(t)
	var b strings.Builder
	for i := range 30 {
		b.WriteString(variant("c"+strings.Repeat("x", i), "", "") + "\n")
	}
	out, _, err := c.run(b.String(), "client", "import", "-", "--dry-run")
	require.NoError(t, err)
	assert.Contains(t, out, "30 to create: c, cx,")
	assert.Contains(t, out, "and 10 more (--json names all)\n")
}
