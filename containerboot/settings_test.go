package containerboot_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestManual(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "--help").Output()
	require.NoError(t, err)
	for _, name := range []string{
		bootapi.EnvSessionID, bootapi.EnvTokenHash, bootapi.EnvPort, bootapi.EnvListen, bootapi.EnvListenFD, bootapi.EnvWorkspace,
		bootapi.EnvCache, bootapi.EnvAPIUpstream, bootapi.EnvUser, bootapi.EnvBootTimeout, bootapi.EnvParentFD, bootapi.EnvLockFD, bootapi.EnvClientID, bootapi.EnvClientConfig,
		bootapi.PathProof, bootapi.PathClaim, bootapi.PathQuiesce, bootapi.PathHealth, bootapi.PathStatus, bootapi.PathEvents,
		bootapi.PathSave, bootapi.PathRebuild, bootapi.EnvConfigTable, bootapi.EnvKeyPrefixes, bootapi.EnvAutoSave, "Exit status",
	} {
		assert.Contains(t, string(out), name)
	}
	assert.NotContains(t, string(out), "package containerboot")
	out, err = exec.Command(binary, "--version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "containerboot ")
}

func TestSettingsAreCheckedAllAtOnce(t *testing.T) {
	t.Parallel()
	run := func(env ...string) (int, string) {
		cmd := exec.Command(binary)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		return cmd.ProcessState.ExitCode(), string(out)
	}
	hash := "WEBORDINARY_TOKEN_HASH=" + bootapi.HashToken("x")
	config := `CLIENT_CONFIG={"clientId":"amelia","domains":{"production":"amelia.example","edit":"edit.amelia.example"},"repository":{"url":"https://git.example/a.git","branch":"main"},"settings":{"containerSize":"small","idleTimeoutMinutes":10,"maxConcurrentSessions":2}`
	cases := map[string]struct {
		env  []string
		want []string
	}{
		"nothing": {nil, []string{"CLIENT_ID: must be set", "CLIENT_CONFIG: must be set"}},
		"everything wrong": {
			[]string{
				"WEBORDINARY_TOKEN_HASH=abc", "PORT=99999", "LISTEN_ADDRESS=example.com:80", "WORKSPACE_PATH=relative", "CACHE_PATH=../x",
				"API_UPSTREAM=ftp://x", "SITE_USER=no such user", "WEBORDINARY_PARENT_FD=2", "WEBORDINARY_LOCK_FD=x", "KNOWN_HOSTS_FILE=/none", "BOOT_TIMEOUT=1h", "CLIENT_ID=a", "CLIENT_CONFIG={}", "CLIENT_CONFIG_TABLE=t", "AUTOSAVE_AFTER=1",
			},
			[]string{
				"WEBORDINARY_TOKEN_HASH: must be", "PORT: must be", "LISTEN_ADDRESS: must be", "WORKSPACE_PATH: must be", "CACHE_PATH: must be",
				"API_UPSTREAM: ", "SITE_USER: ", "WEBORDINARY_PARENT_FD: must be", "WEBORDINARY_LOCK_FD: must be", "KNOWN_HOSTS_FILE: open /none", "BOOT_TIMEOUT: must be a duration between 1s and 10m0s", "CLIENT_ID: conflicts", "CLIENT_CONFIG: conflicts",
				"CLIENT_CONFIG_TABLE: conflicts", "AUTOSAVE_AFTER: must be",
			},
		},
		"a table and more":      {[]string{"CLIENT_ID=A", "CLIENT_CONFIG_TABLE=t", "CLIENT_CONFIG={}", "DEPLOY_KEY_PREFIXES=http://x env:K", "ALLOW_FILE_REPOSITORIES=yes"}, []string{"CLIENT_ID: must be", "ALLOW_FILE_REPOSITORIES: must be on", "CLIENT_CONFIG: conflicts", `DEPLOY_KEY_PREFIXES: key prefix "http://x"`}},
		"a port with a sign":    {[]string{hash, "PORT=+80"}, []string{"PORT: must be"}},
		"the root as workspace": {[]string{hash, "WORKSPACE_PATH=/"}, []string{"WORKSPACE_PATH: must not be the root"}},
		"a file that is closed": {[]string{hash, "WEBORDINARY_LISTEN_FD=99"}, []string{"WEBORDINARY_LISTEN_FD: 99 is no open file"}},
		"a config of another":   {[]string{"CLIENT_ID=bramble", config + "}"}, []string{`CLIENT_CONFIG: is for client "amelia", not for "bramble"`}},
		"a config with a typo":  {[]string{"CLIENT_ID=amelia", config + `,"build":{"comand":"x"}}`}, []string{"build.comand"}},
		"a mode that is none":   {[]string{"CLIENT_ID=amelia", config + `,"build":{"mode":"turbo"}}`}, []string{"build.mode"}},
		"a disabled client":     {[]string{"CLIENT_ID=amelia", config + `,"disabled":true}`}, []string{"the client is disabled"}},
		"a key that is elsewhere": {
			[]string{"CLIENT_ID=amelia", strings.Replace(config, `"branch"`, `"deployKey":"env:KEY","branch"`, 1) + "}"},
			[]string{"repository.deployKey: must be the key itself"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out := run(tc.env...)
			assert.Equal(t, 2, code)
			for _, want := range tc.want {
				assert.Contains(t, out, want)
			}
		})
	}
}

// TestCannotListen: the other statuses are in the tests of what they are about.
func TestCannotListen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	for name, env := range map[string]string{
		"a port that is taken":                "PORT=" + port,
		"an inherited file that is no socket": "WEBORDINARY_LISTEN_FD=3",
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(binary)
			cmd.ExtraFiles = []*os.File{file}
			cmd.Env = []string{"LISTEN_ADDRESS=127.0.0.1", "WEBORDINARY_TOKEN_HASH=" + bootapi.HashToken("x"), env}
			out, err := cmd.CombinedOutput()
			require.Error(t, err)
			assert.Equal(t, 3, cmd.ProcessState.ExitCode())
			assert.Contains(t, string(out), "listening failed")
		})
	}
}
