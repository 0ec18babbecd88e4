package containerboot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDownloadsOfTheClient has a session install without the network what another one
// of the client downloaded, and a third one though that is damaged.
func TestDownloadsOfTheClient(t *testing.T) {
	t.Parallel()
	site := locked(t, with(plainSite, map[string]string{
		"package.json": `{"name":"site","private":true,"type":"module","scripts":{"build":"node build.mjs"},"dependencies":{"is-number":"7.0.0"}}`,
		"build.mjs": `import fs from "node:fs";
import isNumber from "is-number";
fs.mkdirSync("dist");
fs.writeFileSync("dist/index.html", "one is a number: " + isNumber(1));
`,
	}), "package-lock.json", "npm", "install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved=false")
	w := newWorld(t, site)
	c, _ := w.ready(w.claim("s1"))
	c.says("downloads kept")
	require.Zero(t, c.stop())

	boot := func(id, offline string) {
		t.Helper()
		claim := w.claim(id)
		claim.Site.Env = map[string]string{"npm_config_offline": offline, "npm_config_audit": "false"}
		c, status := w.ready(claim)
		assert.Empty(t, status.Reused)
		_, body := c.get("/")
		assert.Equal(t, "one is a number: true", body)
		c.says("downloads kept")
		require.Zero(t, c.stop())
	}
	boot("s2", "true")

	kept, err := filepath.Glob(w.dir + "/cache/amelia/downloads/*/*")
	require.NoError(t, err)
	require.Len(t, kept, 1)
	whole, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(kept[0], 100))
	boot("s3", "false")
	mended, err := os.ReadFile(kept[0])
	require.NoError(t, err)
	assert.Equal(t, whole, mended)
	for _, cache := range []string{"node_modules", "dist"} {
		require.NoError(t, os.RemoveAll(w.dir+"/cache/amelia/"+cache))
	}
	boot("s4", "true")
}
