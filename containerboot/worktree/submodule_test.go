package worktree_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/gitserver"
)

// repository makes a bare one beside the remote, with files and submodules: path → URL and
// the repository that it leads to. It returns its head.
func (r *rig) repository(name string, files map[string]string, modules ...[3]string) string {
	r.t.Helper()
	bare := filepath.Join(filepath.Dir(r.remote), name)
	dir := r.t.TempDir()
	if _, err := os.Stat(bare); err == nil {
		git(r.t, "/", "clone", "-q", bare, dir)
	} else {
		git(r.t, dir, "init", "-q", "-b", "main")
		git(r.t, dir, "init", "-q", "--bare", "-b", "main", bare)
	}
	for file, text := range files {
		write(r.t, dir, file, text)
	}
	for _, m := range modules {
		git(r.t, dir, "config", "-f", ".gitmodules", "submodule."+m[0]+".path", m[0])
		git(r.t, dir, "config", "-f", ".gitmodules", "submodule."+m[0]+".url", m[1])
		git(r.t, dir, "update-index", "--add", "--cacheinfo", "160000,"+m[2]+","+m[0])
	}
	git(r.t, dir, "add", "--all", "--", ".")
	for _, m := range modules { // whose missing folders were just taken for deletions
		git(r.t, dir, "update-index", "--add", "--cacheinfo", "160000,"+m[2]+","+m[0])
	}
	git(r.t, dir, "commit", "-q", "-m", "files")
	git(r.t, dir, "push", "-q", bare, "HEAD:main")
	return git(r.t, dir, "rev-parse", "HEAD")
}

// withTheme gives the remote a submodule which has one of its own.
func (r *rig) withTheme() (theme string) {
	r.t.Helper()
	icons := r.repository("icons.git", map[string]string{"icon.svg": "<svg/>"})
	theme = r.repository("theme.git", map[string]string{"theme.css": "body {}", ".gitignore": "node_modules\n"}, [3]string{"img/icons", "../icons.git", icons})
	r.repository("remote.git", nil, [3]string{"packages/theme", "../theme.git", theme})
	return theme
}

func TestSubmodulesAreFetchedAtTheirCommits(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, s served) {
		s.withTheme()
		s.repository("theme.git", map[string]string{"theme.css": "newer than what is wanted"})
		w := s.open()
		p, err := w.Prepare(t.Context())
		require.NoError(t, err)
		assert.Empty(t, p.Warnings)
		assert.Equal(t, "body {}", s.read("packages/theme/theme.css"))
		assert.Equal(t, "<svg/>", s.read("packages/theme/img/icons/icon.svg"))
		assert.NoFileExists(t, filepath.Join(s.cfg.Dir, "packages/theme/.git"))
		assert.Empty(t, git(t, s.cfg.Dir, "status", "--porcelain"))
		res, err := w.Save(t.Context(), "")
		require.NoError(t, err)
		assert.Equal(t, "nothing", res.Where)
		assert.Empty(t, res.Note)

		// The submodule moves on, and the workspace with it.
		newer := s.repository("theme.git", map[string]string{"theme.css": "newest", "new.css": "new"})
		s.repository("remote.git", nil, [3]string{"packages/theme", "../theme.git", newer})
		s.write("packages/theme/node_modules/x.js", "installed")
		changed, err := w.SyncRemote(t.Context())
		require.NoError(t, err)
		require.True(t, changed)
		assert.Equal(t, "newest", s.read("packages/theme/theme.css"))
		assert.Equal(t, "new", s.read("packages/theme/new.css"))
		assert.Equal(t, "<svg/>", s.read("packages/theme/img/icons/icon.svg"))

		// A lost workspace is made again.
		require.NoError(t, os.RemoveAll(s.cfg.Dir))
		s.prepared()
		assert.Equal(t, "newest", s.read("packages/theme/theme.css"))
	})
}

// TestServersThatGiveNoSingleCommits give branches and tags.
func TestServersThatGiveNoSingleCommits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withTheme()
	r.repository("theme.git", map[string]string{"theme.css": "newer than what is wanted"})
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			req.Header.Del("Git-Protocol") // which would be 2
			next.ServeHTTP(rw, req)
		})
	})
	r.cfg.URL = server.URL + "/remote.git"
	r.prepared()
	assert.Equal(t, "body {}", r.read("packages/theme/theme.css"))
}

