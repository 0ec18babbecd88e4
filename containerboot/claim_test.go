package containerboot_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c := w.start("s1", claim.Token)

	// Before the claim: nothing but proof and claim.
	nonce := bootapi.NewNonce()
	code, body := c.post(bootapi.PathProof, bootapi.ProofRequest{Nonce: nonce}, "Authorization", "", bootapi.HeaderToken, "")
	require.Equal(t, http.StatusOK, code)
	assert.True(t, bootapi.CheckProof(bootapi.HashToken(claim.Token), nonce, decode[bootapi.Proof](t, body).Proof))
	for _, path := range []string{"/", "/session/s1/", bootapi.PathStatus, bootapi.PathHealth, bootapi.PathEvents, bootapi.PathQuiesce} {
		code, _ = c.get(path)
		assert.Equal(t, http.StatusServiceUnavailable, code, path)
	}

	other, foreign, nameless, odd := claim, claim, claim, claim
	odd.EditBranch = "-no..branch"
	other.Token = bootapi.NewToken()
	foreign.SessionID = "s2"
	nameless.ClientID, nameless.Site.RepositoryURL, nameless.Site.Directory = "../x", "", "a/../../b"
	for name, tc := range map[string]struct {
		method string
		body   any
		code   int
		says   string
	}{
		"no JSON":                 {"POST", "{", http.StatusBadRequest, ""},
		"the wrong shape":         {"POST", `{"token":7}`, http.StatusBadRequest, ""},
		"two values":              {"POST", `{}{}`, http.StatusBadRequest, ""},
		"too large":               {"POST", `{"instruction":"` + strings.Repeat("x", 1<<20) + `"}`, http.StatusBadRequest, ""},
		"GET":                     {"GET", nil, http.StatusMethodNotAllowed, ""},
		"another token":           {"POST", other, http.StatusForbidden, ""},
		"faults, all of them":     {"POST", nameless, http.StatusBadRequest, "site.directory"},
		"faults, the first":       {"POST", nameless, http.StatusBadRequest, "site.repositoryUrl"},
		"what git would not take": {"POST", odd, http.StatusBadRequest, ""},
		"another session's claim": {"POST", foreign, http.StatusConflict, ""},
	} {
		code, body := c.do(tc.method, bootapi.PathClaim, tc.body)
		assert.Equal(t, tc.code, code, "%s: %s", name, body)
		assert.Contains(t, body, tc.says, name)
	}
	code, body = c.post(bootapi.PathProof, bootapi.ProofRequest{Nonce: "short"})
	assert.Equal(t, http.StatusBadRequest, code, body)

	code, body = c.post(bootapi.PathClaim, claim)
	require.Equal(t, http.StatusOK, code, body)
	assert.Equal(t, int64(1), decode[bootapi.Status](t, body).Epoch)
	code, _ = c.post(bootapi.PathClaim, claim)
	assert.Equal(t, http.StatusOK, code, "the same claim again")
	later := claim
	later.Epoch++
	code, _ = c.post(bootapi.PathClaim, later)
	assert.Equal(t, http.StatusConflict, code, "another one")
	require.Equal(t, bootapi.PhaseReady, c.settled().Phase)
	code, _ = c.post(bootapi.PathClaim, claim)
	assert.Equal(t, http.StatusOK, code, "and again when ready")
}

func TestToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"))
	wrong := bootapi.NewToken()
	cases := map[string]struct {
		path    string
		headers []string
		code    int
	}{
		"the site":                     {"/session/s1/", nil, 200},
		"without the prefix":           {"/", nil, 200},
		"no token":                     {"/session/s1/", []string{bootapi.HeaderToken, ""}, 421},
		"wrong token":                  {"/session/s1/", []string{bootapi.HeaderToken, wrong}, 421},
		"the hash for the token":       {"/session/s1/", []string{bootapi.HeaderToken, bootapi.HashToken(c.token)}, 421},
		"status, no token":             {bootapi.PathStatus, []string{bootapi.HeaderToken, ""}, 421},
		"private, no bearer":           {bootapi.PathQuiesce, []string{"Authorization", ""}, 421},
		"private, wrong bearer":        {bootapi.PathQuiesce, []string{"Authorization", "Bearer " + wrong}, 421},
		"private, basic":               {bootapi.PathQuiesce, []string{"Authorization", "Basic " + c.token}, 421},
		"private, the proxied header":  {bootapi.PathQuiesce, []string{"Authorization", "", bootapi.HeaderToken, c.token}, 421},
		"private, below the prefix":    {"/session/s1/.boot/quiesce", nil, 404},
		"private, unknown":             {"/.boot/other", nil, 404},
		"private, right, wrong method": {bootapi.PathQuiesce, nil, 405},
		"another session's prefix":     {"/session/s2/", nil, 404},
		"a path that begins like it":   {"/session/s10/", nil, 404},
		"status below the prefix":      {"/session/s1" + bootapi.PathStatus, nil, 200},
		"health":                       {"/session/s1" + bootapi.PathHealth, nil, 200},
		"an unknown API without one":   {"/session/s1/api/unknown", nil, 404},
		"save by GET":                  {bootapi.PathSave, nil, 405},
		"rebuild by GET, prefixed":     {"/session/s1" + bootapi.PathRebuild, nil, 405},
	}
	for name, tc := range cases {
		code, body := c.get(tc.path, tc.headers...)
		assert.Equal(t, tc.code, code, "%s: %s", name, body)
		if code == http.StatusMisdirectedRequest {
			assert.Less(t, len(body), 100)
		}
	}
}
