package worktree_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/gitserver"
)

const otherKey = "The server 127.0.0.1 shows another key than the one it is known by, so it is not trusted"

// knownAs is a line of known_hosts.
func knownAs(addr, key string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "[" + host + "]:" + port + " " + key + "\n"
}

func TestAHostKeepsTheKeyOfItsFirstUse(t *testing.T) {
	t.Parallel()
	s := overSSH(t)
	s.prepared()
	known := filepath.Join(s.cfg.CacheDir, "amelia", "known_hosts")
	assert.FileExists(t, known)
	s.elsewhere()
	s.cut.To(gitserver.NewSSHD(t).Addr())
	e := s.refusal()
	assert.Contains(t, e.Cause, otherKey)
	assert.Contains(t, e.Detail, "If 127.0.0.1 has new keys, remove its lines from "+known+".")
}

func TestAPinnedHostShowsOneOfItsKeys(t *testing.T) {
	t.Parallel()
	s := overSSH(t)
	impostor := gitserver.NewSSHD(t)
	s.cfg.KnownHosts = "# the operator's\n" + knownAs(s.cut.Addr, impostor.HostKey())
	e := s.refusal()
	assert.Contains(t, e.Cause, otherKey)
	assert.Contains(t, e.Detail, "put them into the file that KNOWN_HOSTS_FILE names")

	// A key of another kind is no better, even if it was believed once.
	s.cfg.KnownHosts = ""
	s.prepared()
	s.elsewhere()
	rsa := filepath.Join(t.TempDir(), "rsa")
	out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", rsa).CombinedOutput()
	require.NoError(t, err, string(out))
	s.cfg.KnownHosts = knownAs(s.cut.Addr, strings.Join(strings.Fields(content(t, rsa+".pub"))[:2], " "))
	assert.Contains(t, s.refusal().Cause, otherKey)

	for name, line := range map[string]string{
		"with its port":      knownAs(s.cut.Addr, s.hostKey),
		"without":            "127.0.0.1 " + s.hostKey + "\n",
		"one of several":     knownAs(s.cut.Addr, impostor.HostKey()) + knownAs(s.cut.Addr, s.hostKey),
		"hashed":             hashed(t, knownAs(s.cut.Addr, s.hostKey)),
		"without a line end": strings.TrimSuffix(knownAs(s.cut.Addr, s.hostKey), "\n"),
	} {
		s.elsewhere()
		s.cfg.KnownHosts = line
		_, err := s.open().Prepare(t.Context())
		require.NoError(t, err, name)
	}
	left, err := filepath.Glob(s.cfg.GitDir + ".*")
	require.NoError(t, err)
	assert.Empty(t, left, "keys are on disk only while they are needed")
}

// TestWellKnownHostsArePinned: the fingerprints are those that the hosts' own
// documentation shows.
func TestWellKnownHostsArePinned(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("ssh-keygen", "-l", "-f", "known_hosts").CombinedOutput()
	require.NoError(t, err, string(out))
	var shown []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		shown = append(shown, fields[2]+" "+fields[3]+" "+fields[1])
	}
	assert.Equal(t, []string{
		"github.com (ED25519) SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
		"github.com (ECDSA) SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
		"github.com (RSA) SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
		"gitlab.com (ED25519) SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
		"gitlab.com (ECDSA) SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
		"gitlab.com (RSA) SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
		"bitbucket.org (ED25519) SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
		"bitbucket.org (ECDSA) SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
		"bitbucket.org (RSA) SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E",
	}, shown)
}

// TestWellKnownHostsAreAskedForTheirKeys looks at how ssh is called.
func TestWellKnownHostsAreAskedForTheirKeys(t *testing.T) {
	seen := sshServes(t, "")
	r := newRig(t)
	for host, checking := range map[string]string{
		"github.com": "yes", "GitHub.com": "yes", "gitlab.com": "yes", "bitbucket.org": "yes", "git.example.com": "accept-new",
	} {
		r.elsewhere()
		r.cfg.URL = "git@" + host + ":" + r.remote
		r.prepared()
		assert.Contains(t, content(t, filepath.Join(seen, "args")), "StrictHostKeyChecking="+checking, host)
		require.NoError(t, os.Remove(filepath.Join(seen, "args")))
	}
}

// hashed is a line of known_hosts with its host made unreadable, as some systems do.
func hashed(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(file, []byte(line), 0o600))
	out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput()
	require.NoError(t, err, string(out))
	text := content(t, file) + "\n"
	require.NotContains(t, text, "127.0.0.1")
	return text
}
