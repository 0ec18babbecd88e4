package containerboot_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestDevelopmentServerWithABrokenConfiguration breaks a site's astro.config while its
// development server runs, which goes on with the one before and takes the next that is
// whole, and before it starts, which fails.
func TestDevelopmentServerWithABrokenConfiguration(t *testing.T) {
	if os.Getenv("TORTURE") != "1" {
		t.Log("TORTURE=1 runs it: it installs Astro")
		return
	}
	w := newWorld(t, locked(t, astroWith("^5.0.0", `"dependencies":{ASTRO}`, "export default {};\n", map[string]string{
		"src/pages/about.md": "# About\n",
	}), "package-lock.json", npmLock...))
	begin := func(id string, phase bootapi.Phase) *container {
		claim := w.claim(id)
		claim.Site.Mode = "dev"
		c := w.start(id, claim.Token)
		code, body := c.post(bootapi.PathClaim, claim)
		require.Equal(t, http.StatusOK, code, body)
		require.Eventually(t, func() bool { return c.status().Phase == phase }, realSiteLimit, 100*time.Millisecond)
		return c
	}
	broken := []struct{ id, text, said, cause string }{
		{"s2", "export default {\n  redirects: {\n  oops here\n};\n", "invalid JS syntax", "astro.config.mjs line 1"},
		{"s3", "import x from '@astrojs/tailwind';\nexport default { integrations: [x()] };\n", "'@astrojs/tailwind'", "'@astrojs/tailwind'"},
	}

	c := begin("s1", bootapi.PhaseReady)
	config := filepath.Join(w.workspace("s1"), "astro.config.mjs")
	for _, b := range broken {
		write(t, config, b.text)
		c.await(func() bool {
			log := strings.Join(c.status().Log, "\n")
			return strings.Contains(log, b.said) && strings.HasSuffix(log, "Continuing with previous valid configuration")
		})
		code, body := c.get("/session/s1/")
		assert.Equal(t, http.StatusOK, code)
		assert.Contains(t, body, "home")

		write(t, config, "export default { redirects: { '/mended-"+b.id+"': '/about' } };\n")
		c.await(func() bool {
			code, _ := c.get("/session/s1/mended-" + b.id)
			return code == http.StatusOK
		})
	}
	require.Zero(t, c.stop())

	for _, b := range broken {
		w.push(map[string]string{"astro.config.mjs": b.text})
		c := begin(b.id, bootapi.PhaseFailed)
		assert.Contains(t, c.status().Failure.Cause, b.cause)
		assert.NotZero(t, c.stop())
	}
}
