package containerboot_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDevelopmentServerOfAnEarlyAstro7 listens at the one address that it takes for
// loopback; that of others at one of its own.
func TestDevelopmentServerOfAnEarlyAstro7(t *testing.T) {
	t.Parallel()
	for version, plain := range map[string]bool{"7.1.6": true, "7.2.0": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(plainSite, map[string]string{
				"package.json": `{"name":"site","private":true,"dependencies":{"astro":"file:./astro"}}`,
				"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site","dependencies":{"astro":"file:./astro"}},` +
					`"astro":{"version":"` + version + `","bin":{"astro":"astro.mjs"}},"node_modules/astro":{"resolved":"astro","link":true}}}`,
				"astro/package.json": `{"name":"astro","version":"` + version + `","bin":"astro.mjs"}`,
				"astro/astro.mjs": `#!/usr/bin/env node
import http from "node:http";
const option = (name) => process.argv[process.argv.indexOf(name) + 1];
http.createServer((req, res) => res.end("at " + option("--host"))).listen(option("--port"), option("--host"));
`,
			}))
			claim := w.claim("s1")
			claim.Site.Mode = "dev"
			c, _ := w.ready(claim)
			_, body := c.get("/session/s1/")
			assert.Contains(t, body, "at 127.")
			assert.Equal(t, plain, body == "at 127.0.0.1", body)
			require.Zero(t, c.stop())
		})
	}
}
