package worktree_test

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
	"github.com/webordinary/router/internal/gitserver"
)

// The credentials of the server for https.
const (
	serverUser  = "x-bot"
	serverToken = "ghp_S3cret"
)

// served is a rig whose remote is reached by a real server, through a connection that can
// be cut.
type served struct {
	*rig
	cut     *gitserver.Cut
	hostKey string // for ssh
	// refuse takes the right to come in away.
	refuse func()
	// url is that of a repository beside the remote.
	url func(name string) string
}

// onServers runs a test against each kind of server.
func onServers(t *testing.T, test func(t *testing.T, s served)) {
	for name, over := range map[string]func(*testing.T) served{"https": overHTTPS, "ssh": overSSH} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, over(t))
		})
	}
}

func overHTTPS(t *testing.T) served {
	t.Helper()
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, nil)
	cut := gitserver.NewCut(t, server.Listener.Addr().String())
	s := served{rig: r, cut: cut, url: func(name string) string { return "https://" + cut.Addr + "/" + name }}
	r.cfg.URL, r.cfg.DeployKey = s.url("remote.git"), serverUser+":"+serverToken
	s.refuse = func() { r.cfg.DeployKey = serverUser + ":wr0ng-token" }
	return s
}

func overSSH(t *testing.T) served {
	t.Helper()
	r := newRig(t)
	sshd := gitserver.NewSSHD(t)
	cut := gitserver.NewCut(t, sshd.Addr())
	s := served{rig: r, cut: cut, hostKey: sshd.HostKey(), url: func(name string) string { return sshd.URLAt(cut.Addr, filepath.Join(filepath.Dir(r.remote), name)) }}
	r.cfg.URL, r.cfg.DeployKey = s.url("remote.git"), content(t, sshd.Allow("deploy"))
	s.refuse = func() { r.cfg.DeployKey = content(t, gitserver.NewKey(t)) }
	return s
}

// weigh makes the site big enough for its transfer to be cut.
func (r *rig) weigh() {
	r.t.Helper()
	noise := make([]byte, 4<<20)
	_, err := rand.Read(noise)
	require.NoError(r.t, err)
	r.commitElsewhere("main", "photo.jpg", string(noise))
}

// refusal is the error of a Prepare that nothing is tried again for.
func (r *rig) refusal() *worktree.Error {
	r.t.Helper()
	_, err := r.open().Prepare(r.t.Context())
	var e *worktree.Error
	require.ErrorAs(r.t, err, &e)
	assert.False(r.t, e.Retryable)
	assert.NotContains(r.t, r.log.String(), "Trying again")
	assert.NoDirExists(r.t, r.cfg.GitDir)
	return e
}

func TestWorkGoesToAServerAndComesBack(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		w := s.prepared()
		s.write("ours.txt", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)
		assert.Equal(t, "ours", s.remoteFile(editBranch, "ours.txt"))

		s.elsewhere()
		w = s.prepared()
		assert.Equal(t, "ours", s.read("ours.txt"))

		// The branch moves on: it is followed, and a save goes on from there.
		s.commitElsewhere(editBranch, "theirs.txt", "theirs")
		changed, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		require.True(t, changed)
		assert.Equal(t, "theirs", s.read("theirs.txt"))
		s.write("ours.txt", "more")
		res, err = w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)

		for _, secret := range []string{serverToken, "PRIVATE KEY"} {
			assert.NotContains(t, s.log.String(), secret)
			require.NoError(t, filepath.WalkDir(filepath.Dir(s.cfg.Dir), func(path string, d os.DirEntry, err error) error {
				require.NoError(t, err)
				if d.Type().IsRegular() {
					data, err := os.ReadFile(path)
					require.NoError(t, err)
					assert.False(t, bytes.Contains(data, []byte(secret)), path)
				}
				return nil
			}))
		}
	})
}

func TestAForcePushedBranchLosesNothing(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		w := s.prepared()
		s.write("ours.txt", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)
		s.forcePush(editBranch, "other.txt", "another history")
		s.write("late.txt", "late")
		changed, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		assert.False(t, changed, "nothing here is given up")
		res, err = w.Save(t.Context(), "")
		require.NoError(t, err)
		saved := res.Where == "bundle" || s.remoteHas("late.txt")
		assert.True(t, saved, "%+v", res)

		s.elsewhere()
		s.prepared()
		assert.Equal(t, "ours", s.read("ours.txt"))
		assert.Equal(t, "late", s.read("late.txt"))
	})
}

// TestAForcePushedBaseBranchIsFollowed where the session has no work of its own.
func TestAForcePushedBaseBranchIsFollowed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		w := s.prepared()
		s.forcePush("main", "other.txt", "another history")
		changed, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		require.True(t, changed)
		assert.Equal(t, "another history", s.read("other.txt"))
		s.write("ours.txt", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, "remote", res.Where, res.Error)
	})
}

func TestAConnectionThatIsLostWhileCloning(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		s.weigh()
		s.cut.Next(1, 1<<20)
		s.prepared()
		assert.Equal(t, 1, s.cut.Times())
		assert.Contains(t, s.log.String(), "The server 127.0.0.1 could not be reached. Trying again")
		assert.Len(t, s.read("photo.jpg"), 4<<20)

		s.elsewhere()
		s.cut.Next(100, 1<<20)
		_, err := s.open().Prepare(t.Context())
		var e *worktree.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "The server 127.0.0.1 could not be reached.", e.Cause)
		assert.True(t, e.Retryable)
		assert.Equal(t, 3, s.cut.Times())
		assert.NoDirExists(t, s.cfg.Dir)
		assert.NoDirExists(t, s.cfg.GitDir)
	})
}

func TestWhatAServerRefuses(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		s.cfg.Branch = "nonesuch"
		assert.Equal(t, "The branch nonesuch does not exist in the repository.", s.refusal().Cause)
		s.cfg.Branch = "main"

		s.cfg.URL = s.url("nothing.git")
		assert.Equal(t, "The repository "+s.cfg.URL+" does not exist, or this site has no access to it.", s.refusal().Cause)

		s.cfg.URL = s.url("remote.git")
		s.refuse()
		e := s.refusal()
		assert.Contains(t, e.Cause, "Access to the repository "+s.cfg.URL+" was refused")
		assert.NotContains(t, e.Error(), "wr0ng-token")
	})
}

func TestAForbiddenPushIsRefusedAndBundled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.String(), "receive-pack") {
				http.Error(rw, "read only", http.StatusForbidden)
				return
			}
			next.ServeHTTP(rw, req)
		})
	})
	r.cfg.URL = server.URL + "/remote.git"
	w := r.prepared()
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "bundle", res.Where)
	assert.Contains(t, res.Error, "was refused: this site has no key or password for it (repository.deployKey is not set)")
	assert.NotContains(t, r.log.String(), "Trying again")
}
