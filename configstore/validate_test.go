package configstore

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// validClient is as small as a config may be.
func validClient() Client {
	return Client{
		ClientID:   "amelia",
		Domains:    Domains{Production: "amelia.example", Edit: "edit.amelia.example"},
		Repository: Repository{URL: "https://git.example/amelia.git", Branch: "main"},
		Settings:   Settings{ContainerSize: SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}
}

// pemKey is a block of the shape of a private key; nothing reads what is in it.
func pemKey(kind, body string) DeployKey {
	return DeployKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(body)}))
}

const opensshMagic = "openssh-key-v1\x00\x00\x00\x00"

func testRules(tb testing.TB) Rules {
	tb.Helper()
	return Rules{Patterns: []HostPattern{
		mustPattern(tb, "edit.{client}.webordinary.com"), mustPattern(tb, "{client}-edit.webordinary.com"),
	}}
}

func TestPrepareAccepts(t *testing.T) {
	for name, change := range map[string]func(*Client){
		"the least": func(*Client) {},
		"own pattern hosts": func(c *Client) {
			c.Domains.Edit = "edit.amelia.webordinary.com"
			c.Domains.Aliases = []string{"amelia-edit.webordinary.com"}
		},
		"infrastructure": func(c *Client) { c.Infrastructure = &Infrastructure{TargetGroupARN: "arn:aws:elasticloadbalancing:x"} },
		"everything of build": func(c *Client) {
			c.Build = &Build{Install: "npm ci", Command: "a\nb", Output: "out/site", Mode: ModeStatic, NodeVersion: ">=22.12 <23 || ^24", Env: map[string]string{"NODE_ENV": "production", "_x1": ""}, HealthPath: "/ok?x=1"}
		},
		"wake on any": func(c *Client) { c.Settings.WakeOn = WakeOnAny },
		"the widest settings": func(c *Client) {
			c.Settings = Settings{ContainerSize: SizeLarge, IdleTimeoutMinutes: 1440, MaxConcurrentSessions: 1000}
		},
		"ssh with a key": func(c *Client) {
			c.Repository.URL = "git@git.example:a.git"
			c.Repository.DeployKey = pemKey("OPENSSH PRIVATE KEY", opensshMagic+"\x04none")
		},
		"ssh with an RSA key": func(c *Client) {
			c.Repository.URL = "ssh://git@git.example/a.git"
			c.Repository.DeployKey = pemKey("RSA PRIVATE KEY", "x")
		},
		"a folder in the repo": func(c *Client) { c.Repository.Directory = "./sites/amelia/" },
		"the root of the repo": func(c *Client) { c.Repository.Directory = "." },
		"the longest id":       func(c *Client) { c.ClientID = strings.Repeat("a", maxLabel-len("-edit")) },
	} {
		c := validClient()
		change(&c)
		prepared, err := Prepare(c, testRules(t))
		require.NoError(t, err, name)
		assert.Empty(t, Record{Client: prepared}.Entry().Fault(), name)
	}
}

func TestNormalize(t *testing.T) {
	c := validClient()
	c.Domains = Domains{Production: "WWW.Amelia.example.", Edit: "Edit.Bücher.example:443", Aliases: []string{"SHOP.example", "no host!"}}
	c.Repository.Directory = "./site/"
	c.Repository.DeployKey = "\n-----BEGIN X-----\r\nAA==\r\n-----END X-----  "
	c.Build = &Build{Output: "out/", Env: map[string]string{"A": "1"}}
	c.Unknown = map[string]json.RawMessage{"x": json.RawMessage(`1`)}
	before, err := json.Marshal(c)
	require.NoError(t, err)

	n := Normalize(c)
	assert.Equal(t, Domains{
		Production: "www.amelia.example", Edit: "edit.xn--bcher-kva.example", Aliases: []string{"shop.example", "no host!"},
	}, n.Domains)
	assert.Equal(t, "site", n.Repository.Directory)
	assert.Equal(t, DeployKey("-----BEGIN X-----\nAA==\n-----END X-----\n"), n.Repository.DeployKey)
	assert.Equal(t, "out", n.Build.Output)

	n.Domains.Aliases[0], n.Build.Env["A"], n.Unknown["y"] = "changed", "changed", nil
	after, err := json.Marshal(c)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after), "the original is not touched")
	assert.Len(t, c.Unknown, 1)
}

