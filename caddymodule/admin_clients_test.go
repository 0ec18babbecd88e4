package caddymodule

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// admin asks the admin API and decodes its answer.
func (e *testEdge) admin(method, path, body string, header http.Header, into any) *httptest.ResponseRecorder {
	e.t.Helper()
	r := httptest.NewRequest(method, "http://localhost:2019"+adminPrefix+path, strings.NewReader(body))
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	require.NoError(e.t, new(Admin).Routes()[0].Handler.ServeHTTP(w, r))
	if into != nil {
		require.NoError(e.t, json.Unmarshal(w.Body.Bytes(), into), w.Body.String())
	}
	return w
}

func TestAdminClients(t *testing.T) {
	e := startEdge(t)
	ifMatch := func(v string) http.Header { return http.Header{"If-Match": {v}} }
	var put clientPut

	w := e.admin(http.MethodPut, "clients/b", variant("b", "", ""), http.Header{"If-None-Match": {"*"}}, &put)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	assert.True(t, put.Created)
	assert.Equal(t, `"1"`, w.Header().Get("ETag"))
	assert.Equal(t, "edit.b.example", put.Config.Domains.Edit)

	put = clientPut{}
	w = e.admin(http.MethodPut, "clients/b", variant("b", "", ""), nil, &put)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.True(t, put.Unchanged)
	assert.EqualValues(t, 1, put.Version)

	put = clientPut{}
	w = e.admin(http.MethodPut, "clients/b", variant("b", ":10", ":20"), ifMatch(`"1"`), &put)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.EqualValues(t, 2, put.Version)
	require.Len(t, put.Changes, 1)
	assert.Equal(t, "settings.idleTimeoutMinutes", put.Changes[0].Path)

	var info clientInfo
	w = e.admin(http.MethodGet, "clients/b", "", nil, &info)
	assert.Equal(t, `"2"`, w.Header().Get("ETag"))
	assert.EqualValues(t, 2, info.Version)

	var infos []clientInfo
	w = e.admin(http.MethodGet, "clients?limit=1", "", nil, &infos)
	assert.Equal(t, http.StatusOK, w.Code)
	require.Len(t, infos, 1)
	e.admin(http.MethodGet, "clients?after="+infos[0].ClientID, "", nil, &infos)
	require.Len(t, infos, 1)
	assert.Equal(t, "b", infos[0].ClientID)

	var deleted map[string]string
	w = e.admin(http.MethodDelete, "clients/b?ifVersion=2", "", nil, &deleted)
	assert.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, map[string]string{"deleted": "b"}, deleted)
}

