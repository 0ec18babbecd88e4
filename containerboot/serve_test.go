package containerboot_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
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

// serverSite is a site whose build leaves what Astro's Node adapter leaves, without Astro.
var serverSite = with(plainSite, map[string]string{
	"server.mjs": `import fs from "node:fs";
import http from "node:http";
import { word } from "pkg"; // from the workspace's packages
import { manifest } from "./manifest.mjs";
const lazy = () => import("./lazy.mjs");
http.createServer(async (req, res) => {
  const own = "http://" + req.headers.host;
  switch (req.url) {
    case "/": // fetches from itself, by the host that it was asked for
      res.setHeader("Content-Type", "text/html");
      return res.end("<head></head><img src='/_astro/a.png'>" + word + " " + await (await fetch(own + "/api/time")).text() + " " + (await lazy()).text);
    case "/api/time": return res.end("noon");
    case "/hosts": return res.end(JSON.stringify(manifest.allowedDomains));
    case "/broken": res.statusCode = fs.existsSync("mended") ? 200 : 500; return res.end();
    case "/env": return res.end(JSON.stringify(process.env));
    case "/crash": process.exit(3);
    case "/go": res.writeHead(302, {Location: own + "/about/?x=1", "Set-Cookie": ["a=1; Path=/", "b=2; path=/shop"], "X-Webordinary-Proof": "forged"}); return res.end();
    case "/form": return res.end(req.method + " " + req.headers.origin?.replace(own, "own"));
    case "/hints": res.writeEarlyHints({link: "</_astro/a.css>; rel=preload"}); return res.end("hinted");
    case "/stream": res.write("one,"); return void function wait() { fs.existsSync("go-on") ? res.end("two") : setTimeout(wait, 20) }();
  }
  res.statusCode = 404;
  res.end("no " + req.url);
}).on("upgrade", (req, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + req.url + " " + (req.headers.origin === "http://" + req.headers.host));
  socket.end();
}).listen(process.env.PORT, process.env.HOST, () => console.log("listening"));
`,
	"build.mjs": `import fs from "node:fs";
fs.mkdirSync("node_modules/pkg", {recursive: true});
fs.writeFileSync("node_modules/pkg/package.json", '{"name":"pkg","type":"module","main":"index.mjs"}');
fs.writeFileSync("node_modules/pkg/index.mjs", "export const word = 'hello';");
fs.mkdirSync("dist/client/_astro", {recursive: true});
fs.mkdirSync("dist/server", {recursive: true});
fs.writeFileSync("dist/client/_astro/a.css", "x{background:url(/_astro/b.png)}");
fs.writeFileSync("dist/server/lazy.mjs", "export const text = " + JSON.stringify(fs.readFileSync("text.txt", "utf8")) + ";");
fs.writeFileSync("dist/server/manifest.mjs", 'export const manifest = {"checkOrigin":true,"limit":1048576,"allowedDomains":[],"key":""};');
fs.copyFileSync("server.mjs", "dist/server/entry.mjs");
`,
})

func TestServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serverSite)
	claim := w.claim("s1")
	claim.Site.Env = map[string]string{"PORT": "1", "TOLD": "yes"}
	c, _ := w.ready(claim)
	const prefix = "/session/s1"

	code, body := c.get(prefix + "/")
	require.Equal(t, http.StatusOK, code, body)
	assert.Contains(t, body, "hello noon hello")
	assert.Contains(t, body, `src='/session/s1/_astro/a.png'`)
	assert.Contains(t, body, `<script async src="/session/s1/.webordinary/live.js"`)
	_, body = c.get(prefix + "/_astro/a.css")
	assert.Equal(t, "x{background:url(/session/s1/_astro/b.png)}", body)
	code, body = c.get(prefix + "/none/")
	assert.Equal(t, http.StatusNotFound, code)
	assert.Equal(t, "no /none/", body)
	_, body = c.get(prefix + "/a%2Fb?x=%zz")
	assert.Equal(t, "no /a%2Fb?x=%zz", body)

	_, body = c.get(prefix + "/env")
	env := decode[map[string]string](t, body)
	assert.Equal(t, "yes", env["TOLD"])
	assert.NotEqual(t, "1", env["PORT"])
	assert.NotContains(t, body, "must-not-leak")
	assert.NotContains(t, body, bootapi.HashToken(claim.Token))

	resp := c.request(http.MethodPost, prefix+"/form", "a=1", "Origin", c.url) //nolint:bodyclose // closed by Cleanup
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "POST own", string(got))

	_, body = c.get(prefix + "/hosts")
	assert.Equal(t, "[{}]", body, "the hosts that Astro takes a request's for")

	_, body = c.get(prefix + "/hints")
	assert.Equal(t, "hinted", body)

	// A redirect to its own host leads into the session; what the edge trusts is not forged.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+prefix+"/go", nil)
	require.NoError(t, err)
	r.Header.Set(bootapi.HeaderToken, c.token)
	resp, err = http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, "/session/s1/about/?x=1", resp.Header.Get("Location"))
	assert.Equal(t, []string{"a=1; Path=/", "b=2; Path=/session/s1/shop"}, resp.Header["Set-Cookie"])
	assert.NotEqual(t, "forged", resp.Header.Get("X-Webordinary-Proof"))

	// Streams come as they are sent.
	stream := c.request(http.MethodGet, prefix+"/stream", nil) //nolint:bodyclose // closed by Cleanup
	part := make([]byte, 4)
	_, err = io.ReadFull(stream.Body, part)
	require.NoError(t, err)
	write(t, filepath.Join(w.workspace("s1"), "go-on"), "")
	rest, err := io.ReadAll(stream.Body)
	require.NoError(t, err)
	assert.Equal(t, "one,two", string(part)+string(rest))

	assert.Equal(t, "/socket true", c.socket(prefix+"/socket"))
	assert.Zero(t, c.stop())
	left, err := os.ReadDir(filepath.Join(w.dir, "sessions/s1/servers"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// socket shakes hands and returns what comes after.
func (c *container) socket(path string) string {
	c.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(c.t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: edit.amelia.localhost\r\nOrigin: http://edit.amelia.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s: %s\r\n\r\n",
		path, bootapi.HeaderToken, c.token)
	require.NoError(c.t, err)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // the connection is closed
	require.NoError(c.t, err)
	require.Equal(c.t, http.StatusSwitchingProtocols, resp.StatusCode)
	rest, err := io.ReadAll(in)
	require.NoError(c.t, err)
	return string(rest)
}

// TestServerThatCrashes is started again; it is said meanwhile, and who asks waits.
func TestServerThatCrashes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serverSite)
	c, _ := w.ready(w.claim("s1"))
	for range 2 {
		code, _ := c.get("/session/s1/crash")
		assert.Equal(t, http.StatusBadGateway, code)
		code, body := c.get("/session/s1/api/time")
		assert.Equal(t, http.StatusOK, code, body)
	}
	c.says("a server ended")
	c.await(func() bool { return c.status().Failure == nil })
	code, _ := c.get(bootapi.PathHealth)
	assert.Equal(t, http.StatusOK, code)
	assert.Zero(t, c.stop())
}

// TestServerSwitches rebuilds: the old server answers until the new one does.
func TestServerSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serverSite)
	claim := w.claim("s1")
	c, before := w.ready(claim)
	w.git(w.work, "checkout", "-q", "-b", claim.EditBranch)
	// Its lazily loaded parts are those of its own build, also after the next one.
	w.push(map[string]string{"text.txt": "changed"})
	done := make(chan struct{})
	var wrong []string
	go func() {
		defer close(done)
		for range 10_000 {
			_, body := c.get("/session/s1/")
			if strings.Contains(body, "noon changed") {
				return
			}
			if !strings.Contains(body, "noon hello") {
				wrong = append(wrong, body)
			}
		}
	}()
	code, _ := c.post(bootapi.PathRebuild, nil)
	require.Equal(t, http.StatusAccepted, code)
	<-done
	assert.Empty(t, wrong)
	c.await(func() bool { return c.status().Build != before.Build })

	// A build whose server does not answer does not take over.
	w.push(map[string]string{"server.mjs": "process.exit(1)"})
	code, _ = c.post(bootapi.PathRebuild, nil)
	require.Equal(t, http.StatusAccepted, code)
	c.await(func() bool { return c.status().Failure != nil })
	assert.Equal(t, "The site's server ended before it answered: the site's server ended with status 1.", c.status().Failure.Cause)
	_, body := c.get("/session/s1/")
	assert.Contains(t, body, "noon changed")
	assert.Zero(t, c.stop())
}