func TestValidateReportsEverything(t *testing.T) {
	_, err := Prepare(Client{Settings: Settings{WakeOn: "x"}, Build: &Build{Mode: "x"}}, Rules{})
	assert.Equal(t, []string{
		"clientId: must not be empty",
		"domains.production: must not be empty",
		"domains.edit: must not be empty",
		"repository.url: must not be empty",
		"repository.branch: must not be empty",
		`settings.containerSize: must be small, medium or large, got ""`,
		"settings.idleTimeoutMinutes: must be between 1 and 1440, got 0",
		"settings.maxConcurrentSessions: must be between 1 and 1000, got 0",
		`settings.wakeOn: must be navigation or any, got "x"`,
		`build.mode: must be static, server or dev, got "x"`,
	}, faultStrings(t, err))
}

func TestValidateFaults(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Client)
		want   string // how the one fault begins
	}{
		{"upper-case id", func(c *Client) { c.ClientID = "Amelia" }, "clientId: must be one DNS label"},
		{"id with a dot", func(c *Client) { c.ClientID = "a.b" }, "clientId: must be one DNS label"},
		{"id with a hyphen at its end", func(c *Client) { c.ClientID = "a-" }, "clientId: must be one DNS label"},
		{"id of 64 bytes", func(c *Client) { c.ClientID = strings.Repeat("a", 64) }, "clientId: must be one DNS label"},
		{"id too long for a pattern", func(c *Client) { c.ClientID = strings.Repeat("a", 60) }, "clientId: makes no valid host with the pattern {client}-edit.webordinary.com"},

		{"production is no host", func(c *Client) { c.Domains.Production = "https://amelia.example" }, "domains.production: "},
		{"edit is an address", func(c *Client) { c.Domains.Edit = "10.0.0.1" }, "domains.edit: must be a host name, not an IP address"},
		{"edit is production", func(c *Client) { c.Domains.Edit = "Amelia.example" }, "domains.edit: must not be the same as domains.production"},
		{"alias is edit", func(c *Client) { c.Domains.Aliases = []string{"EDIT.amelia.example"} }, "domains.aliases[0]: must not be the same as domains.edit"},
		{"alias twice", func(c *Client) { c.Domains.Aliases = []string{"a.example", "a.example."} }, "domains.aliases[1]: must not be the same as domains.aliases[0]"},
		{"empty alias", func(c *Client) { c.Domains.Aliases = []string{""} }, "domains.aliases[0]: must not be empty"},
		{"too many aliases", func(c *Client) { c.Domains.Aliases = make([]string, 48) }, "domains.aliases: must be at most 47, got 48"},
		{"another's by a pattern", func(c *Client) { c.Domains.Edit = "edit.bramble.webordinary.com" }, "domains.edit: is another client's by the host pattern edit.{client}.webordinary.com"},
		{"alias another's by a pattern", func(c *Client) { c.Domains.Aliases = []string{"Bramble-Edit.webordinary.com"} }, "domains.aliases[0]: is another client's by the host pattern {client}-edit.webordinary.com"},

		{"branch", func(c *Client) { c.Repository.Branch = "--upload-pack=x" }, "repository.branch: must not begin with a hyphen"},
		{"absolute folder", func(c *Client) { c.Repository.Directory = "/site" }, "repository.directory: must be relative"},
		{"folder above", func(c *Client) { c.Repository.Directory = "../x" }, `repository.directory: must not hold ".."`},
		{"folder that goes up", func(c *Client) { c.Repository.Directory = "a/../../x" }, "repository.directory: must be a clean path"},
		{"git's folder", func(c *Client) { c.Repository.Directory = "a/.GIT" }, `repository.directory: must not hold ".." or ".git"`},
		{"folder like an option", func(c *Client) { c.Repository.Directory = "-x" }, "repository.directory: must not begin with a hyphen"},
		{"folder with a backslash", func(c *Client) { c.Repository.Directory = `a\b` }, "repository.directory: must not hold"},
		{"folder with a line end", func(c *Client) { c.Repository.Directory = "a\nb" }, "repository.directory: must not hold"},
		{"key of garbage", func(c *Client) { c.Repository.URL = "git@a.example:x"; c.Repository.DeployKey = "SECRET" }, "repository.deployKey: must be one private key in PEM form"},
		{"redacted key", func(c *Client) { c.Repository.URL = "git@a.example:x"; c.Repository.DeployKey = "[redacted]" }, "repository.deployKey: is a redacted key"},
		{"two keys", func(c *Client) {
			c.Repository.URL = "git@a.example:x"
			c.Repository.DeployKey = pemKey("PRIVATE KEY", "x") + pemKey("PRIVATE KEY", "x")
		}, "repository.deployKey: must be one private key in PEM form"},
		{"public key", func(c *Client) {
			c.Repository.URL = "git@a.example:x"
			c.Repository.DeployKey = pemKey("PUBLIC KEY", "x")
		}, "repository.deployKey: must be a private key"},
		{"key with a passphrase", func(c *Client) {
			c.Repository.URL = "git@a.example:x"
			c.Repository.DeployKey = pemKey("ENCRYPTED PRIVATE KEY", "x")
		}, "repository.deployKey: must not be protected by a passphrase"},
		{"OpenSSH key with a passphrase", func(c *Client) {
			c.Repository.URL = "git@a.example:x"
			c.Repository.DeployKey = pemKey("OPENSSH PRIVATE KEY", opensshMagic+"\x0aaes256-ctr")
		}, "repository.deployKey: must not be protected by a passphrase"},
		{"huge key", func(c *Client) {
			c.Repository.URL = "git@a.example:x"
			c.Repository.DeployKey = pemKey("PRIVATE KEY", strings.Repeat("x", maxDeployKey))
		}, "repository.deployKey: must be at most"},

		{"size", func(c *Client) { c.Settings.ContainerSize = "xl" }, `settings.containerSize: must be small, medium or large, got "xl"`},
		{"idle too long", func(c *Client) { c.Settings.IdleTimeoutMinutes = 1441 }, "settings.idleTimeoutMinutes: must be between 1 and 1440, got 1441"},
		{"no sessions", func(c *Client) { c.Settings.MaxConcurrentSessions = -1 }, "settings.maxConcurrentSessions: must be between 1 and 1000, got -1"},
		{"lifetime", func(c *Client) { c.Settings.MaxLifetimeMinutes = -1 }, "settings.maxLifetimeMinutes: must be between 0 and 525600, got -1"},

		{"blank command", func(c *Client) { c.Build = &Build{Command: " \t"} }, "build.command: must not be blank"},
		{"command with NUL", func(c *Client) { c.Build = &Build{Install: "a\x00b"} }, "build.install: must be text"},
		{"long command", func(c *Client) { c.Build = &Build{Install: strings.Repeat("a", 5000)} }, "build.install: must be at most 4096 bytes"},
		{"absolute output", func(c *Client) { c.Build = &Build{Output: "/etc"} }, "build.output: must be relative"},
		{"output above", func(c *Client) { c.Build = &Build{Output: ".."} }, `build.output: must not hold ".."`},
		{"Node version", func(c *Client) { c.Build = &Build{NodeVersion: "newest; rm -rf /"} }, `build.nodeVersion: must be a version of Node or a range of them, such as 22, >=22.12 or lts/*, got "newest; rm -rf /"`},
		{"health path", func(c *Client) { c.Build = &Build{HealthPath: "ok"} }, "build.healthPath: must begin with one slash"},
		{"health path to elsewhere", func(c *Client) { c.Build = &Build{HealthPath: "//evil.example"} }, "build.healthPath: must begin with one slash"},
		{"health path upwards", func(c *Client) { c.Build = &Build{HealthPath: "/a/../../b"} }, `build.healthPath: must not hold "." or ".."`},
		{"health path with a line end", func(c *Client) { c.Build = &Build{HealthPath: "/a\r\nX: y"} }, "build.healthPath: must be a URL path"},
		{"bad variable", func(c *Client) { c.Build = &Build{Env: map[string]string{"1A": ""}} }, "build.env.1A: must be named with"},
		{"empty variable", func(c *Client) { c.Build = &Build{Env: map[string]string{"": ""}} }, "build.env.: must be named with"},
		{"our variable", func(c *Client) { c.Build = &Build{Env: map[string]string{"webordinary_token_hash": ""}} }, "build.env.webordinary_token_hash: is reserved"},
		{"PATH", func(c *Client) { c.Build = &Build{Env: map[string]string{"PATH": "/tmp"}} }, "build.env.PATH: is reserved"},
		{"git's variable", func(c *Client) { c.Build = &Build{Env: map[string]string{"GIT_SSH_COMMAND": "x"}} }, "build.env.GIT_SSH_COMMAND: is reserved"},
		{"value with NUL", func(c *Client) { c.Build = &Build{Env: map[string]string{"A": "\x00"}} }, "build.env.A: must be text"},
		{"huge value", func(c *Client) { c.Build = &Build{Env: map[string]string{"A": strings.Repeat("x", 40<<10)}} }, "build.env.A: must be at most 32768 bytes, got 40960"},
		{"unknown field", func(c *Client) { c.Unknown = map[string]json.RawMessage{"a.b": nil} }, "a.b: unknown field"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := validClient()
			test.change(&c)
			_, err := Prepare(c, testRules(t))
			list := faultStrings(t, err)
			require.Len(t, list, 1)
			assert.Truef(t, strings.HasPrefix(list[0], test.want), "got %q", list[0])
			assert.NotContains(t, list[0], "SECRET")
		})
	}
}

