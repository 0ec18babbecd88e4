package bulk

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/embedded"
)

// openOlder is a store whose rows are as older tools left them: without versions and
// claims. update changes single rows by SQL.
func openOlder(t *testing.T, clients []configstore.Client, updates ...string) older {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	store, err := embedded.Open(path, embedded.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for _, c := range clients {
		_, err := store.Put(t.Context(), c, configstore.NoVersion)
		require.NoError(t, err)
	}
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	for _, statement := range append([]string{
		`UPDATE configstore_clients SET version = 0`, `DELETE FROM configstore_hosts`, `DELETE FROM configstore_changes`,
	}, updates...) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return older{store, path}
}

// older is an embedded store and its file.
type older struct {
	configstore.Store
	path string
}

// outcomes maps the clients of a plan to what it says of them.
func outcomes(p Plan) map[string]string {
	all := make(map[string]string)
	for _, row := range p.Rows {
		all[row.ClientID+row.Place] = strings.Join(append([]string{string(row.Outcome)}, row.Reasons...), "; ")
	}
	return all
}

func TestUpgradeInPlace(t *testing.T) {
	setConfig := func(id, from, to string) string {
		return `UPDATE configstore_clients SET config = replace(config, '` + from + `', '` + to + `') WHERE id = '` + id + `'`
	}
	store := openOlder(t,
		[]configstore.Client{
			client("amelia"), client("bramble"), client("cedar"), client("dahlia"), client("elder"), client("fern"), client("gorse"),
			client("heath"), client("iris"),
		},
		setConfig("amelia", `"settings":{`, `"legacy":{"a":1},"settings":{`),
		setConfig("bramble", "edit.bramble.example", "EDIT.Bramble.example"),
		setConfig("dahlia", "edit.dahlia.example", "edit.cedar.example"), // cedar's, which comes first
		setConfig("elder", `"idleTimeoutMinutes":15`, `"idleTimeoutMinutes":0`),
		setConfig("fern", `"domains":{`, `"domains":7,"x":{`),
		setConfig("gorse", "edit.gorse.example", "edit.heath.example"),
		`UPDATE configstore_clients SET version = 7 WHERE id = 'heath'`,
		`INSERT INTO configstore_hosts (host, client_id) VALUES ('edit.heath.example', 'heath')`,
		setConfig("iris", "edit.iris.example", "edit.elder.example"), // a row that stays as it is keeps its host
	)
	plan, err := PlanUpgrade(t.Context(), store, configstore.Rules{}, nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{
		"amelia":  "upgrade",
		"bramble": "upgrade",
		"cedar":   "upgrade",
		"dahlia":  `conflict; host "edit.cedar.example" is claimed by "cedar" too`,
		"elder":   "faulty; settings.idleTimeoutMinutes: must be between 1 and 1440, got 0",
		"fern":    "faulty; domains: must be an object, got 7",
		"gorse":   `conflict; host "edit.heath.example" is claimed by "heath" too`,
		"iris":    `conflict; host "edit.elder.example" is claimed by "elder" too`,
	}, outcomes(plan))
	assert.Equal(t, 1, plan.Unchanged)
	assert.Equal(t, []string{"legacy"}, plan.Rows[0].Kept)
	require.Len(t, plan.Rows[1].Changes, 1)
	assert.Equal(t, `domains.edit: "EDIT.Bramble.example" → "edit.bramble.example"`, plan.Rows[1].Changes[0].String())

	todo, rows, err := plan.Steps()
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1, 2}, rows)
	result, err := Write(t.Context(), store, todo, Options{Isolate: true})
	require.NoError(t, err)
	assert.Equal(t, Result{Written: 3}, result)
	rec, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.EqualValues(t, 1, rec.Version)
	assert.JSONEq(t, `{"a":1}`, string(rec.Client.Unknown["legacy"]))
	_, err = store.Put(t.Context(), client("jasmine", "edit.amelia.example"), configstore.AnyVersion)
	require.ErrorIs(t, err, configstore.ErrHostTaken, "the upgraded row claims its host")

	// The rest is as before, what is done is not done again.
	plan, err = PlanUpgrade(t.Context(), store, configstore.Rules{}, nil)
	require.NoError(t, err)
	assert.Equal(t, 4, plan.Unchanged)
	assert.Len(t, plan.Rows, 5)
	assert.Zero(t, plan.Count(Upgrade))
}