func TestSubmodulesThatCannotBeFetchedAreNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	canary := filepath.Join(t.TempDir(), "ran")
	theme := r.repository("theme.git", map[string]string{"theme.css": "body {}"})
	other := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, nil)
	open := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", nil)
	server := gitserver.NewHTTPS(t, filepath.Dir(r.remote), serverUser, serverToken, nil)
	gone := gitserver.NewHTTPS(t, filepath.Dir(r.remote), "", "", nil)
	gone.Close()
	none := strings.Repeat("a", 40)
	tests := map[string]struct{ url, commit, why string }{
		"relative": {"../theme.git", theme, ""},
		"open":     {open.URL + "/theme.git", theme, ""},
		"refused":  {other.URL + "/theme.git", theme, "Access to the repository " + other.URL + "/theme.git was refused"},
		"missing":  {"../nothing.git", theme, "does not exist"},
		"commit":   {"../theme.git", none, "does not have the commit"},
		"away":     {gone.URL + "/theme.git", theme, "could not be reached"},
		"file":     {"file://" + filepath.Dir(r.remote) + "/theme.git", theme, "file: repositories are not allowed here"},
		"path":     {filepath.Dir(r.remote) + "/theme.git", theme, "its URL must be https://"},
		"program":  {"ext::sh -c 'touch " + canary + "'", theme, "its URL must not"},
		"option":   {"--upload-pack=touch " + canary, theme, "its URL must not begin with a hyphen"},
		"ssh":      {"ssh://-oProxyCommand=touch/x", theme, "its URL"},
		"config":   {"https://127.0.0.1/a\\nb", theme, "its URL"},
		"password": {"https://user:pass@git.example.com/x.git", theme, "must not hold credentials"},
	}
	var modules [][3]string
	for name, tt := range tests {
		modules = append(modules, [3]string{"sub/" + name, tt.url, tt.commit})
	}
	r.repository("remote.git", nil, modules...)
	r.withSubmodule() // and one that .gitmodules does not name
	r.cfg.URL, r.cfg.DeployKey = server.URL+"/remote.git", serverUser+":"+serverToken

	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Warnings, 1)
	for name, tt := range tests {
		if tt.why == "" {
			assert.Equal(t, "body {}", r.read("sub/"+name+"/theme.css"))
			assert.NotContains(t, p.Warnings[0], "sub/"+name+" ")
		}
	}
	assert.Contains(t, p.Warnings[0], "could not be fetched, so these folders are empty: ")
	data := content(t, filepath.Join(r.cfg.GitDir, "webordinary-unfetched.json"))
	for name, tt := range tests {
		if tt.why != "" {
			assert.Regexp(t, `"sub/`+name+`":"[^"]*`+regexp.QuoteMeta(tt.why), data)
		}
	}
	assert.Contains(t, data, `"stray":"there is no URL of it in .gitmodules"`)
	assert.NoFileExists(t, canary)
	for _, request := range append(other.Seen(), open.Seen()...) {
		assert.Empty(t, request.Password, "another server gets no credentials: %+v", request)
	}
	assert.NotContains(t, r.log.String(), serverToken)
}

func TestAMissingSubmoduleIsTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withTheme()
	theme := filepath.Join(filepath.Dir(r.remote), "theme.git")
	require.NoError(t, os.Rename(theme, theme+".away"))
	w := r.open()
	p, err := w.Prepare(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Warnings, 1)
	assert.Contains(t, p.Warnings[0], "packages/theme (The repository file://"+theme+" does not exist")
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.False(t, changed)

	require.NoError(t, os.Rename(theme+".away", theme))
	changed, err = w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, changed)
	assert.Equal(t, "<svg/>", r.read("packages/theme/img/icons/icon.svg"))
	p, err = r.open().Prepare(t.Context())
	require.NoError(t, err)
	assert.Empty(t, p.Warnings)
}

