package steps

import (
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// pins are the package managers by the packageManager of a package.json; npm's is this
// machine's.
var pins = map[string]string{"npm": "", "pnpm": `"packageManager":"pnpm@10.34.9",`, "pnpm 9": `"packageManager":"pnpm@9.15.9",`, "Yarn 1": `"packageManager":"yarn@1.22.22",`, "Yarn 4": `"packageManager":"yarn@4.9.2",`}

// badInstalls are sites that cannot be installed, and what must be said by which package manager.
var badInstalls = map[string]struct {
	manifest string // after the package manager
	files    map[string]string
	// registry answers requests with a status; 0: none listens; negative: it shows a
	// certificate that nobody knows.
	registry  int
	says      map[string]string
	retryable bool
}{
	"a version that is not to be had": {
		manifest: `"dependencies":{"is-odd":"99.0.0"}`, registry: http.StatusOK,
		says: every("A package that the site needs was not found in the registry: is-odd@99.0.0."),
	},
	"no password": {
		manifest: `"dependencies":{"is-odd":"3.0.1"}`, registry: http.StatusUnauthorized,
		says: merged(every("The package registry {registry} refused access: its password may be missing or no longer valid."), map[string]string{
			"Yarn 1": "The package registry {registry} did not give the package is-odd: nope",
			"Yarn 4": "The package registry refused access: its password may be missing or no longer valid.",
		}),
	},
	"a registry that is out of order": {
		manifest: `"dependencies":{"is-odd":"3.0.1"}`, registry: http.StatusServiceUnavailable,
		says: merged(every("The package registry could not be reached: {registry} has a fault at the moment (503)."), map[string]string{
			"Yarn 1": "The package registry could not be reached: it has a fault at the moment (503).",
		}),
		retryable: true,
	},
	"no registry": {
		manifest: `"dependencies":{"is-odd":"3.0.1"}`,
		says:     every("The package registry could not be reached: {registry} does not answer: it refuses the connection."), retryable: true,
	},
	"a certificate that nobody knows": {
		manifest: `"dependencies":{"is-odd":"3.0.1"}`, registry: -1,
		says: map[string]string{
			"npm":    "The package registry could not be reached: the certificate of {registry} is not trusted (self-signed certificate).",
			"pnpm":   "The package registry could not be reached: the certificate of {registry} is not trusted (self-signed certificate).",
			"pnpm 9": "The package registry could not be reached: the certificate of {registry} is not trusted (self-signed certificate).",
			"Yarn 1": "The package registry could not be reached: its certificate is not trusted (self-signed certificate).",
			"Yarn 4": "The package registry could not be reached: its certificate is not trusted (self-signed certificate).",
		},
	},
	"a package whose script fails": {
		manifest: `"dependencies":{"bad":"file:./bad"}`, registry: http.StatusOK,
		files: map[string]string{"bad/package.json": `{"name":"bad","version":"1.0.0","scripts":{"install":"echo no flour; exit 3"}}`},
		says:  except(every("The install script of the package bad failed: no flour"), "pnpm", "pnpm 9"), // they run none of it
	},
	"a script of the site's": {
		manifest: `"scripts":{"postinstall":"node setup.js"}`, registry: http.StatusOK,
		says: merged(every("Installing the packages failed: Error: Cannot find module 'setup.js'"), map[string]string{
			"Yarn 4": "The site's own install script failed: Error: Cannot find module 'setup.js'",
		}),
	},
	"Python": {
		manifest: `"dependencies":{"bad":"file:./bad"}`, registry: http.StatusOK,
		files: map[string]string{"bad/package.json": `{"name":"bad","version":"1.0.0"}`, "bad/binding.gyp": `{"targets":[{"target_name":"x","sources":["x.cc"]}]}`},
		says:  map[string]string{"npm": "The install script of the package bad failed: it is compiled when it is installed, which needs Python, and there is none here"},
	},
	"packages that do not fit": {
		manifest: `"dependencies":{"react":"18.2.0","react-dom":"17.0.2"}`, registry: http.StatusOK,
		says: map[string]string{"npm": "The packages that the site needs do not fit together: react-dom@17.0.2 needs react@17.0.2, and react@18.2.0 is asked for."},
	},
	"an old version of Node": {
		manifest: `"engines":{"node":"^20.0.0"},"dependencies":{"old":"file:./old"}`, registry: http.StatusOK,
		files: map[string]string{"old/package.json": `{"name":"old","version":"1.0.0","engines":{"node":">=99"}}`},
		says:  map[string]string{"Yarn 1": `The site needs another version of Node: old@1.0.0: The engine "node" is incompatible with this module. Expected version ">=99". Got "20.20.2"`},
	},
}

func every(cause string) map[string]string {
	all := map[string]string{}
	for manager := range pins {
		all[manager] = cause
	}
	return all
}

func merged(all, more map[string]string) map[string]string {
	maps.Copy(all, more)
	return all
}

func except(all map[string]string, managers ...string) map[string]string {
	for _, manager := range managers {
		delete(all, manager)
	}
	return all
}

// TestRealInstall has the real package managers fail; without TORTURE=1 only npm, which is
// here already.
func TestRealInstall(t *testing.T) {
	t.Parallel()
	torture := os.Getenv("TORTURE") == "1"
	for name, tc := range badInstalls {
		for manager, want := range tc.says {
			if manager != "npm" && !torture {
				continue
			}
			t.Run(name+", "+manager, func(t *testing.T) {
				b := newBench(t)
				b.write("", tc.files)
				b.write("", map[string]string{"package.json": `{"name":"site","private":true,` + pins[manager] + tc.manifest + `}`})
				if manager == "Yarn 4" {
					b.write("", map[string]string{".yarnrc.yml": "nodeLinker: node-modules\nhttpRetry: 0\n"})
				}
				env := map[string]string{
					"npm_config_fetch_retries": "0", "NODE_GYP_FORCE_PYTHON": "/nowhere", "YARN_HTTP_RETRY": "0",
					"YARN_CACHE_FOLDER": filepath.Join(b.cfg.Private, "yarn-cache"), "YARN_ENABLE_GLOBAL_CACHE": "0",
				}
				if tc.registry != http.StatusOK {
					url := registry(t, tc.registry)
					env["npm_config_registry"] = url + "/"
					want = strings.ReplaceAll(want, "{registry}", strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://"))
				}
				b.fails(b.try(bootapi.Site{Env: env, Command: "true"}, true, false), bootapi.PhaseInstalling, want, tc.retryable)
			})
		}
	}
}

// registry is the origin of a package registry that refuses everything.
func registry(t *testing.T, status int) string {
	t.Helper()
	if status == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		return "http://" + l.Addr().String()
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"error":"nope"}`))
	})
	if status < 0 {
		s := httptest.NewTLSServer(refuse)
		t.Cleanup(s.Close)
		return s.URL
	}
	s := httptest.NewServer(refuse)
	t.Cleanup(s.Close)
	return s.URL
}

// TestRealLockFiles has a lock file that does not match, and that cannot be done without
// either.
func TestRealLockFiles(t *testing.T) {
	t.Parallel()
	locks := map[string]map[string]string{
		"npm":    {"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site"}}}`},
		"pnpm":   {"pnpm-lock.yaml": "lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .: {}\n"},
		"Yarn 1": {"yarn.lock": "# yarn lockfile v1\n\n\n"},
		"Yarn 4": {"yarn.lock": "__metadata:\n  version: 8\n  cacheKey: 10c0\n\n\"site@workspace:.\":\n  version: 0.0.0-use.local\n  resolution: \"site@workspace:.\"\n  languageName: unknown\n  linkType: soft\n", ".yarnrc.yml": "nodeLinker: node-modules\n"},
	}
	for manager, files := range locks {
		if manager != "npm" && os.Getenv("TORTURE") != "1" {
			continue
		}
		t.Run(manager, func(t *testing.T) {
			b := newBench(t)
			b.write("", files)
			// The others look for packages before they compare, and it runs no scripts.
			dependency, why := `"bad":"file:./bad"`, "The install script of the package bad failed: no flour"
			b.write("bad", map[string]string{"package.json": `{"name":"bad","version":"1.0.0","scripts":{"install":"echo no flour; exit 3"}}`})
			if manager == "pnpm" {
				dependency, why = `"is-odd":"99.0.0"`, "A package that the site needs was not found in the registry: is-odd@99.0.0."
			}
			b.write("", map[string]string{"package.json": `{"name":"site","private":true,` + pins[manager] + `"dependencies":{` + dependency + `}}`})
			lock := ""
			for name := range files {
				if !strings.HasPrefix(name, ".") {
					lock = name
				}
			}
			b.fails(b.try(bootapi.Site{Command: "true"}, true, false), bootapi.PhaseInstalling, "The lock file "+lock+
				" does not match package.json, and installing without it failed too: "+why, false)
		})
	}
}
