package site_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/site"
)

// astroOutputs is what Astro 5.18.2 made of the site in testdata/astro, by its build.mjs.
const astroOutputs = "testdata/astro.json.gz"

// TestAstroOutputs follows all links of what Astro builds by each of its options for the
// form of addresses. TORTURE=1 has Astro build it anew; the record is made of that where
// it is not there.
func TestAstroOutputs(t *testing.T) {
	var outputs map[string]map[string]string
	require.NoError(t, json.Unmarshal(readOutputs(t), &outputs))
	require.Len(t, outputs, 33)
	for options, files := range outputs {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			v := visitor{t: t, site: serving(t, folder(t, files)), redirectsHome: strings.Contains(options, "i18n")}
			assert.GreaterOrEqual(t, v.crawl(), 4, "pages")
		})
	}
}

func readOutputs(t *testing.T) []byte {
	t.Helper()
	if os.Getenv("TORTURE") == "" {
		f, err := os.Open(astroOutputs)
		require.NoError(t, err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		outputs, err := io.ReadAll(z)
		require.NoError(t, err)
		return outputs
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/astro")))
	run := func(name string, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), name, args...)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Stderr = dir, &stderr
		cmd.Env = append(os.Environ(), "ASTRO_TELEMETRY_DISABLED=1")
		out, err := cmd.Output()
		require.NoError(t, err, "%s", &stderr)
		return out
	}
	run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
	outputs := run("node", "build.mjs")
	if _, err := os.Stat(astroOutputs); err != nil {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		_, err := z.Write(outputs)
		require.NoError(t, err)
		require.NoError(t, z.Close())
		require.NoError(t, os.WriteFile(astroOutputs, packed.Bytes(), 0o600))
	}
	return outputs
}

var (
	namedLink = regexp.MustCompile(`<a href="([^"]*)">(\w+)</a>`)
	styleLink = regexp.MustCompile(`<link rel="stylesheet" href="([^"]*)"`)
	baseLink  = regexp.MustCompile(`<base href="([^"]*)"`)
	refresh   = regexp.MustCompile(`<meta http-equiv="refresh" content="[^"]*url=([^"]*)"`)
)

// visitor follows links as a browser behind the edge does, which redirects what lacks the
// session's prefix but comes from one of its pages.
type visitor struct {
	t             *testing.T
	site          *site.Site
	redirectsHome bool // to the page "de"
}

// page is what a link led to, by whatever redirects.
type page struct {
	at   *url.URL
	code int
	body string
}

func (v visitor) open(from page, link string) page {
	v.t.Helper()
	for range 8 {
		to, err := from.at.Parse(link)
		require.NoError(v.t, err)
		if _, ok := site.TrimPrefix(to.Path, prefix); !ok {
			to.Path = prefix + to.Path
		}
		w := get(v.site, to.String(), "Accept: text/html")
		from = page{to, w.Code, w.Body.String()}
		if link = w.Header().Get("Location"); link != "" {
			continue
		}
		m := refresh.FindStringSubmatch(from.body)
		if m == nil {
			return from
		}
		assert.True(v.t, strings.HasPrefix(m[1], prefix+"/"), "%s refreshes to %s", to, m[1])
		link = html.UnescapeString(m[1])
	}
	assert.Fail(v.t, "redirected in circles", "%s, linked from %s", link, from.at)
	return from
}

// crawl opens all that can be reached from the home page, expects each link to lead to
// the page that it names, and returns how many there are.
func (v visitor) crawl() int {
	v.t.Helper()
	home := v.open(page{at: &url.URL{Scheme: "http", Host: "localhost"}}, prefix+"/")
	require.Equal(v.t, http.StatusOK, home.code)
	queue, seen := []page{home}, map[string]bool{home.at.Path: true}
	for i := 0; i < len(queue); i++ {
		from := queue[i]
		if m := baseLink.FindStringSubmatch(from.body); m != nil {
			base, err := from.at.Parse(m[1])
			require.NoError(v.t, err)
			from.at = base
		}
		for _, m := range styleLink.FindAllStringSubmatch(from.body, -1) {
			assert.True(v.t, strings.HasPrefix(m[1], prefix+"/"), "%s in %s", m[1], from.at)
			assert.Contains(v.t, v.open(from, m[1]).body, "color:red", "%s in %s", m[1], from.at)
		}
		links := namedLink.FindAllStringSubmatch(from.body, -1)
		assert.NotEmpty(v.t, links, from.at)
		for _, m := range links {
			to := v.open(from, html.UnescapeString(m[1]))
			assert.Equal(v.t, http.StatusOK, to.code, "%s in %s", m[1], from.at)
			assert.Contains(v.t, to.body, v.content(m[2]), "%s in %s leads to %s", m[1], from.at, to.at)
			if !seen[to.at.Path] && m[2] != "robots" {
				seen[to.at.Path] = true
				queue = append(queue, to)
			}
		}
	}
	lost := v.open(home, "nowhere/at/all")
	assert.Equal(v.t, http.StatusNotFound, lost.code)
	assert.Contains(v.t, lost.body, "<h1>missing</h1>")
	return len(queue)
}

// content is what the page behind a link of that name shows.
func (v visitor) content(name string) string {
	switch {
	case name == "robots":
		return "User-agent"
	case name == "old":
		name = "about"
	case name == "was":
		name = "one"
	case name == "home" && v.redirectsHome:
		name = "de"
	}
	return "<h1>" + name + "</h1>"
}
