package worktree_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
	"github.com/webordinary/router/internal/gitserver"
)

func TestATokenAloneGoesWithANameThatItsHostTakes(t *testing.T) {
	t.Parallel()
	for host, name := range map[string]string{
		"github.com": "x-access-token", "GitHub.com": "x-access-token", "acme.ghe.com": "x-access-token",
		"gitlab.com": "oauth2", "git.example.com": "oauth2", "bitbucket.org": "x-token-auth",
	} {
		user, password := worktree.SplitCredential("t0ken", host)
		assert.Equal(t, name, user, host)
		assert.Equal(t, "t0ken", password)
	}
	user, password := worktree.SplitCredential("jo:t0ken:with:more", "github.com")
	assert.Equal(t, "jo", user)
	assert.Equal(t, "t0ken:with:more", password)
}

func TestATokenAloneOpensARepository(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "oauth2", serverToken, nil)
	r.cfg.URL, r.cfg.DeployKey = server.URL+"/remote.git", serverToken
	r.prepared()
	assert.NotContains(t, r.log.String(), serverToken)
}

// TestATokenIsForItsOwnHostAlone: a server that sends git elsewhere gets it nowhere but
// there, and there git has no credentials.
func TestATokenIsForItsOwnHostAlone(t *testing.T) {
	t.Parallel()
	for name, protected := range map[string]bool{"to whom asks for credentials": true, "to an open one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			user, token := "", ""
			if protected {
				user, token = serverUser, serverToken
			}
			other := gitserver.NewHTTPS(t, filepath.Dir(r.remote), user, token, nil)
			for _, first := range []bool{true, false} { // redirected before and after the password is asked for
				server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
						if _, _, sent := req.BasicAuth(); first || sent {
							http.Redirect(rw, req, other.URL+req.URL.String(), http.StatusFound)
							return
						}
						next.ServeHTTP(rw, req)
					})
				})
				r.elsewhere()
				r.cfg.URL, r.cfg.DeployKey = server.URL+"/remote.git", serverUser+":"+serverToken
				switch _, err := r.open().Prepare(t.Context()); {
				case protected:
					require.ErrorContains(t, err, "was refused")
				case first:
					require.NoError(t, err, "as a repository that has moved")
				default: // git follows no redirection of what it sends
				}
			}
			require.NotEmpty(t, other.Seen())
			for _, request := range other.Seen() {
				assert.Empty(t, request.User+request.Password, "%+v", request)
			}
		})
	}
}

// TestATokenIsNotSentInTheOpen: a redirection to http is not followed.
func TestATokenIsNotSentInTheOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	asked := make(chan string, 10)
	open := newOpenServer(t, func(_ http.ResponseWriter, req *http.Request) { asked <- req.URL.Path })
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, func(http.Handler) http.Handler {
		return http.RedirectHandler(open+"/remote.git/info/refs?service=git-upload-pack", http.StatusFound)
	})
	r.cfg.URL, r.cfg.DeployKey = server.URL+"/remote.git", serverUser+":"+serverToken
	_, err := r.open().Prepare(t.Context())
	require.Error(t, err)
	assert.Empty(t, asked)
}

// TestNoProcessShowsAToken looks at the arguments of every git process.
func TestNoProcessShowsAToken(t *testing.T) {
	processes := onPath(t)
	r := newRig(t)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, nil)
	r.cfg.URL, r.cfg.DeployKey = server.URL+"/remote.git", serverUser+":"+serverToken
	w := r.prepared()
	r.write("ours.txt", "ours")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "remote", res.Where, res.Error)
	all := strings.Join(processes(), "\n")
	require.Contains(t, all, "ls-remote")
	assert.NotContains(t, all, serverToken)
}