func TestManyVariables(t *testing.T) {
	env := make(map[string]string)
	for i := range 101 {
		env[fmt.Sprintf("V%d", i)] = ""
	}
	c := validClient()
	c.Build = &Build{Env: env}
	assert.Equal(t, []string{"build.env: must be at most 100 variables, got 101"}, faultStrings(t, Validate(c, Rules{})))
}

// TestCredentials: an https repository takes a token or user:token in the key's place.
func TestCredentials(t *testing.T) {
	const form = "must be a token, or user:token"
	for text, want := range map[string]string{
		"ghp_SECRET":                        "",
		"deploy:SECRET":                     "",
		"user@example.com:SECRET:with:more": "",
		"jo:SECRET with spaces, and ü":      "",
		strings.Repeat("x", maxCredential):  "",
		":SECRET":                           form,
		"SECRET:":                           form,
		" SECRET":                           "must be one line",
		"SECRET\n":                          "must be one line",
		"SECRET\nhost=evil.example":         "must be one line",
		"SEC\x00RET":                        "must be one line",
		"SECRET\x7f":                        "must be one line",
		"SECRET\xff":                        "must be one line",
		strings.Repeat("SECRET", 1000):      "must be at most 4096 bytes",
		string(pemKey("PRIVATE KEY", "x")):  "is a key for ssh",
		"[redacted]":                        "is a redacted key",
	} {
		c := validClient()
		c.Repository.DeployKey = DeployKey(text)
		_, err := Prepare(c, Rules{})
		if want == "" {
			assert.NoError(t, err)
		} else {
			faults := faultStrings(t, err)
			require.Len(t, faults, 1, "%q", text)
			assert.Contains(t, faults[0], "repository.deployKey: "+want)
			assert.NotContains(t, faults[0], "SECRET")
		}
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c.Redacted()), "SECRET")
	}
}

