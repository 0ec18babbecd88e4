package worktree_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/worktree"
)

func valid() worktree.Config {
	return worktree.Config{
		SessionID: "s-1", ClientID: "amelia", Dir: "/srv/s/workspace", GitDir: "/srv/s/git", CacheDir: "/srv/cache",
		URL: "https://git.example.com/amelia/site.git", Branch: "main", EditBranch: "edit/one",
	}
}

func TestNewNamesTheFieldAtFault(t *testing.T) {
	tests := map[string]func(*worktree.Config){
		"SessionID:":  func(c *worktree.Config) { c.SessionID = "" },
		"SessionID: ": func(c *worktree.Config) { c.SessionID = ".." },
		"ClientID:":   func(c *worktree.Config) { c.ClientID = "../other" },
		"Dir:":        func(c *worktree.Config) { c.Dir = "relative" },
		"GitDir:":     func(c *worktree.Config) { c.GitDir = c.Dir + "/.git" },
		"CacheDir:":   func(c *worktree.Config) { c.CacheDir = c.Dir + "/cache" },
		"URL:":        func(c *worktree.Config) { c.URL = "" },
		"Branch:":     func(c *worktree.Config) { c.Branch = "-x" },
		"EditBranch:": func(c *worktree.Config) { c.EditBranch = "a..b" },
		"DeployKey:":  func(c *worktree.Config) { c.URL = "git@h:x"; c.DeployKey = "no key" },
		"DeployKey: ": func(c *worktree.Config) { c.DeployKey = testKey },
		"Exclude[0]:": func(c *worktree.Config) { c.Exclude = []string{"a\nb"} },
	}
	for want, spoil := range tests {
		t.Run(want, func(t *testing.T) {
			cfg := valid()
			spoil(&cfg)
			_, err := worktree.New(cfg)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), want), err.Error())
		})
	}
	_, err := worktree.New(valid())
	require.NoError(t, err)
	older := valid()
	older.SessionID = "amelia#user@example.com#thread 1"
	_, err = worktree.New(older)
	require.NoError(t, err)
}

func TestURLs(t *testing.T) {
	for raw, ok := range map[string]bool{
		"https://github.com/a/b.git":            true,
		"https://token@github.com/a/b":          true,
		"https://[2001:db8::1]:8443/a/b":        true,
		"ssh://git@github.com:2222/a/b.git":     true,
		"git@github.com:a/b.git":                true,
		"github.com:a/b.git":                    true,
		"git@[2001:db8::1]:a/b":                 true,
		"file:///srv/a.git":                     true,
		"http://github.com/a/b":                 false,
		"git://github.com/a/b":                  false,
		"ext::sh -c touch% /tmp/x":              false,
		"ext::sh":                               false,
		"fd::17":                                false,
		"/srv/a.git":                            false,
		"file://host/srv/a.git":                 false,
		"--upload-pack=touch":                   false,
		"-oProxyCommand=touch:a":                false,
		"ssh://-oProxyCommand=touch/a":          false,
		"ssh://-l@host/a":                       false,
		"-l@host:a":                             false,
		"git@host:-a":                           false,
		"https://github.com":                    false,
		"https://github.com/a?b":                false,
		"https://github.com/a\nb":               false,
		"ssh://git:password@github.com/a":       false,
		"https://github.com/" + long(2000, "a"): false,
	} {
		cfg := valid()
		cfg.URL, cfg.AllowFile = raw, true
		_, err := worktree.New(cfg)
		if ok {
			assert.NoError(t, err, raw)
		} else {
			assert.ErrorContains(t, err, "URL:", raw)
		}
	}
	cfg := valid()
	cfg.URL = "file:///srv/a.git"
	_, err := worktree.New(cfg)
	assert.ErrorContains(t, err, "not allowed here")
	cfg.URL = "https://bot:hunter2@%zz/"
	_, err = worktree.New(cfg)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
}

func long(n int, s string) string { return strings.Repeat(s, n) }

// FuzzBranch: what New accepts as a branch git does too, and it is no option.
func FuzzBranch(f *testing.F) {
	for _, seed := range []string{
		"main", "edit/one", "-x", "a..b", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a@{b", "@", "a b",
		"a~", "a^", "a:", "a?", "a*", "a[", "a\\", "a\x7f", "ü", "HEAD", "a.", "a/b.", "refs/heads/a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, branch string) {
		cfg := valid()
		cfg.EditBranch = branch
		if _, err := worktree.New(cfg); err != nil {
			return
		}
		assert.NotEqual(t, byte('-'), branch[0])
		out, err := exec.Command("git", "check-ref-format", "--branch", branch).CombinedOutput()
		assert.NoError(t, err, "%q: %s", branch, out)
	})
}
