package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
	"github.com/webordinary/router/internal/gitserver"
)

// TestTokenForHTTPS: a repository over https is opened with a token, by reference or as it
// is, and takes the work of a session; the token is seen nowhere.
func TestTokenForHTTPS(t *testing.T) {
	parallel(t)
	const token = "ghp_a-t0ken-th4t-n0b0dy-s33s"
	server := gitserver.NewHTTPS(t, "/", "oauth2", token, nil)
	e := harness.New(t, harness.Options{
		Config: func(c string) string {
			return strings.Replace(c, "webordinary {", "webordinary {\n\t\tdeploy_key_prefixes env:DEPLOY_KEY_{client}", 1)
		},
		Env: []string{"DEPLOY_KEY_AMELIA=" + token + "\n", "SSL_CERT_FILE=" + server.CA, "GIT_SSL_CAINFO=" + server.CA},
	})
	var sites []*harness.Site
	for id, key := range map[string]string{"amelia": "env:DEPLOY_KEY_AMELIA", "bramble": "oauth2:" + token} {
		sites = append(sites, e.NewSite(id, harness.SiteOptions{
			Build: "console.log(JSON.stringify(process.env)); fs.mkdirSync('dist', { recursive: true }); fs.writeFileSync('dist/env.json', JSON.stringify(process.env));",
			Client: func(c map[string]any) {
				repository := section(c, "repository")
				repository["url"] = server.URL + strings.TrimPrefix(repository["url"].(string), "file://")
				repository["deployKey"] = key
			},
		}))
	}
	e.Start()
	for _, site := range sites {
		id := site.ID
		s := e.CreateSession(site)
		assert.Contains(t, s.Open().Body, "content of "+id)
		environment := e.Do(s.Fetch("/env.json"))
		require.Contains(t, environment.Body, "PATH")
		assert.NotContains(t, environment.Body, token)

		require.NoError(t, os.WriteFile(filepath.Join(s.Workspace(), "content.txt"), []byte("edited"), 0o600))
		e.CLI("session", "sleep", s.SessionID)
		assert.Equal(t, "edited", site.Git("--git-dir", site.Repository, "cat-file", "blob", s.EditBranch+":content.txt"))
		shown := e.CLI("client", "get", id) + e.CLI("client", "list", "--json") + e.CLI("session", "get", s.SessionID, "--json")
		assert.NotContains(t, shown, token)
		require.NoError(t, filepath.WalkDir(s.Workspace(), func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				assert.NotContains(t, string(text), token, path)
			}
			return err
		}))
	}
	e.Interrupt()
	assert.NotContains(t, e.Log.String(), token)
}