func TestAdminClientsRefusals(t *testing.T) {
	e := startEdge(t)
	require.Equal(t, http.StatusOK, e.admin(http.MethodPut, "clients/b", variant("b", "", ""), nil, nil).Code)
	one := int64(1)
	five := int64(5)
	stale := adminError{Error: `client "b" is at version 1, not 5: it was deleted and made anew, or never had that version; read it again`, Stored: &one, Expected: &five}
	for name, test := range map[string]struct {
		method, path, body string
		header             http.Header
		status             int
		want               adminError
	}{
		"a stale version in a header": {http.MethodPut, "clients/b", variant("b", ":10", ":20"), http.Header{"If-Match": {`"5"`}}, 412, stale},
		"a stale version in a query":  {http.MethodPut, "clients/b?ifVersion=5", variant("b", ":10", ":20"), nil, 409, stale},
		"the same, unchanged":         {http.MethodPut, "clients/b?ifVersion=5", variant("b", "", ""), nil, 409, stale},
		"a stale delete":              {http.MethodDelete, "clients/b", "", http.Header{"If-Match": {"5"}}, 412, stale},
		"of one that is not there":    {http.MethodPut, "clients/c?ifVersion=5", variant("c", "", ""), nil, 409, adminError{Error: "is not stored", Expected: &five}},
		"one that exists":             {http.MethodPut, "clients/b", variant("b", "", ""), http.Header{"If-None-Match": {"*"}}, 412, adminError{Error: "exists already"}},
		"a host that is taken": {
			http.MethodPut, "clients/c", variant("c", "Edit.c.Example.", "edit.b.example"), nil, 409,
			adminError{Error: `host "edit.b.example" is taken`, Host: "edit.b.example"},
		},
		"faults": {http.MethodPut, "clients/c", variant("c", `:10`, `:0,"x":1`), nil, 422, adminError{
			Error: "settings.idleTimeoutMinutes", Faults: []configstore.Fault{
				{Path: "settings.x", Message: "unknown field"},
				{Path: "settings.idleTimeoutMinutes", Message: "must be between 1 and 1440, got 0"},
			},
		}},
		"another's configuration": {http.MethodPut, "clients/b", variant("c", "", ""), nil, 422, adminError{
			Error: "clientId", Faults: []configstore.Fault{{Path: "clientId", Message: "is not that of the path"}},
		}},
		"no JSON": {http.MethodPut, "clients/b", "{", nil, 422, adminError{
			Error: "invalid JSON", Faults: []configstore.Fault{{Message: "invalid JSON at line 1, column 1: unexpected end of JSON input"}},
		}},
		"too much":           {http.MethodPut, "clients/b", strings.Repeat(" ", configstore.MaxConfigBytes+2), nil, 400, adminError{Error: "too large"}},
		"a bad version":      {http.MethodPut, "clients/b?ifVersion=x", variant("b", "", ""), nil, 400, adminError{Error: "must be a number"}},
		"two versions":       {http.MethodPut, "clients/b?ifVersion=1", variant("b", "", ""), http.Header{"If-Match": {"1"}}, 400, adminError{Error: "more than one"}},
		"a tag elsewhere":    {http.MethodPut, "clients/b", variant("b", "", ""), http.Header{"If-None-Match": {`"1"`}}, 400, adminError{Error: "must be *"}},
		"a delete of none":   {http.MethodDelete, "clients/b", "", http.Header{"If-None-Match": {"*"}}, 400, adminError{Error: "no meaning"}},
		"get of nobody":      {http.MethodGet, "clients/nobody", "", nil, 404, adminError{Error: "not found"}},
		"delete of nobody":   {http.MethodDelete, "clients/nobody", "", nil, 404, adminError{Error: "not found"}},
		"a limit too large":  {http.MethodGet, "clients?limit=501", "", nil, 400, adminError{Error: "between 1 and 500"}},
		"a limit that isn't": {http.MethodGet, "clients?limit=x", "", nil, 400, adminError{Error: "between 1 and 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got adminError
			w := e.admin(test.method, test.path, test.body, test.header, &got)
			assert.Equal(t, test.status, w.Code)
			assert.Contains(t, got.Error, test.want.Error)
			got.Error, test.want.Error = "", ""
			assert.Equal(t, test.want, got)
		})
	}
}

func TestAdminRedactsKeys(t *testing.T) {
	e := startEdge(t)
	config := strings.Replace(variant("b", "https://git.example.com/b.git", "git@git.example.com:b.git"), `"branch":"main"`,
		`"branch":"main","deployKey":"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"`, 1)
	for _, w := range []*httptest.ResponseRecorder{
		e.admin(http.MethodPut, "clients/b", config, nil, nil),
		e.admin(http.MethodPut, "clients/b", strings.Replace(config, "c2VjcmV0", "YW5vdGhlcg==", 1), nil, nil),
		e.admin(http.MethodGet, "clients/b", "", nil, nil),
		e.admin(http.MethodGet, "clients", "", nil, nil),
	} {
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), "[redacted]")
		assert.NotContains(t, w.Body.String(), "BEGIN")
	}
}

func TestAdminRoutingTable(t *testing.T) {
	e := startEdge(t)
	e.put(variant("b", "", ""))
	var info tableInfo
	require.Eventually(t, func() bool {
		info = tableInfo{}
		e.admin(http.MethodGet, "routing-table", "", nil, &info)
		return info.Clients == 2
	}, patience, 10*time.Millisecond)
	assert.True(t, info.Loaded)
	assert.Equal(t, 4, info.Hosts, "with those of the pattern")
	assert.Equal(t, configstore.SourceChanges, info.Source)
	assert.Positive(t, info.Bytes)
	require.NotNil(t, info.AgeSeconds)
	assert.Less(t, *info.AgeSeconds, 30.0)
	require.NotNil(t, info.LastChange)
	assert.Equal(t, "b", info.LastChange.ClientID)
	assert.False(t, info.Failing)
}
