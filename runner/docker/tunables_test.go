package docker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// offline returns a runner whose engine does not exist.
func offline(t *testing.T, change func(*Options)) (*Runner, error) {
	t.Helper()
	o := Options{Host: "unix:///nowhere/engine.sock", Deployment: "test"}
	if change != nil {
		change(&o)
	}
	r, err := New(o)
	if err == nil {
		t.Cleanup(func() { assert.NoError(t, r.Close(t.Context())) })
	}
	return r, err
}

func TestTunablesAreChecked(t *testing.T) {
	r, err := offline(t, nil)
	require.NoError(t, err)
	assert.Equal(t, DefaultImage, r.tunables.Load().Image)
	assert.Equal(t, "test-", r.tunables.Load().NetworkPrefix)
	assert.Equal(t, DefaultSizes(), r.tunables.Load().Sizes)

	err = r.SetTunables(Tunables{
		Image: "another", NetworkPrefix: "A B", Publish: "localhost", User: "site", APIUpstream: "agent:7000",
		Sizes:   map[string]Size{"a": {Memory: 1, CPUs: 1}, "b": {Memory: 1 << 30}, "c": {Memory: 1 << 30, CPUs: 1, Processes: 3}},
		Volumes: []Volume{{Source: "data", Target: "/data"}, {Source: "/data", Target: "data"}, {Source: "/data", Target: "/session/data"}, {Source: "/", Target: "/x/.."}},
		Env:     map[string]string{"A-B": "x", "SESSION_ID": "x", "WEBORDINARY_TOKEN_HASH": "x", "FINE": "x"},
	})
	require.Error(t, err)
	assert.Equal(t, strings.TrimSpace(`
docker runner: network_prefix: must be 1 to 40 of a-z, 0-9, '-', '_' and '.', beginning with a letter or a digit, got "A B"
publish: must be one IP address of the engine's machine, got "localhost"
user: must be uid or uid:gid in numbers, got "site"
size a: memory must be at least 64 MiB, got 1 bytes
size b: must have at least 0.01 CPUs, got 0
size c: must have at least 16 processes, got 3
volume: source must be an absolute path of the engine's machine, got "data"
volume: target must be an absolute path, got "data"
volume: target /session/data is the container's own
volume: target /x/.. is the container's own
env: "A-B" is no name of a variable
env: SESSION_ID is set by the runner
env: WEBORDINARY_TOKEN_HASH is set by the runner
api_upstream: must be an origin, http://host:port`), err.Error())
	assert.Equal(t, DefaultImage, r.tunables.Load().Image, "nothing has changed")
	require.ErrorContains(t, r.SetTunables(Tunables{Publish: "0.0.0.0"}), "publish: must be one IP address", "which edges can dial")

	require.NoError(t, r.SetTunables(Tunables{
		Image: "another", NetworkPrefix: "clients-", Publish: "::1", User: "1000:1000",
		Sizes:   map[string]Size{"large": {Memory: 8 << 30, CPUs: 6}},
		Volumes: []Volume{{Source: "/tmp/data", Target: "/tmp/data", ReadOnly: true}},
	}))
	assert.Equal(t, Size{Memory: 8 << 30, CPUs: 6, Processes: 512}, r.tunables.Load().Sizes["large"])
	assert.Equal(t, DefaultSizes()["small"], r.tunables.Load().Sizes["small"])
}

func TestOptionsAreChecked(t *testing.T) {
	for host, want := range map[string]string{
		"ssh://me@engine": "ssh is not supported", "docker": "must be unix:///path or tcp://host:port", "unix://engine.sock": "must be absolute",
		"http://engine:2375": "must be unix:///path", "tcp://": "must be unix:///path",
	} {
		_, err := offline(t, func(o *Options) { o.Host = host })
		require.ErrorContains(t, err, want, host)
	}
	for _, name := range []string{"", "-x", "A", strings.Repeat("x", 41), "a/b"} {
		_, err := offline(t, func(o *Options) { o.Deployment = name })
		require.ErrorContains(t, err, "deployment: must be 1 to 40 of", name)
	}
	_, err := offline(t, func(o *Options) { o.TLS = &TLS{CA: "/no/ca.pem", Cert: "/no/cert.pem", Key: "/no/key.pem"} })
	require.ErrorContains(t, err, "/no/ca.pem")

	t.Setenv("DOCKER_HOST", "tcp://engine.example:2375")
	r, err := offline(t, func(o *Options) { o.Host = "" })
	require.NoError(t, err)
	assert.Equal(t, "tcp://engine.example:2375", r.host)
	t.Setenv("DOCKER_HOST", "")
	r, err = offline(t, func(o *Options) { o.Host = "" })
	require.NoError(t, err)
	assert.Equal(t, "unix:///var/run/docker.sock", r.host)
}

func TestStartsAreChecked(t *testing.T) {
	r, err := offline(t, nil)
	require.NoError(t, err)
	for want, change := range map[string]func() (id, client, hash string, epoch int64){
		"session id must have 1 to 200 bytes": func() (string, string, string, int64) { return "", "c", strings.Repeat("0", 64), 1 },
		"none of them zero":                   func() (string, string, string, int64) { return "a\x00", "c", strings.Repeat("0", 64), 1 },
		"client id must be set":               func() (string, string, string, int64) { return "a", "", strings.Repeat("0", 64), 1 },
		"epoch must be 1 or more":             func() (string, string, string, int64) { return "a", "c", strings.Repeat("0", 64), 0 },
		"token hash must be a SHA-256":        func() (string, string, string, int64) { return "a", "c", "secret", 1 },
	} {
		req := request("", 0)
		req.SessionID, req.ClientID, req.TokenHash, req.Epoch = change()
		_, err := r.Start(t.Context(), req)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestNamesAreTheirOwn(t *testing.T) {
	r, err := offline(t, nil)
	require.NoError(t, err)
	seen := map[string]string{}
	for _, id := range []string{"a", "A", "a b", "a_b", "a#b", "..", "ä", "cache", "cache-a", strings.Repeat("x", 200), strings.Repeat("x", 199)} {
		for _, name := range []string{r.sessionName(id), r.cacheName(id)} {
			assert.Regexp(t, `^test-[A-Za-z0-9_-]+$`, name)
			assert.LessOrEqual(t, len(name), 100)
			assert.Empty(t, seen[name])
			seen[name] = id
		}
	}
}
