package containerboot_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestRebuild switches between whole builds while requests come in.
func TestRebuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{"build.mjs": `import fs from "node:fs";
while (fs.existsSync("../wait")) await new Promise((r) => setTimeout(r, 5));
fs.rmSync("dist", {recursive: true, force: true});
fs.mkdirSync("dist");
fs.writeFileSync("dist/index.html", "<h1>half");
await new Promise((r) => setTimeout(r, 200));
fs.appendFileSync("dist/index.html", fs.readFileSync("text.txt", "utf8") + "</h1>");
`}))
	c, _ := w.ready(w.claim("s1"))
	const whole = "<h1>half%s</h1>"

	var seen sync.Map
	var asked atomic.Int64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				code, body, err := c.fetch("/session/s1/")
				if !assert.NoError(t, err) {
					return
				}
				seen.Store(fmt.Sprint(code, " ", body), true)
				asked.Add(1)
			}
		})
	}
	shows := func(text string) func() bool {
		return func() bool {
			_, ok := seen.Load("200 " + fmt.Sprintf(whole, text))
			return ok
		}
	}
	c.await(shows("hello"))
	write(t, w.workspace("s1")+"/text.txt", "by hand")
	wait := filepath.Join(w.workspace("s1"), "../wait")
	write(t, wait, "") // a build lasts for as long as the requests come
	for range 20 {
		code, _ := c.post("/session/s1"+bootapi.PathRebuild, nil)
		require.Equal(t, http.StatusAccepted, code)
	}
	require.NoError(t, os.Remove(wait))
	c.await(shows("by hand"))

	// What somebody else pushes is fetched by a rebuild.
	w.push(map[string]string{"other.txt": "x"})
	write(t, w.workspace("s1")+"/text.txt", "last")
	c.post(bootapi.PathRebuild, nil)
	c.await(shows("last"))
	close(stop)
	readers.Wait()
	assert.Positive(t, asked.Load())
	seen.Range(func(key, _ any) bool {
		assert.Contains(t, []string{"200 " + fmt.Sprintf(whole, "hello"), "200 " + fmt.Sprintf(whole, "by hand"), "200 " + fmt.Sprintf(whole, "last")}, key)
		return true
	})
	assert.LessOrEqual(t, strings.Count("\n"+w.called(), "\nnpm run build\n"), 4, "twenty requests are two builds, beside the first and the last")

	// A build that fails leaves the old one in its place, and says so.
	write(t, w.workspace("s1")+"/build.mjs", "throw new Error('no')")
	c.post(bootapi.PathRebuild, nil)
	c.await(func() bool { return c.status().Failure != nil })
	s := c.status()
	assert.Equal(t, bootapi.PhaseReady, s.Phase)
	assert.Equal(t, bootapi.PhaseBuilding, s.Failure.Phase)
	_, body := c.get("/")
	assert.Equal(t, fmt.Sprintf(whole, "last"), body)
}

// TestRemoteIsFollowedAfterAWake changes the edit branch while the session sleeps.
func TestRemoteIsFollowedAfterAWake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim)
	write(t, w.workspace("s1")+"/mine.txt", "mine")
	require.Zero(t, c.stop())
	w.git(w.work, "fetch", "-q")
	w.git(w.work, "checkout", "-q", "edit/s1")
	w.push(map[string]string{"text.txt": "pushed meanwhile"})

	c, status := w.ready(claim)
	assert.Equal(t, []string{"clone", "install"}, status.Reused[:2])
	c.await(func() bool {
		_, body := c.get("/")
		return body == "<h1>pushed meanwhile</h1>"
	})
	assert.FileExists(t, w.workspace("s1")+"/mine.txt")
	assert.Equal(t, w.git(w.work, "rev-parse", "HEAD"), c.status().Commit)
}

// TestWhatWasMendedOnTheRemoteIsBuilt wakes a session whose last boot failed.
func TestWhatWasMendedOnTheRemoteIsBuilt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{"build.mjs": "throw new Error('the oven is cold')"}))
	claim := w.claim("s1")
	c, status := w.boot(claim)
	require.NotNil(t, status.Failure)
	c.stop()

	c, status = w.boot(claim)
	require.NotNil(t, status.Failure, "nobody mended it yet")
	c.stop()

	w.push(map[string]string{"build.mjs": plainSite["build.mjs"]})
	c, status = w.ready(claim)
	assert.Equal(t, w.git(w.work, "rev-parse", "HEAD"), status.Commit)
	assert.NoFileExists(t, filepath.Join(w.dir, "sessions/s1/broken"))
	c.stop()
}

// fetch is get for other goroutines than the test's own.
func (c *container) fetch(path string) (int, string, error) {
	r, err := http.NewRequest(http.MethodGet, c.url+path, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set(bootapi.HeaderToken, c.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