func TestRepositoryURLs(t *testing.T) {
	const private = "private address"
	tests := []struct {
		url string
		// want is a part of the fault; empty: accepted. wantLocal likewise where files are allowed.
		want, wantLocal string
	}{
		{"https://git.example/amelia.git", "", ""},
		{"https://git.example:8443/a/b/c.git", "", ""},
		{"https://93.184.216.34/a.git", "", ""},
		{"ssh://git@git.example/amelia.git", "", ""},
		{"ssh://git.example:2222/amelia.git", "", ""},
		{"git@git.example:amelia/site.git", "", ""},
		{"git@git.example:/srv/site.git", "", ""},
		{"git@GIT.Example:~amelia/site.git", "", ""},

		{"https://10.0.0.1/a.git", private, ""},
		{"https://[::1]/a.git", private, ""},
		{"https://[::ffff:127.0.0.1]/a.git", private, ""},
		{"https://169.254.169.254/latest", private, ""},
		{"https://localhost/a.git", private, ""},
		{"ssh://git@127.0.0.1:2222/a.git", private, ""},
		{"git@sshd.localhost:a.git", private, ""},
		{"file:///srv/git/amelia.git", "file URL", ""},

		{"file://host/a.git", "file URL", "file:///absolute/path"},
		{"file:///srv/../etc", "file URL", "clean path"},
		{"file:///srv/%2e%2e/etc", "file URL", "clean path"},
		{"file:///", "file URL", "path of a repository"},
		{"file:///a?b", "file URL", "file:///absolute/path"},

		{"", "empty", "empty"},
		{"-oProxyCommand=x", "hyphen", "hyphen"},
		{"--upload-pack=x", "hyphen", "hyphen"},
		{"ext::sh -c x", "spaces", "spaces"},
		{"ext::sh", "https://host/path", "https://host/path"},
		{"fd::17/https://a.example/b", "https://host/path", "https://host/path"},
		{"https::https://a.example/b", "query", "query"},
		{"git@git.example::x", "https://host/path", "https://host/path"},
		{"/srv/git/amelia.git", "https://host/path", "https://host/path"},
		{"../amelia.git", "https://host/path", "https://host/path"},
		{"./a:b", "https://host/path", "https://host/path"},
		{"C:/repo", "https://host/path", "https://host/path"},
		{"http://git.example/a.git", "https://host/path", "https://host/path"},
		{"git://git.example/a.git", "https://host/path", "https://host/path"},
		{"HTTPS", "https://host/path", "https://host/path"},
		{"javascript://git.example/a", "https://host/path", "https://host/path"},
		{"https://token@git.example/a.git", "deployKey", "deployKey"},
		{"https://user:SECRET@git.example/a.git", "deployKey", "deployKey"},
		{"https://user:SECRET%@git.example/a.git", "https://host/path", "https://host/path"},
		{"ssh://git:SECRET@git.example/a.git", "deployKey", "deployKey"},
		{"ssh://-oProxyCommand=x/a.git", "host", "host"},
		{"ssh://-x@git.example/a.git", "user", "user"},
		{"-x@git.example:a.git", "hyphen", "hyphen"},
		{"x@-git.example:a.git", "host", "host"},
		{"a@b@git.example:a.git", "host", "host"},
		{"git@git.example:-x", "hyphen", "hyphen"},
		{"ssh://git@git.example/-x", "hyphen", "hyphen"},
		{"git@git.example:", "must name a repository", "must name a repository"},
		{"https://git.example", "must name a repository", "must name a repository"},
		{"https://git.example/", "must name a repository", "must name a repository"},
		{"https:///a.git", "host", "host"},
		{"https:a.git", "https://host/path", "https://host/path"},
		{"https://git.example/a.git?x=1", "query", "query"},
		{"https://git.example/a.git#x", "query", "query"},
		{"https://git.example:0/a.git", "port", "port"},
		{"https://git.example:/a.git", "port", "port"},
		{"https://git.example:99999/a.git", "port", "port"},
		{"https://git.example/a%0ab", "control characters", "control characters"},
		{"https://git.example/a\nb", "control characters", "control characters"},
		{"https://git.example/a\\b", "backslashes", "backslashes"},
		{"https://git.example/../a", "..", ".."},
		{"git@git.example:../a", "..", ".."},
		{"https://git_x.example/a", "host", "host"},
		{"https://127.1/a", "host", "host"},
		{"https://git.example/" + strings.Repeat("a", 2048), "at most 2048 bytes", "at most 2048 bytes"},
	}
	for _, test := range tests {
		for allow, want := range map[bool]string{false: test.want, true: test.wantLocal} {
			err := CheckRepositoryURL(test.url, allow)
			if want == "" {
				require.NoError(t, err, "%q, local allowed: %v", test.url, allow)
				continue
			}
			require.ErrorContains(t, err, want, "%q, local allowed: %v", test.url, allow)
			assert.NotContains(t, err.Error(), "SECRET")
		}
	}
}

