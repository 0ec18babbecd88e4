package containerboot_test

import (
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDownloadsOfTheClient has sessions install without the network what another one of
// the client downloaded, and with it though what is kept was damaged or is a lie: by a
// lock file that says where the packages are, and by one that does not.
func TestDownloadsOfTheClient(t *testing.T) {
	t.Parallel()
	for name, omit := range map[string]string{"addresses": "false", "no addresses": "true"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := locked(t, with(plainSite, map[string]string{
				"package.json": `{"name":"site","private":true,"type":"module","scripts":{"build":"node build.mjs"},"dependencies":{"is-number":"7.0.0"}}`,
				"build.mjs": `import fs from "node:fs";
import isNumber from "is-number";
fs.mkdirSync("dist");
fs.writeFileSync("dist/index.html", "one is a number: " + isNumber(1));
`,
			}), "package-lock.json", "npm", "install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved="+omit)
			require.Equal(t, omit == "false", strings.Contains(site["package-lock.json"], `"resolved"`))
			w := newWorld(t, site)
			downloads := w.dir + "/cache/amelia/downloads"
			boot := func(id, offline string) *container {
				t.Helper()
				for _, cache := range []string{"node_modules", "dist"} {
					require.NoError(t, os.RemoveAll(w.dir+"/cache/amelia/"+cache))
				}
				claim := w.claim(id)
				claim.Site.Env = map[string]string{"npm_config_offline": offline, "npm_config_audit": "false"}
				c, status := w.ready(claim)
				assert.Empty(t, status.Reused)
				_, body := c.get("/")
				assert.Equal(t, "one is a number: true", body)
				c.says("downloads kept")
				require.Zero(t, c.stop())
				return c
			}
			boot("s1", "false")
			boot("s2", "true")

			kept, err := filepath.Glob(downloads + "/[0-9a-f][0-9a-f]/*")
			require.NoError(t, err)
			require.NotEmpty(t, kept)
			for _, path := range kept {
				require.NoError(t, os.Truncate(path, 100))
			}
			boot("s3", "false")
			boot("s4", "true")

			answers, err := filepath.Glob(downloads + "/index/*/*")
			require.NoError(t, err)
			require.Len(t, answers, map[string]int{"false": 0, "true": 2}[omit])
			for _, path := range answers {
				poison(t, downloads, path)
			}
			c := boot("s5", "false")
			assert.Equal(t, len(answers) > 0, strings.Contains(c.logged(), "installing by kept answers of the registry failed"))
			boot("s6", "true")
		})
	}
}

// poison makes a kept answer say that there is no version of the package.
func poison(t *testing.T, downloads, path string) {
	t.Helper()
	lie := []byte(`{"name":"is-number","dist-tags":{},"versions":{}}`)
	h := sha512.Sum512(lie)
	name := hex.EncodeToString(h[:])
	require.NoError(t, os.MkdirAll(filepath.Join(downloads, name[:2]), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(downloads, name[:2], name), lie, 0o644))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	_, entry, ok := strings.Cut(string(data), "\t")
	require.True(t, ok)
	entry = regexp.MustCompile(`sha512-[^"]*`).ReplaceAllString(entry, "sha512-"+base64.StdEncoding.EncodeToString(h[:]))
	entry = regexp.MustCompile(`"size":\d+`).ReplaceAllString(entry, fmt.Sprintf(`"size":%d`, len(lie)))
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "%x\t%s", sha1.Sum([]byte(entry)), entry), 0o644))
}