// TestServerIsCached: another session of the same content runs the first one's build.
func TestServerIsCached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(serverSite, map[string]string{"server.mjs": strings.Replace(serverSite["server.mjs"], `import { word } from "pkg"; // from the workspace's packages`, "const word = 'hello';", 1)}))
	c, _ := w.ready(w.claim("s1"))
	assert.Zero(t, c.stop())
	c, status := w.ready(w.claim("s2"))
	assert.Contains(t, status.Reused, "build")
	_, body := c.get("/session/s2/")
	assert.Contains(t, body, "hello noon hello")
	assert.Contains(t, body, "/session/s2/_astro/a.png")
}

// TestServerFailures has sites whose server does not come up.
func TestServerFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		claim func(*bootapi.Claim)
		cause string
		exit  int
	}{
		"no server": {
			files: plainSite, claim: func(c *bootapi.Claim) { c.Site.Mode = "server" },
			cause: `The build left no server/entry.mjs in the folder "dist".`, exit: 13,
		},
		"ends": {
			files: with(serverSite, map[string]string{"server.mjs": "throw new Error('no database')"}),
			cause: "The site's server ended before it answered: ", exit: 14,
		},
		"middleware mode": {
			files: with(serverSite, map[string]string{"server.mjs": "export const handler = () => {}"}),
			cause: "The site's server ended at once, without an error.", exit: 14,
		},
		"health": { // its home page answers 200, and is broken
			files: serverSite, claim: func(c *bootapi.Claim) { c.Site.HealthPath = "/broken" },
			cause: "The site was built but answers 500 for /broken.", exit: 14,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.files)
			claim := w.claim("s1")
			if c.claim != nil {
				c.claim(&claim)
			}
			boot, status := w.boot(claim)
			require.Equal(t, bootapi.PhaseFailed, status.Phase)
			assert.Contains(t, status.Failure.Cause, c.cause)
			assert.Equal(t, c.exit, boot.stop())
		})
	}
}

// TestServerThatNeedsAMoment is waited for where the site says how to check it.
func TestServerThatNeedsAMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serverSite)
	claim := w.claim("s1")
	claim.Site.HealthPath = "/broken"
	c := w.start("s1", claim.Token)
	code, _ := c.post(bootapi.PathClaim, claim)
	require.Equal(t, http.StatusOK, code)
	c.await(func() bool { return c.status().Step == "starting the site's server" })
	write(t, filepath.Join(w.workspace("s1"), "mended"), "")
	assert.Equal(t, bootapi.PhaseReady, c.settled().Phase)
}

// TestLive has open pages told of another build.
func TestLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": `import fs from "node:fs"; fs.mkdirSync("dist", {recursive: true}); fs.writeFileSync("dist/index.html", "<head></head>" + fs.readFileSync("text.txt"));`,
	}))
	claim := w.claim("s1")
	c, status := w.ready(claim)
	require.NotEmpty(t, status.Build)
	_, body := c.get("/session/s1/")
	assert.Contains(t, body, fmt.Sprintf(`data-build="%s" data-events="/session/s1/api/events"`, status.Build))
	code, script := c.get("/session/s1/.webordinary/live.js")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, script, "EventSource")
	events := c.events("/session/s1" + bootapi.PathEvents)
	w.git(w.work, "checkout", "-q", "-b", claim.EditBranch)
	w.push(map[string]string{"text.txt": "changed"})
	code, _ = c.post(bootapi.PathRebuild, nil)
	require.Equal(t, http.StatusAccepted, code)
	limit := time.After(time.Minute)
	for told := false; !told; {
		select {
		case e := <-events:
			told = e.name == bootapi.EventStatus && decode[bootapi.Status](t, e.data).Build != status.Build
		case <-limit:
			t.Fatal("no event told of another build")
		}
	}
	_, body = c.get("/session/s1/")
	assert.Contains(t, body, "changed")
	assert.Contains(t, body, c.status().Build)
}
