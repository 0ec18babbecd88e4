package worktree_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
	"github.com/webordinary/router/internal/gitserver"
)

const testKey = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----"

// sshServes puts an ssh on PATH which runs git's command on this machine, after the given
// lines of shell. Its arguments, and the key it was given, are left in the returned folder.
func sshServes(t *testing.T, first string) (seen string) {
	t.Helper()
	dir, seen := t.TempDir(), t.TempDir()
	script := `#!/bin/sh
seen=` + seen + `
echo "$*" >> $seen/args
env > $seen/env
key=$(echo "$*" | sed -n 's/.*IdentityFile="\([^"]*\)".*/\1/p')
[ -n "$key" ] && stat -c %a "$key" > $seen/mode && cp "$key" $seen/key && echo "$key" > $seen/path
` + first + `
for command; do :; done
eval "$command"
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return seen
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.TrimSuffix(string(data), "\n")
}

func TestDeployKeyIsOnDiskOnlyWhileGitSpeaksToTheRemote(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
	t.Setenv("WEBORDINARY_TOKEN_HASH", "token-hash")
	t.Setenv("SSH_AUTH_SOCK", "/tmp/agent")
	seen := sshServes(t, "")
	r := newRig(t)
	r.cfg.URL, r.cfg.DeployKey = "ssh://git@git.example.com"+r.remote, testKey
	w := r.prepared()

	assert.Equal(t, testKey, content(t, filepath.Join(seen, "key")))
	assert.Equal(t, "600", content(t, filepath.Join(seen, "mode")))
	key := content(t, filepath.Join(seen, "path"))
	assert.NoFileExists(t, key)
	assert.False(t, strings.HasPrefix(key, r.cfg.Dir))
	args := content(t, filepath.Join(seen, "args"))
	for _, want := range []string{
		"-F /dev/null", "BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "StrictHostKeyChecking=accept-new",
		`UserKnownHostsFile="` + r.cfg.CacheDir + `/amelia/known_hosts"`, "git@git.example.com",
	} {
		assert.Contains(t, args, want)
	}
	env := content(t, filepath.Join(seen, "env"))
	for _, secret := range []string{"aws-secret", "token-hash", "bm90IGEga2V5", "/tmp/agent"} {
		assert.NotContains(t, env, secret)
	}

	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where, res.Error)
	require.NoError(t, filepath.WalkDir(filepath.Dir(r.remote), func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.NotContains(t, string(data), "bm90IGEga2V5", path)
		}
		return nil
	}))
}

func TestNetworkFaultsAreTriedAgainAndRefusalsAreNot(t *testing.T) {
	fail := func(times int, says string) string {
		return fmt.Sprintf("[ $(wc -l < $seen/args) -le %d ] && { echo %q >&2; exit 255; }\n", times, says)
	}
	tests := map[string]struct {
		first     string
		tries     int
		cause     string // empty: works in the end
		retryable bool
	}{
		"recovers": {fail(2, "ssh: connect to host git.example.com port 22: Connection timed out"), 4, "", false},
		"stays away": {
			fail(9, "ssh: Could not resolve hostname git.example.com: Name or service not known"), 3,
			"The server git.example.com was not found: the name may be misspelt, or the network is down.", true,
		},
		"refused": {
			fail(9, "git@git.example.com: Permission denied (publickey)."), 1,
			"Access to the repository", false,
		},
		"unknown": {fail(9, "ERROR: Repository not found."), 1, "does not exist, or this site has no access to it", false},
		"other host key": {
			fail(9, "Host key verification failed."), 1,
			"The server git.example.com shows another key than the one it is known by", false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			seen := sshServes(t, tt.first)
			r := newRig(t)
			r.cfg.URL = "ssh://git@git.example.com" + r.remote
			_, err := r.open().Prepare(t.Context())
			if tt.cause == "" {
				require.NoError(t, err)
				assert.Contains(t, r.log.String(), "Trying again in 2s")
			} else {
				var e *worktree.Error
				require.ErrorAs(t, err, &e)
				assert.Contains(t, e.Cause, tt.cause)
				assert.Equal(t, tt.retryable, e.Retryable)
				assert.NotEmpty(t, e.Detail)
			}
			assert.Len(t, strings.Split(content(t, filepath.Join(seen, "args")), "\n"), tt.tries)
		})
	}
}

func TestCausesOfFaults(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, r *rig)
		cause  string
	}{
		"no repository": {func(_ *testing.T, r *rig) { r.cfg.URL += "x" }, "does not exist, or this site has no access to it."},
		"no branch":     {func(_ *testing.T, r *rig) { r.cfg.Branch = "nonesuch" }, "The branch nonesuch does not exist in the repository."},
		"no git":        {func(t *testing.T, _ *rig) { t.Setenv("PATH", t.TempDir()) }, "The git program is missing here."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tt.change(t, r)
			_, err := r.open().Prepare(t.Context())
			var e *worktree.Error
			require.ErrorAs(t, err, &e)
			assert.Contains(t, e.Cause, tt.cause)
			assert.False(t, e.Retryable)
			assert.NotContains(t, r.log.String(), "Trying again")
		})
	}
}

func TestAHangingRemoteIsKilledWithItsGroupAndTheWorkBundled(t *testing.T) {
	r := newRig(t)
	r.cfg.URL = "ssh://git@git.example.com" + r.remote
	hang := filepath.Join(t.TempDir(), "hang")
	seen := sshServes(t, "[ -e "+hang+" ] && { echo $$ > $seen/pid; sleep 300 & wait; }\n")
	w := r.prepared()
	require.NoError(t, os.WriteFile(hang, nil, 0o644))
	r.write("ours.txt", "ours")

	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	res, err := w.Save(ctx, "")
	require.NoError(t, err)
	assert.NoError(t, ctx.Err(), "a part of the time is kept for the bundle")
	assert.Equal(t, "bundle", res.Where)
	assert.Contains(t, res.Error, "took too long")
	process := "/proc/" + content(t, filepath.Join(seen, "pid")) + "/status"
	require.Eventually(t, func() bool {
		status, err := os.ReadFile(process)
		return err != nil || strings.Contains(string(status), "State:\tZ") // where nobody reaps orphans
	}, patience, 5*time.Millisecond)
}

func TestHTTPSWithPassword(t *testing.T) {
	const password = "ghp_S3cret"
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "bot", password, nil)
	r.cfg.URL = strings.Replace(server.URL, "://", "://bot:"+password+"@", 1) + "/remote.git"
	w := r.prepared()
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where, res.Error)
	assert.Equal(t, server.URL+"/remote.git", git(t, r.cfg.Dir, "remote", "get-url", "origin"))
	assert.NotContains(t, r.log.String(), password)
	assert.Contains(t, r.log.String(), "Receiving objects")

	r.elsewhere()
	t.Setenv("GIT_SSL_CAINFO", "/dev/null")
	refused := r.refusal()
	assert.Contains(t, refused.Cause, "authority that issued")
	assert.Contains(t, refused.Cause, "127.0.0.1")
	assert.Contains(t, refused.Cause, "is not known here")
	assert.Contains(t, refused.Detail, "to be named by SSL_CERT_FILE or GIT_SSL_CAINFO")
}
