package docker

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
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
	"github.com/webordinary/router/internal/gitserver"
	"github.com/webordinary/router/sessions"
)

// watching is the server of a site that looks for secrets all the time.
//
//go:embed testdata/watching.mjs
var watching string

// seen is what it has come to.
type seen struct {
	Rounds int      `json:"rounds"`
	Git    []string `json:"git"`
	Keys   int      `json:"keys"`
	Found  []string `json:"found"`
}

// remote is a git server which can be made to wait while git speaks to it.
type remote struct {
	url                string
	credential, secret string
	// hold has it wait until release is called, which may be called again.
	hold func() (release func())
}

// leadTo has a port of all addresses lead to a server on loopback.
func leadTo(t *testing.T, to string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				conns.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // either may leave
					pair[0].Close()
					pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// gateway is the address of this side of a container's network.
func (d *deployment) gateway(c sessions.Container) string {
	d.t.Helper()
	for _, n := range d.inspect(c).NetworkSettings.Networks {
		return n.Gateway
	}
	require.FailNow(d.t, "no network")
	return ""
}

// TestSecretsAreOutOfReachWhileGitSpeaks holds git up while it fetches and pushes, with
// the key or token in use and the site's own server looking for it.
func TestSecretsAreOutOfReachWhileGitSpeaks(t *testing.T) {
	for name, serve := range map[string]func(*deployment, string, sessions.Container) remote{"ssh": overSSH, "https": overHTTPS} {
		t.Run(name, func(t *testing.T) {
			repositories := t.TempDir()
			d := deploy(t, func(o *Options) {
				if name == "https" {
					o.Tunables.Volumes = []Volume{{Source: repositories, Target: "/ca", ReadOnly: true}}
					o.Tunables.Env = map[string]string{"SSL_CERT_FILE": "/ca/ca.pem"}
				}
			})
			c := d.start(d.runner(), request("one", 1))
			d.answers(c)
			r := serve(d, repositories, c)
			backwards, err := json.Marshal(pieces(r.secret, bootapi.HashToken("secret")))
			require.NoError(t, err)
			gitSite(t, repositories, "amelia", map[string]string{
				"package.json": `{ "name": "amelia" }`, ".gitignore": "dist/\nnode_modules/\n",
				"entry.mjs": watching, "backwards.json": string(backwards),
			})
			d.claimSite(c, "amelia", bootapi.Site{
				RepositoryURL: r.url, Branch: "main", AllowFile: true, DeployKey: bootapi.Secret(r.credential),
				Install: "true", Command: "mkdir -p dist/client dist/server && cp entry.mjs dist/server/",
				Env: map[string]string{"GIT_SSH_COMMAND": "touch /tmp/planted", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.sshCommand", "GIT_CONFIG_VALUE_0": "touch /tmp/planted"},
			})

			watch := func(what string) {
				t.Helper()
				var now, first seen
				require.Eventually(t, func() bool {
					require.NoError(t, json.Unmarshal(d.get(c, "/session/one/seen"), &now))
					if first.Rounds == 0 && len(now.Git) > 0 {
						first = now
					}
					return first.Rounds > 0 && now.Rounds > first.Rounds+20
				}, patience, 20*time.Millisecond, "%s is seen: %+v", what, &now)
				assert.Empty(t, now.Found, what)
				assert.Equal(t, name == "ssh", now.Keys > 0, "%s: the key's file is there", what)
			}
			release := r.hold()
			defer release()
			require.Equal(t, http.StatusAccepted, ask(c, http.MethodPost, bootapi.PathRebuild, nil))
			watch("fetching")
			release()
			require.Eventually(t, func() bool { s := d.status(c); return s.Phase == bootapi.PhaseReady && s.Busy == "" }, patience, 50*time.Millisecond)

			_, status := d.exec(c, "echo edited >/session/workspace/work.txt")
			require.Zero(t, status)
			release = r.hold()
			defer release()
			var saving sync.WaitGroup
			saving.Go(func() { assert.Equal(t, http.StatusOK, ask(c, http.MethodPost, bootapi.PathSave, nil)) })
			watch("pushing")
			release()
			saving.Wait()
			out, err := exec.CommandContext(t.Context(), "git", "--git-dir", filepath.Join(repositories, "amelia.git"), "show", "webordinary/one:work.txt").CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Equal(t, "edited\n", string(out))
			planted, _ := d.exec(c, "ls /tmp")
			assert.NotContains(t, planted, "planted")
			require.Eventually(t, func() bool {
				left, _ := d.exec(c, "ls /session")
				return !strings.Contains(left, "git.new-")
			}, patience, 50*time.Millisecond, "nothing is left of a key")
		})
	}
}

// pieces are the lines of secrets that can be told from anything else, backwards.
func pieces(secrets ...string) []string {
	var all []string
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
				back := []byte(line)
				for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
					back[i], back[j] = back[j], back[i]
				}
				all = append(all, string(back))
			}
		}
	}
	return all
}

func overSSH(d *deployment, repositories string, c sessions.Container) remote {
	d.t.Helper()
	sshd := gitserver.NewSSHD(d.t)
	key, err := os.ReadFile(sshd.Allow("amelia"))
	require.NoError(d.t, err)
	addr := fmt.Sprintf("%s:%d", d.gateway(c), leadTo(d.t, sshd.Addr()))
	return remote{
		url: sshd.URLAt(addr, filepath.Join(repositories, "amelia.git")), credential: string(key), secret: string(key),
		hold: func() func() {
			sshd.Hold()
			return sync.OnceFunc(sshd.Release)
		},
	}
}

func overHTTPS(d *deployment, repositories string, c sessions.Container) remote {
	d.t.Helper()
	const token = "a-token-that-nobody-else-may-have"
	var gate sync.RWMutex
	server := gitserver.NewHTTPS(d.t, repositories, "amelia", token, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); ok {
				gate.RLock()
				defer gate.RUnlock()
			}
			next.ServeHTTP(w, r)
		})
	})
	ca, err := os.ReadFile(server.CA)
	require.NoError(d.t, err)
	require.NoError(d.t, os.WriteFile(filepath.Join(repositories, "ca.pem"), ca, 0o644))
	// Its certificate is for 127.0.0.1, the container's own too.
	_, status := d.exec(c, fmt.Sprintf(`node -e '
		const net = require("net");
		net.createServer((from) => {
			const to = net.connect(%d, "%s", () => { from.pipe(to); to.pipe(from); });
			for (const s of [from, to]) s.on("error", () => { from.destroy(); to.destroy(); });
		}).listen(9443, "127.0.0.1");
	' >/dev/null 2>&1 &`, leadTo(d.t, server.Listener.Addr().String()), d.gateway(c)))
	require.Zero(d.t, status)
	return remote{url: "https://127.0.0.1:9443/amelia.git", credential: "amelia:" + token, secret: token, hold: func() func() {
		gate.Lock()
		return sync.OnceFunc(gate.Unlock)
	}}
}
