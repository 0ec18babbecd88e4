package worktree_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
	"github.com/webordinary/router/internal/gitserver"
)

// servedName is a name in the certificate of tests' servers. Nobody but a test resolves it
// to where they are.
const servedName = "example.com"

// named opens a session without the right to local addresses, for which the server has a
// public name: it resolves to the loopback address, as if that were public, and what the
// test says otherwise.
func (r *rig) named(others map[string]error) *worktree.Worktree {
	r.t.Helper()
	r.cfg.AllowFile = false
	w := r.open()
	w.SetLookUp(func(_ context.Context, host string) ([]netip.Addr, error) {
		if err, ok := others[host]; ok {
			return nil, err
		}
		assert.Equal(r.t, servedName, host)
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	return w
}

// atName is a loopback address by that name.
func atName(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(servedName, port)
}

// TestGitSpeaksToTheAddressThatWasChecked and resolves no name again: this one leads
// elsewhere, or nowhere, for all but the test.
func TestGitSpeaksToTheAddressThatWasChecked(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		theme := s.repository("theme.git", map[string]string{"theme.css": "body {}"})
		s.repository("remote.git", nil,
			[3]string{"ours", "../theme.git", theme}, [3]string{"theirs", s.url("theme.git"), theme})
		s.cfg.URL = strings.Replace(s.cfg.URL, s.cut.Addr, atName(s.cut.Addr), 1)
		w := s.named(nil)
		p, err := w.Prepare(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "body {}", s.read("ours/theme.css"))
		require.Len(t, p.Warnings, 1)
		assert.Contains(t, p.Warnings[0], "theirs (its URL is at a private address, which the operator does not allow)")
		s.write("page.md", "ours")
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, res.Error)
		if s.hostKey == "" {
			return
		}
		// Keys are known by the server's name, with its port as with ssh itself.
		known := filepath.Join(s.cfg.CacheDir, "amelia", "known_hosts")
		_, port, _ := net.SplitHostPort(s.cut.Addr)
		assert.Contains(t, content(t, known), "["+servedName+"]:"+port+" ")
		for _, name := range []string{"[" + servedName + "]:" + port, servedName} {
			s.elsewhere()
			s.cfg.KnownHosts = name + " " + s.hostKey + "\n"
			_, err = s.named(nil).Prepare(t.Context())
			require.NoError(t, err, name)
		}
		s.elsewhere()
		s.cfg.KnownHosts = servedName + " " + gitserver.NewSSHD(t).HostKey() + "\n"
		_, err = s.named(nil).Prepare(t.Context())
		require.ErrorContains(t, err, "The server example.com shows another key")
	})
}

func TestLocalAddressesAreRefusedWhereTheyAreNotAllowed(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"https://127.0.0.1/remote.git", "https://localhost:8443/remote.git", "https://[::ffff:127.0.0.1]/remote.git",
		"ssh://git@169.254.169.254/remote.git", "git@localhost:remote.git",
	} {
		r := newRig(t)
		r.cfg.URL, r.cfg.AllowFile = url, false
		assert.Regexp(t, `^The server .* is at a private address, which the operator does not allow\.$`, r.refusal().Cause)
	}
}

// TestAWakeResolvesNoName: it asks no remote, and no resolver.
func TestAWakeResolvesNoName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.prepared()
	r.cfg.URL = "https://example.com/remote.git"
	w := r.named(map[string]error{servedName: assert.AnError})
	_, err := w.Prepare(t.Context())
	require.NoError(t, err)
	_, err = w.SyncRemote(t.Context())
	var e *worktree.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "The server example.com was not found: the name may be misspelt, or the network is down.", e.Cause)
	assert.True(t, e.Retryable)
}

// TestAMovedRepositoryIsFollowedToPublicAddressesAlone and with credentials only on its own
// server.
func TestAMovedRepositoryIsFollowedToPublicAddressesAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", nil)
	to := ""
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if path, old := strings.CutPrefix(req.URL.Path, "/old.git"); old {
				http.Redirect(rw, req, to+path+"?"+req.URL.RawQuery, http.StatusMovedPermanently)
				return
			}
			next.ServeHTTP(rw, req)
		})
	})
	own := "https://" + atName(server.Listener.Addr().String())
	r.cfg.DeployKey = serverUser + ":" + serverToken
	for name, tt := range map[string]struct{ to, fault string }{
		"on its server":                  {own + "/remote.git", ""},
		"to another":                     {"https://" + atName(other.Listener.Addr().String()) + "/remote.git", ""},
		"to a name of a private address": {"https://internal.example.net/remote.git", "The server internal.example.net is at a private address"},
		"to http":                        {"http://example.com/remote.git", "error: 301"},
		"in a circle":                    {own + "/old.git", "error: 301"},
	} {
		r.elsewhere()
		r.cfg.URL, to = own+"/old.git", tt.to
		w := r.named(map[string]error{"internal.example.net": worktree.ErrLocal})
		_, err := w.Prepare(t.Context())
		if tt.fault != "" {
			require.ErrorContains(t, err, tt.fault, name)
			continue
		}
		require.NoError(t, err, name)
		r.write("page.md", name)
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "remote", res.Where, "%s: %s", name, res.Error)
		assert.Equal(t, name, r.remoteFile(editBranch, "page.md"))
	}
	require.NotEmpty(t, other.Seen())
	for _, request := range other.Seen() {
		assert.Empty(t, request.User+request.Password)
	}
	assert.NotContains(t, r.log.String(), serverToken)
}

// TestWithAProxyTheProxyResolves: nothing is resolved here.
func TestWithAProxyTheProxyResolves(t *testing.T) {
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", nil)
	asked := make(chan string, 10)
	proxy := newOpenServer(t, func(rw http.ResponseWriter, req *http.Request) {
		asked <- req.Method + " " + req.Host
		rw.WriteHeader(http.StatusForbidden)
	})
	r.cfg.URL = "https://git.example.net/remote.git"
	for _, name := range []string{"https_proxy", "ALL_PROXY"} {
		for _, other := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"} {
			t.Setenv(other, "")
			require.NoError(t, os.Unsetenv(other))
		}
		t.Setenv(name, proxy)
		w := r.named(map[string]error{"git.example.net": assert.AnError})
		_, err := w.Prepare(t.Context())
		require.Error(t, err)
		require.NotContains(t, err.Error(), assert.AnError.Error())
		require.NotEmpty(t, asked)
		for len(asked) > 0 {
			assert.Equal(t, "CONNECT git.example.net:443", <-asked)
		}

		// Not for hosts that it is not for.
		t.Setenv("NO_PROXY", servedName)
		r.elsewhere()
		r.cfg.URL = "https://" + atName(server.Listener.Addr().String()) + "/remote.git"
		_, err = r.named(nil).Prepare(t.Context())
		require.NoError(t, err)
		r.elsewhere()
		r.cfg.URL = "https://git.example.net/remote.git"
	}
}