// TestChangesWithinASubmoduleAreKept: they cannot be pushed, and are not lost.
func TestChangesWithinASubmoduleAreKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	theme := r.withTheme()
	w := r.prepared()
	key, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	r.write("packages/theme/theme.css", "edited")
	r.write("packages/theme/own.css", "added")
	changed, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, key, changed, "it is built anew")
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
	assert.Contains(t, res.Note, "packages/theme cannot be pushed")
	r.write("page.md", "ours")
	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "remote", res.Where, res.Error)
	assert.Regexp(t, "^160000 commit "+theme, git(t, r.remote, "ls-tree", editBranch, "packages/theme"))

	r.elsewhere()
	w = r.prepared()
	assert.Equal(t, "edited", r.read("packages/theme/theme.css"))
	assert.Equal(t, "added", r.read("packages/theme/own.css"))
	same, err := w.ContentKey(t.Context())
	require.NoError(t, err)
	assert.NotEqual(t, key, same)

	// A newer version does not replace it.
	newer := r.repository("theme.git", map[string]string{"theme.css": "newest"})
	dir := t.TempDir()
	git(t, "/", "clone", "-q", "-b", editBranch, r.remote, dir)
	git(t, dir, "update-index", "--cacheinfo", "160000,"+newer+",packages/theme")
	git(t, dir, "commit", "-qm", "a newer theme")
	git(t, dir, "push", "-q", "origin", editBranch)
	_, err = w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "edited", r.read("packages/theme/theme.css"))
	p, err := r.open().Prepare(t.Context())
	require.NoError(t, err)
	require.Len(t, p.Warnings, 1)
	assert.Contains(t, p.Warnings[0], "not at the version that is wanted: packages/theme (")

	// Taking the changes back takes the note away, and the newer version comes.
	r.write("packages/theme/theme.css", "body {}")
	require.NoError(t, os.Remove(filepath.Join(r.cfg.Dir, "packages/theme/own.css")))
	res, err = w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Empty(t, res.Note)
	moved, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	assert.True(t, moved)
	assert.Equal(t, "newest", r.read("packages/theme/theme.css"))
	bundles, err := filepath.Glob(filepath.Join(r.cfg.CacheDir, "amelia", "bundles", "*"))
	require.NoError(t, err)
	assert.Empty(t, bundles)
}

func TestASubmoduleThatIsRemovedGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withTheme()
	w := r.prepared()
	dir := t.TempDir()
	git(t, "/", "clone", "-q", r.remote, dir)
	git(t, dir, "rm", "-q", "packages/theme")
	git(t, dir, "commit", "-qm", "without it")
	git(t, dir, "push", "-q", "origin", "main")
	changed, err := w.SyncRemote(t.Context())
	require.NoError(t, err)
	require.True(t, changed)
	assert.NoDirExists(t, filepath.Join(r.cfg.Dir, "packages/theme"))
	res, err := w.Save(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, "nothing", res.Where)
}

// TestASubmodulesFolderLeadsNowhere: a link in its place is neither read nor written through.
func TestASubmodulesFolderLeadsNowhere(t *testing.T) {
	t.Parallel()
	for name, replaced := range map[string]string{"itself": "packages/theme", "its parent": "packages"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.withTheme()
			w := r.prepared()
			outside := t.TempDir()
			write(t, outside, "theme/theme.css", "secret")
			write(t, outside, "theme.css", "secret")
			require.NoError(t, os.RemoveAll(filepath.Join(r.cfg.Dir, replaced)))
			require.NoError(t, os.Symlink(outside, filepath.Join(r.cfg.Dir, replaced)))
			_, err := w.ContentKey(t.Context())
			require.NoError(t, err)
			newer := r.repository("theme.git", map[string]string{"theme.css": "newest"})
			r.repository("remote.git", nil, [3]string{"packages/theme", "../theme.git", newer})
			_, err = w.SyncRemote(t.Context())
			require.NoError(t, err)
			_, err = w.Save(t.Context(), "")
			require.NoError(t, err)
			assert.Equal(t, "secret", content(t, filepath.Join(outside, "theme.css")))
			assert.Equal(t, "secret", content(t, filepath.Join(outside, "theme", "theme.css")))
			files, err := os.ReadDir(outside)
			require.NoError(t, err)
			assert.Len(t, files, 2)
			objects, err := gitErr(r.cfg.GitDir, "cat-file", "-e", git(t, outside, "hash-object", "theme.css"))
			assert.Error(t, err, objects)
		})
	}
}

// TestASubmodulesChangesLeadNowhere: what an editor made of a submodule comes back from its
// bundle before the submodules within it, and may have a link in their place.
func TestASubmodulesChangesLeadNowhere(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]bool{"outside": false, "elsewhere in the workspace": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.withTheme()
			w := r.prepared()
			outside := t.TempDir()
			target := outside
			if inside {
				target = "../../src"
			}
			img := filepath.Join(r.cfg.Dir, "packages/theme/img")
			require.NoError(t, os.RemoveAll(img))
			require.NoError(t, os.Symlink(target, img))
			res, err := w.Save(t.Context(), "")
			require.NoError(t, err)
			require.Contains(t, res.Note, "packages/theme cannot be pushed")

			r.elsewhere()
			r.prepared()
			link, err := os.Readlink(filepath.Join(r.cfg.Dir, "packages/theme/img"))
			require.NoError(t, err)
			assert.Equal(t, target, link, "as the editor left it")
			files, err := os.ReadDir(outside)
			require.NoError(t, err)
			assert.Empty(t, files)
			assert.NoDirExists(t, filepath.Join(r.cfg.Dir, "src/icons"))
		})
	}
}
