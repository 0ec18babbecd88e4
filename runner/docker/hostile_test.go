package docker

import (
	"context"
	_ "embed"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// hostile is the build script of a site that tries what it must not, and reports what
// came of it.
//
//go:embed testdata/hostile.mjs
var hostile string

// deployKey is found by the script if it can be.
const deployKey = "the-deploy-key-that-nobody-may-read"

// server is that of another client's site, which needs a package and writes in its folder.
const server = `
	import http from "node:http";
	import fs from "node:fs";
	fs.writeFileSync("node_modules/some/cache", "x");
	fs.writeFileSync(new URL("state", import.meta.url), "x");
	const text = fs.readFileSync("node_modules/some/text", "utf8");
	http.createServer((_, res) => res.end(text + process.getuid())).listen(process.env.PORT, process.env.HOST);
`

// gitSite makes the repository of a site in a folder, and returns its path there.
func gitSite(t *testing.T, folder, name string, files map[string]string) {
	t.Helper()
	tree := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(tree, name), []byte(text), 0o644))
	}
	bare := filepath.Join(folder, name+".git")
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", bare},
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "."},
		{"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "site"},
		{"push", "--quiet", bare, "main"},
	} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = tree
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

// claim gives a container its session, and waits until its site answers or has failed.
func (d *deployment) claim(c sessions.Container, client, install, command string) {
	d.t.Helper()
	d.claimSite(c, client, bootapi.Site{
		RepositoryURL: "file:///repositories/" + client + ".git", Branch: "main", AllowFile: true,
		DeployKey: "-----BEGIN PRIVATE KEY-----\n" + deployKey + "\n-----END PRIVATE KEY-----\n", Install: install, Command: command,
	})
}

// claimSite does the same with a site of one's own.
func (d *deployment) claimSite(c sessions.Container, client string, site bootapi.Site) {
	d.t.Helper()
	d.answers(c)
	body, err := json.Marshal(bootapi.Claim{
		Token: "secret", SessionID: c.SessionID, ClientID: client, Epoch: 1,
		EditBranch: "webordinary/" + c.SessionID, Prefix: "/session/" + c.SessionID, Site: site,
	})
	require.NoError(d.t, err)
	require.Equal(d.t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathClaim, body))
	require.Eventually(d.t, func() bool {
		s := d.status(c)
		return s.Phase == bootapi.PhaseReady || s.Failure != nil
	}, patience, 50*time.Millisecond)
	require.Nil(d.t, d.status(c).Failure)
}

func (d *deployment) status(c sessions.Container) (s bootapi.Status) {
	d.t.Helper()
	require.NoError(d.t, json.Unmarshal(d.get(c, bootapi.PathStatus), &s))
	return s
}

// get is what a container answers.
func (d *deployment) get(c sessions.Container, path string) []byte {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Address+path, nil)
	require.NoError(d.t, err)
	req.Header.Set(bootapi.HeaderToken, "secret")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	return body
}

// rebuild asks for a build and waits until it has failed, or another one is served.
func (d *deployment) rebuild(c sessions.Container) *bootapi.Failure {
	d.t.Helper()
	was := d.status(c)
	require.Equal(d.t, http.StatusAccepted, ask(c, http.MethodPost, bootapi.PathRebuild, nil))
	var now bootapi.Status
	require.Eventually(d.t, func() bool {
		now = d.status(c)
		return now.Build != was.Build || now.Failure != nil && (was.Failure == nil || *now.Failure != *was.Failure)
	}, patience, 50*time.Millisecond, "last: %+v", &now)
	return now.Failure
}

// keepsAnswering asks a container for a page again and again until the returned function
// is called: each time it must be there.
func (d *deployment) keepsAnswering(c sessions.Container, path, want string) (stop func()) {
	ended := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				assert.Positive(d.t, n)
				return
			case <-time.After(100 * time.Millisecond):
			}
			if !assert.Equal(d.t, want, string(d.get(c, path))) {
				return
			}
		}
	})
	return func() {
		close(ended)
		asking.Wait()
	}
}

// nothingRuns waits until the client's code has no process in a container.
func (d *deployment) nothingRuns(c sessions.Container) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		out, _ := d.exec(c, `for f in /proc/[0-9]*/status; do if grep -q "^Uid:.10001" $f 2>/dev/null && ! grep -q "^State:.Z" $f; then cat $f | head -1; fi; done`)
		return out == ""
	}, patience, 50*time.Millisecond)
}

