package containerboot_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// versionSite builds a page that says what it was built with.
func versionSite(files map[string]string) map[string]string {
	return with(plainSite, with(map[string]string{
		"package.json": `{"name":"site","private":true,"scripts":{"prebuild":"echo before","build":"node build.mjs","postbuild":"echo after"}}`,
		"build.mjs": `import fs from "node:fs";
fs.mkdirSync("dist", {recursive: true});
fs.writeFileSync("dist/index.html", process.version + " " + process.env.npm_config_user_agent);
`,
	}, files))
}

// TestNodeOfTheSite fetches the version of Node that a site asks for, which this machine
// need not have. The next session of the client has it.
func TestNodeOfTheSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, versionSite(map[string]string{".nvmrc": "v22.12.0\n"}))
	c, status := w.ready(w.claim("s1"))
	_, body := c.get("/")
	assert.True(t, strings.HasPrefix(body, "v22.12.0 npm/"), body)
	assert.Contains(t, status.Log, "before")
	assert.Contains(t, status.Log, "after")
	require.Zero(t, c.stop())

	w.called()
	c, status = w.ready(w.claim("s2"))
	assert.Equal(t, []string{"install", "build"}, status.Reused)
	calls := w.called()
	assert.NotContains(t, calls, "npm")
	assert.NotContains(t, calls, "node")
	require.Zero(t, c.stop())

	w.push(map[string]string{".nvmrc": "22.12", "text.txt": "new"})
	c, status = w.ready(w.claim("s3"))
	_, body = c.get("/")
	assert.True(t, strings.HasPrefix(body, "v22.12.0 npm/"), body)
	left, err := filepath.Glob(filepath.Join(w.workspace("s3"), "../tools/*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left of the fetching")
	_ = status
}

// TestPNPMWorkspace is a site in a workspace that another package of it belongs to, by
// the package manager that the repository pins.
func TestPNPMWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{
		".gitignore":               "dist/\nnode_modules/\n",
		"package.json":             `{"name":"all","private":true,"packageManager":"pnpm@9.15.9+sha512.0"}`,
		"pnpm-workspace.yaml":      "packages:\n  - 'packages/*' # ours\n  - sites/**\n",
		"packages/ui/ui.mjs":       `export const title = "from the workspace";`,
		"packages/ui/package.json": `{"name":"ui","version":"1.0.0","exports":"./ui.mjs"}`,
		"sites/www/package.json":   `{"name":"www","private":true,"scripts":{"build":"node build.mjs"},"dependencies":{"ui":"workspace:*"}}`,
		"sites/www/build.mjs": `import fs from "node:fs";
import { title } from "ui";
fs.mkdirSync("dist", {recursive: true});
fs.writeFileSync("dist/index.html", title + " " + process.env.npm_config_user_agent);
`,
		"pnpm-lock.yaml": `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

importers:

  .: {}

  packages/ui: {}

  sites/www:
    dependencies:
      ui:
        specifier: workspace:*
        version: link:../../packages/ui
`,
	})
	claim := w.claim("s1")
	claim.Site.Directory = "sites/www"
	c, _ := w.ready(claim)
	_, body := c.get("/")
	assert.True(t, strings.HasPrefix(body, "from the workspace pnpm/9.15.9 "), body)
	code, body := c.post(bootapi.PathSave, nil)
	require.Equal(t, http.StatusOK, code, body)
	assert.Equal(t, "nothing", decode[bootapi.SaveResult](t, body).Where)
	c.await(func() bool {
		kept, err := filepath.Glob(w.dir + "/cache/amelia/node_modules/*.*/files/sites/www/node_modules/ui")
		return err == nil && len(kept) == 1
	})
	require.Zero(t, c.stop())

	w.push(map[string]string{"packages/ui/ui.mjs": `export const title = "changed";`})
	claim = w.claim("s2")
	claim.Site.Directory = "sites/www"
	c, status := w.ready(claim)
	assert.Equal(t, []string{"install"}, status.Reused)
	_, body = c.get("/")
	assert.True(t, strings.HasPrefix(body, "changed pnpm/9.15.9 "), body)
	_, err := os.Stat(filepath.Join(w.workspace("s2"), "sites/www/node_modules/ui/ui.mjs"))
	require.NoError(t, err)
}

// saved saves, and says where that went.
func (w *world) saved(c *container) string {
	w.t.Helper()
	code, body := c.post(bootapi.PathSave, nil)
	require.Equal(w.t, http.StatusOK, code, body)
	return decode[bootapi.SaveResult](w.t, body).Where
}
