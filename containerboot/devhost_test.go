package containerboot_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeAstro is a site whose development server answers with an expression of JavaScript.
func fakeAstro(version, answer string) map[string]string {
	return with(plainSite, map[string]string{
		"package.json": `{"name":"site","private":true,"dependencies":{"astro":"file:./astro"}}`,
		"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site","dependencies":{"astro":"file:./astro"}},` +
			`"astro":{"version":"` + version + `","bin":{"astro":"astro.mjs"}},"node_modules/astro":{"resolved":"astro","link":true}}}`,
		"astro/package.json": `{"name":"astro","version":"` + version + `","bin":"astro.mjs"}`,
		"astro/astro.mjs": `#!/usr/bin/env node
import http from "node:http";
const option = (name) => process.argv[process.argv.indexOf(name) + 1];
http.createServer((req, res) => res.end(` + answer + `)).listen(option("--port"), option("--host"), () => {
	console.log("\n\u2503 Network  http://" + option("--host") + ":" + option("--port") + "/docs\n");
});
`,
	})
}

// TestDevelopmentServerWithABaseOfItsOwn serves where it says, not where it is told.
func TestDevelopmentServerWithABaseOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fakeAstro("7.2.0", "req.url"))
	claim := w.claim("s1")
	claim.Site.Mode = "dev"
	c, _ := w.ready(claim)
	c.await(func() bool { // the line may come a moment after the server listens
		_, body := c.get("/session/s1/")
		return body == "/docs/"
	})
	for _, asked := range []string{"/session/s1/about/", "/session/s1/docs/about/", "/docs/about/"} {
		_, body := c.get(asked)
		assert.Equal(t, "/docs/about/", body, asked)
	}
	require.Zero(t, c.stop())
}

// TestDevelopmentServerOfAnEarlyAstro7 listens at the one address that it takes for
// loopback; that of others at one of its own.
func TestDevelopmentServerOfAnEarlyAstro7(t *testing.T) {
	t.Parallel()
	for version, plain := range map[string]bool{"7.1.6": true, "7.2.0": false} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fakeAstro(version, `"at " + option("--host")`))
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