func TestHostileSiteIsContained(t *testing.T) {
	repositories := t.TempDir()
	gitSite(t, repositories, "amelia", map[string]string{
		"package.json": `{ "name": "amelia" }`, ".gitignore": "dist/\nnode_modules/\n", "hostile.mjs": hostile,
	})
	gitSite(t, repositories, "bramble", map[string]string{
		"package.json": `{ "name": "bramble" }`, ".gitignore": "dist/\nnode_modules/\n", "package-lock.json": `{ "lockfileVersion": 3 }`, "entry.mjs": server,
	})
	d := deploy(t, func(o *Options) {
		o.Tunables.Sizes = map[string]Size{"small": {Memory: 512 * mebibyte, CPUs: 1, Processes: 160}}
		o.Tunables.Volumes = []Volume{{Source: repositories, Target: "/repositories"}}
	})
	r := d.runner()
	c := d.start(r, request("one", 1))
	neighbourRequest := request("two", 1)
	neighbourRequest.ClientID = "bramble"
	neighbour := d.start(r, neighbourRequest)
	serve := func(c sessions.Container) {
		d.claim(c, "bramble", "mkdir -p node_modules/some && echo neighbour >node_modules/some/text", "mkdir -p dist/client dist/server && cp entry.mjs dist/server/")
		assert.Equal(t, "neighbour\n10001", string(d.get(c, "/session/"+c.SessionID+"/")))
	}
	serve(neighbour)

	defer d.keepsAnswering(neighbour, "/session/two/", "neighbour\n10001")()

	// As it lies there while git speaks to the remote.
	_, status := d.exec(c, "umask 077; echo "+deployKey+" >/session/git.key")
	require.Zero(t, status)
	d.claim(c, "amelia", "true", "node hostile.mjs "+bootapi.HashToken("secret")+" "+deployKey[4:])
	page := "/session/one/report.json"
	var did map[string]string
	require.NoError(t, json.Unmarshal(d.get(c, page), &did))
	assert.Equal(t, "10001", did["uid"])
	delete(did, "uid")
	assert.GreaterOrEqual(t, len(did), 57)
	for what, happened := range did {
		assert.Empty(t, happened, what)
	}
	d.nothingRuns(c)

	// What it planted in the workspace's repository runs for nobody, and keeps no work from being saved.
	require.Equal(t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathSave, nil))
	saved := func(name string) string {
		out, err := exec.CommandContext(t.Context(), "git", "--git-dir", filepath.Join(repositories, "amelia.git"), "show", "webordinary/one:"+name).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	assert.Equal(t, "work", saved("work.txt"))
	planted, _ := d.exec(c, "ls /tmp | grep planted")
	assert.Empty(t, planted)
	for _, name := range []string{"key.txt", "passwd.txt", "environ.txt", "up/HEAD", "root/etc/passwd", "cache/amelia/known_hosts", "pipe.txt", "socket.txt"} {
		assert.Equal(t, "There is nothing at this address.\n", string(d.get(c, "/session/one/"+name)), name)
	}
	assert.NotEmpty(t, saved("--work\nin two lines.txt"))
	// Its .git leads to containerboot's own.
	_, status = d.exec(c, "cd /session/workspace && mv .git ../dotgit && ln -s /session/git .git && echo more >work.txt && cp /session/git/config /session/before")
	require.Zero(t, status)
	require.Equal(t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathSave, nil))
	assert.Equal(t, "more\n", saved("work.txt"))
	_, status = d.exec(c, "cmp /session/git/config /session/before && [ ! -e /session/git/index.lock ] && rm /session/workspace/.git && mv /session/dotgit /session/workspace/.git")
	assert.Zero(t, status)

	for kind, cause := range map[string]string{
		"fork": "The build failed: it started too many processes.", "fill": "The disk is full.", "files": "The disk is full.",
		"memory": "There was not enough memory: the limit is 512 MB.",
		"huge":   `The build left 2097152 MB in the folder "dist", of which 2097152 MB are huge.bin: at most 2048 MB can be served.`,
	} {
		_, status := d.exec(c, "echo "+kind+" >/session/workspace/kind")
		require.Zero(t, status)
		failure := d.rebuild(c)
		require.NotNil(t, failure, kind)
		assert.Equal(t, cause, failure.Cause, kind)
		d.nothingRuns(c)
		assert.True(t, json.Valid(d.get(c, page)), "what was built before is served")
		require.Equal(t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathSave, nil))
		_, status = d.exec(c, "rm -rf /session/workspace/kind /tmp/fill* /dev/shm/fill*")
		require.Zero(t, status)
	}
	assert.Nil(t, d.rebuild(c))
	assert.Nil(t, d.rebuild(neighbour))
	// What comes from the cache is the client's code's as well.
	require.Eventually(t, func() bool {
		_, status := d.exec(neighbour, "ls /cache/bramble/node_modules/*/whole.json")
		return status == 0
	}, patience, 50*time.Millisecond)
	neighbourRequest.SessionID = "three"
	third := d.start(r, neighbourRequest)
	serve(third)
	assert.ElementsMatch(t, []string{"install", "build"}, d.status(third).Reused)
	files, _ := d.exec(neighbour, "find /cache /session /tmp -name 'planted*'")
	assert.Empty(t, strings.TrimSpace(files))
}