// TestCheckBranch holds our rules against git's own.
func TestCheckBranch(t *testing.T) {
	names := []string{
		"main", "feature/x", "a.b", "a-b", "ünï", "a@b", "x/@/y", "a{b", "refs/heads/x", "release-1.2", "1",
		"", "-", "-x", "--help", "@", "HEAD", ".a", "a/.b", "a..b", "a.", "a/", "/a", "a//b", "a.lock", "a.lock/b",
		"a b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a@{b", "a\tb", "a\x7f", "a\nb", "@{-1}",
	}
	for _, name := range names {
		gitErr := exec.Command("git", "-C", t.TempDir(), "check-ref-format", "--branch", name).Run()
		if name == "@" {
			gitErr = errStream // git takes it for HEAD
		}
		err := CheckBranch(name)
		assert.Equal(t, gitErr == nil, err == nil, "branch %q: git says %v, we say %v", name, gitErr, err)
	}
	require.Error(t, CheckBranch(strings.Repeat("a", 300)), "longer than a file's name may be")
	require.Error(t, CheckBranch("a\xff"), "not UTF-8")
}

// TestDeployKeys holds our reading of keys against those that ssh-keygen makes.
func TestDeployKeys(t *testing.T) {
	for _, kind := range [][]string{{"-t", "ed25519"}, {"-t", "ecdsa"}, {"-t", "rsa", "-m", "PEM"}, {"-t", "rsa", "-m", "PKCS8"}} {
		for passphrase, want := range map[string]string{"": "", "longenough": "must not be protected by a passphrase"} {
			file := filepath.Join(t.TempDir(), "key")
			args := append([]string{"-q", "-N", passphrase, "-f", file}, kind...)
			out, err := exec.Command("ssh-keygen", args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
			key, err := os.ReadFile(file)
			require.NoError(t, err)
			err = checkDeployKey("amelia", Repository{DeployKey: normalizeKey(DeployKey(key))}, nil)
			if want == "" {
				require.NoError(t, err, "%v", kind)
				assert.Equal(t, string(key), string(normalizeKey(DeployKey(strings.ReplaceAll(string(key), "\n", "\r\n")))))
			} else {
				require.EqualError(t, err, want, "%v", kind)
			}
		}
	}
}

func TestDeployKeyIsNeverShown(t *testing.T) {
	c := validClient()
	c.Repository.DeployKey = pemKey("PRIVATE KEY", "SECRET")
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Repository.DeployKey)} {
		assert.NotContains(t, shown, "BEGIN")
		assert.Contains(t, shown, "[redacted]")
	}
	redacted := c.Redacted()
	assert.Equal(t, DeployKey("[redacted]"), redacted.Repository.DeployKey)
	assert.Contains(t, string(c.Repository.DeployKey), "BEGIN")
	c.Repository.DeployKey = "env:KEY"
	assert.Equal(t, c, c.Redacted(), "a reference is no secret")
	c.Repository.DeployKey = ""
	assert.Empty(t, c.Redacted().Repository.DeployKey)
}
