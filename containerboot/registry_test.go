package containerboot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// privateRegistry has one package, for whoever has the token.
func privateRegistry(t *testing.T, name, token string, files map[string]string) string {
	t.Helper()
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	w := tar.NewWriter(zip)
	for file, content := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "package/" + file, Mode: 0o644, Size: int64(len(content))}))
		_, err := w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, zip.Close())
	sum := sha512.Sum512(archive.Bytes())

	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasSuffix(r.URL.Path, ".tgz"):
			_, _ = w.Write(archive.Bytes())
		default:
			assert.Equal(t, "/"+name, r.URL.Path)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"name": name, "dist-tags": map[string]string{"latest": "1.0.0"},
				"versions": map[string]any{"1.0.0": map[string]any{
					"name": name, "version": "1.0.0", "dist": map[string]string{
						"tarball":   server.URL + "/words-1.0.0.tgz",
						"integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
					},
				}},
			})
		}
	})
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http:")
}

// TestPrivateScope has a package that is in a registry of its owner's, to which a token of
// the client's configuration opens.
func TestPrivateScope(t *testing.T) {
	t.Parallel()
	registry := privateRegistry(t, "@studio/words", "letmein12", map[string]string{
		"package.json": `{"name":"@studio/words","version":"1.0.0","type":"module","exports":"./words.js"}`,
		"words.js":     `export default "private words";`,
	})
	site := with(plainSite, map[string]string{
		".npmrc":       "@studio:registry=http:" + registry + "\n" + registry + "/:_authToken=${NPM_TOKEN}\n",
		"package.json": `{"name":"site","private":true,"scripts":{"build":"node build.mjs"},"dependencies":{"@studio/words":"^1.0.0"}}`,
		"build.mjs":    `import fs from "node:fs"; import words from "@studio/words"; fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", words);`,
	})
	delete(site, "package-lock.json")
	w := newWorld(t, site)
	claim := w.claim("s1")
	claim.Site.Env = map[string]string{"NPM_TOKEN": "letmein12"}
	c, _ := w.ready(claim)
	_, body := c.get("/session/s1/")
	assert.Equal(t, "private words", body)
	require.Zero(t, c.stop())

	claim = w.claim("s2") // without the token
	_, status := w.boot(claim)
	require.Equal(t, bootapi.PhaseFailed, status.Phase)
	assert.Contains(t, status.Failure.Cause, "refused access")
}
