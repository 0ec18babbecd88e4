package docker

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

func TestRootIsReadOnly(t *testing.T) {
	d := deploy(t, nil)
	c := d.start(d.runner(), request("one", 1))
	for _, path := range []string{"/file", "/etc/file", "/usr/local/bin/file", "/opt/file", "/var/tmp/file"} {
		out, status := d.exec(c, "echo x >"+path)
		assert.NotZero(t, status, path)
		assert.Contains(t, out, "Read-only file system", path)
	}
	for _, path := range []string{"/tmp/file", "/session/file", "/cache/file"} {
		out, status := d.exec(c, "echo x >"+path)
		assert.Zero(t, status, "%s: %s", path, out)
	}
}

func TestPrivilegesAreFew(t *testing.T) {
	d := deploy(t, nil)
	c := d.start(d.runner(), request("one", 1))
	d.answers(c)
	// CHOWN is bit 0, DAC_OVERRIDE 1, KILL 5, SETGID 6 and SETUID 7.
	want := "CapInh:\t0\nCapPrm:\te3\nCapEff:\te3\nCapBnd:\te3\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2"
	for _, process := range []string{"1", "$(basename $(dirname $(grep -lx containerboot /proc/[0-9]*/comm)))", "self"} {
		out, status := d.exec(c, `sed -n 's/\t0*\([0-9a-f]\)/\t\1/; /^Cap/p; /^NoNewPrivs/p; /^Seccomp:/p' /proc/`+process+`/status`)
		require.Zero(t, status, out)
		assert.Equal(t, want, strings.ReplaceAll(out, "CapInh:\te3", "CapInh:\t0"), process)
	}
	// What it has is enough to run something as the client's user, and to end it.
	out, status := d.exec(c, `
		mkdir /session/site && chown site:site /session/site || exit
		node -e '
			const child = require("child_process").spawn("sh", ["-c", "id -u; touch /session/site/file; exec sleep 600"], { uid: 10001, gid: 10001 });
			child.stdout.on("data", (text) => { process.stdout.write(text); });
			child.on("exit", (code, signal) => console.log(signal));
			setTimeout(() => child.kill("SIGKILL"), 1000);
		' && stat -c %U /session/site/file`)
	assert.Zero(t, status, out)
	assert.Equal(t, "10001\nSIGKILL\nsite", out)
	for what, script := range map[string]string{
		"a mount":              "mount -t tmpfs none /tmp",
		"a device":             "mknod /session/disk b 254 0",
		"settings of the host": "echo 1 >/proc/sys/kernel/panic",
		// Beside the older kernels' controllers lies a folder of no meaning.
		"a group of its own": "d=/sys/fs/cgroup/memory; [ -d $d ] || d=/sys/fs/cgroup; mkdir $d/mine",
		"its own limits":     "d=/sys/fs/cgroup/pids; [ -d $d ] || d=/sys/fs/cgroup; echo max >$d/pids.max",
		"another's modes":    "setpriv --reuid=10001 --clear-groups touch /session/site/theirs; chmod 777 /session/site/theirs",
		"network settings":   "node -e 'require(\"fs\").writeFileSync(\"/proc/sys/net/ipv4/ip_forward\", \"1\")'",
	} {
		out, status := d.exec(c, script)
		assert.NotZero(t, status, "%s: %s", what, out)
	}
	out, status = d.exec(c, "cp /usr/bin/id /session/id && chmod u+s /session/id && setpriv --reuid=10001 --clear-groups /session/id -u")
	assert.Zero(t, status, out)
	assert.Equal(t, "10001", out, "set-user-id programs have no effect")
}

func TestEnvironmentIsMinimal(t *testing.T) {
	for name, value := range map[string]string{"AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "x", "HTTPS_PROXY": "http://proxy"} {
		t.Setenv(name, value)
	}
	d := deploy(t, func(o *Options) {
		o.Tunables.APIUpstream = "http://agent:7000"
		o.Tunables.Env = map[string]string{"NPM_CONFIG_REGISTRY": "http://registry.example", "TZ": "Europe/Vienna"}
	})
	got := map[string]string{}
	inspected := d.inspect(d.start(d.runner(), request("one", 1)))
	for _, kv := range inspected.Config.Env {
		name, value, _ := strings.Cut(kv, "=")
		got[name] = value
	}
	hash := bootapi.HashToken("secret")
	for name, value := range map[string]string{
		"SESSION_ID": "one", "WEBORDINARY_TOKEN_HASH": hash, "PORT": "8080", "WORKSPACE_PATH": "/session/workspace",
		"CACHE_PATH": "/cache", "API_UPSTREAM": "http://agent:7000", "NPM_CONFIG_REGISTRY": "http://registry.example", "TZ": "Europe/Vienna",
	} {
		assert.Equal(t, value, got[name], name)
		delete(got, name)
	}
	delete(got, "NODE_VERSION") // the image's, if it was made from Node's own
	delete(got, "YARN_VERSION")
	assert.Equal(t, []string{"PATH"}, slices.Sorted(maps.Keys(got)))
	for name, value := range inspected.Config.Labels {
		assert.NotContains(t, value, hash, name)
	}
}

// reaches reports whether a container can connect to an address.
func (d *deployment) reaches(from sessions.Container, address string) bool {
	d.t.Helper()
	host, port, err := net.SplitHostPort(address)
	require.NoError(d.t, err)
	_, status := d.exec(from, fmt.Sprintf("timeout 4 bash -c 'exec 3<>/dev/tcp/%s/%s'", host, port))
	return status == 0
}

func TestClientsCannotReachEachOther(t *testing.T) {
	d := deploy(t, nil)
	r := d.runner()
	of := func(client, id string) (sessions.Container, string) {
		req := request(id, 1)
		req.ClientID = client
		c := d.start(r, req)
		d.answers(c)
		for _, n := range d.inspect(c).NetworkSettings.Networks {
			return c, net.JoinHostPort(n.IPAddress, "8080")
		}
		return c, ""
	}
	amelia, ameliaAt := of("amelia", "one")
	second, secondAt := of("amelia", "two")
	bramble, brambleAt := of("bramble", "three")

	assert.True(t, d.reaches(amelia, secondAt), "this way of asking works")
	assert.True(t, d.reaches(second, ameliaAt))
	var asking sync.WaitGroup // each waits in vain
	for address, from := range map[string]sessions.Container{brambleAt: amelia, ameliaAt: bramble, secondAt: bramble} {
		asking.Go(func() { assert.False(t, d.reaches(from, address), "%s reaches %s", from.SessionID, address) })
	}
	asking.Wait()

	names := map[string]bool{}
	for _, n := range d.networks() {
		names[n.Name] = true
	}
	assert.Equal(t, map[string]bool{d.name + "-amelia": true, d.name + "-bramble": true}, names)

	// Nor can they write into each other's volumes.
	_, status := d.exec(amelia, "echo amelia >/cache/file && echo one >/session/file")
	require.Zero(t, status)
	for c, want := range map[sessions.Container]string{second: "amelia", bramble: ""} {
		out, _ := d.exec(c, "cat /cache/file /session/file 2>/dev/null")
		assert.Equal(t, want, out)
	}
}