func TestImportOfAFile(t *testing.T) {
	store := openOlder(t, []configstore.Client{client("older"), client("stranger")})
	for _, c := range []configstore.Client{client("same"), client("newer"), client("owner", "taken.example")} {
		_, err := store.Put(t.Context(), c, configstore.NoVersion)
		require.NoError(t, err)
	}
	encode := func(c configstore.Client) string {
		b, err := configstore.EncodeStored(c)
		require.NoError(t, err)
		return string(b)
	}
	changed := client("newer")
	changed.Settings.IdleTimeoutMinutes = 99
	file := strings.Join([]string{
		encode(client("fresh")),
		encode(client("same")),
		encode(changed),
		`{"clientId":"older","color":"red","config":` + strings.Replace(encode(client("older")), ":15", ":20", 1) + `}`,
		encode(client("thief", "taken.example")),
		encode(client("thief2", "edit.stranger.example")),
		encode(client("thief3", "edit.fresh.example")),
		encode(client("fresh")),
		`{"oops"}`,
		`{"clientId":"x","domains":{}}`,
	}, "\n")
	plan, err := PlanImport(t.Context(), store, Rows(strings.NewReader(file)), configstore.Rules{}, nil)
	require.NoError(t, err)
	got := outcomes(plan)
	for id, want := range map[string]string{
		"freshconfig 1 (line 1)":  "create",
		"newerconfig 3 (line 3)":  "conflict; is stored at version 1 and differs, which `client put` would replace; settings.idleTimeoutMinutes: 15 → 99",
		"olderconfig 4 (line 4)":  "upgrade",
		"thiefconfig 5 (line 5)":  `conflict; host "taken.example" is claimed by "owner" too`,
		"thief2config 6 (line 6)": `conflict; host "edit.stranger.example" is claimed by "stranger" too`,
		"thief3config 7 (line 7)": `conflict; host "edit.fresh.example" is claimed by "fresh" too`,
		"freshconfig 8 (line 8)":  "faulty; clientId: stands already at config 1 (line 1)",
	} {
		assert.Equal(t, want, got[id], id)
	}
	assert.Contains(t, got["config 9 (line 9)"], "faulty; invalid JSON")
	assert.Contains(t, got["xconfig 10 (line 10)"], "repository.url: must not be empty")
	assert.Equal(t, 1, plan.Unchanged)
	assert.Equal(t, 3, plan.Count(Faulty))
	for _, row := range plan.Rows {
		if row.ClientID == "older" {
			assert.Equal(t, []string{"color"}, row.Left)
		}
	}
	todo, _, err := plan.Steps()
	require.NoError(t, err)
	result, err := Write(t.Context(), store, todo, Options{Isolate: true})
	require.NoError(t, err)
	assert.Equal(t, Result{Written: 2}, result)
	rec, err := store.Get(t.Context(), "older")
	require.NoError(t, err)
	assert.Equal(t, 20, rec.Client.Settings.IdleTimeoutMinutes)

	// Again: only what was refused is left.
	plan, err = PlanImport(t.Context(), store, Rows(strings.NewReader(file)), configstore.Rules{}, nil)
	require.NoError(t, err)
	assert.Equal(t, 3, plan.Unchanged)
	assert.Zero(t, plan.Count(Create)+plan.Count(Upgrade))
}

// What an older tool writes between the plan and its execution is not overwritten.
func TestUpgradeOfWhatChangesMeanwhile(t *testing.T) {
	store := openOlder(t, []configstore.Client{client("amelia"), client("bramble")})
	plan, err := PlanUpgrade(t.Context(), store, configstore.Rules{}, nil)
	require.NoError(t, err)
	todo, _, err := plan.Steps()
	require.NoError(t, err)

	db, err := sql.Open("sqlite", store.path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `UPDATE configstore_clients SET config = replace(config, '"main"', '"next"') WHERE id = 'amelia'`)
	require.NoError(t, err)
	result, err := Write(t.Context(), store, todo, Options{Isolate: true})
	require.NoError(t, err)
	assert.Equal(t, 1, result.Written)
	require.Len(t, result.Refused, 1)
	require.ErrorIs(t, result.Refused[0].Err, configstore.ErrConflict)
	require.ErrorContains(t, result.Refused[0].Err, "another tool changed it since")
	rec, err := store.Get(t.Context(), "amelia")
	require.NoError(t, err)
	assert.Equal(t, "next", rec.Client.Repository.Branch)
}
