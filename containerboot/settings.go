package containerboot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/runas"
	"github.com/webordinary/router/containerboot/site"
)

// settings are what the environment says. See the package comment.
type settings struct {
	sessionID string
	tokenHash string // "" standalone
	listen    string // host:port
	workspace string
	cache     string
	upstream  http.Handler  // nil for none
	listenFD  int           // -1 for none: then listen is opened
	parentFD  int           // -1 for none
	lockFD    int           // -1 for none
	user      *runas.User   // whom the client's code runs as; nil for our own
	timeout   time.Duration // of a boot
	autoSave  time.Duration // 0 for never
	// knownHosts are keys of ssh servers in the form of known_hosts.
	knownHosts string

	// environ is the whole environment, of which the client's tools get a part.
	environ []string
	// standalone is the claim made from CLIENT_ID and CLIENT_CONFIG; nil with a token.
	standalone *bootapi.Claim
	// table is where that claim is to be made from instead; nil for nowhere.
	table *configTable
}

// private is the folder of what belongs to the session but not into its workspace.
func (s *settings) private() string { return filepath.Dir(s.workspace) }

// gitDir is the session's git directory. The folder beside it may be the root.
func (s *settings) gitDir() string { return filepath.Join(s.private(), "git") }

// readSettings reads and validates the environment; the error names every fault.
func readSettings(environ []string) (*settings, error) {
	env := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			env[name] = value
		}
	}
	var faults []error
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
	}
	fallback := func(name, value string) string {
		if v := env[name]; v != "" {
			return v
		}
		return value
	}

	s := &settings{
		sessionID: env[bootapi.EnvSessionID],
		tokenHash: env[bootapi.EnvTokenHash],
		environ:   environ,
	}

	folder := func(name, value string) string {
		path := fallback(name, value)
		if !filepath.IsAbs(path) {
			fault(name, "must be an absolute path, got %q", path)
		}
		return filepath.Clean(path)
	}
	s.workspace = folder(bootapi.EnvWorkspace, "/workspace")
	s.cache = folder(bootapi.EnvCache, "/cache")
	if s.workspace == string(filepath.Separator) {
		fault(bootapi.EnvWorkspace, "must not be the root folder")
	}

	switch v := fallback(bootapi.EnvAutoSave, defaultQuiet.String()); v {
	case "off":
	default:
		d, err := time.ParseDuration(v)
		if err != nil || d < minQuiet || d > maxQuiet {
			fault(bootapi.EnvAutoSave, "must be a duration between %s and %s, such as 60s, or off, got %q", minQuiet, maxQuiet, v)
		}
		s.autoSave = d
	}

	port := fallback(bootapi.EnvPort, "8080")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		fault(bootapi.EnvPort, "must be a number between 0 and 65535, got %q", port)
	}
	host := env[bootapi.EnvListen]
	if host == "" && s.tokenHash == "" {
		host = "127.0.0.1"
	}
	if host != "" && net.ParseIP(host) == nil && host != "localhost" {
		fault(bootapi.EnvListen, "must be an IP address or localhost, without a port, got %q", host)
	}
	s.listen = net.JoinHostPort(host, port)

	if origin := env[bootapi.EnvAPIUpstream]; origin != "" {
		upstream, err := site.NewUpstream(origin)
		if err != nil {
			fault(bootapi.EnvAPIUpstream, "%v", err)
		}
		s.upstream = upstream
	}

	descriptor := func(name string) int {
		v := env[name]
		if v == "" {
			return -1
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 3 {
			fault(name, "must be the number of an inherited file, 3 or more, got %q", v)
			return -1
		}
		return n
	}
	s.listenFD = descriptor(bootapi.EnvListenFD)
	s.parentFD = descriptor(bootapi.EnvParentFD)
	s.lockFD = descriptor(bootapi.EnvLockFD)

	if file := env[bootapi.EnvKnownHosts]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			fault(bootapi.EnvKnownHosts, "%v", err)
		}
		s.knownHosts = string(text)
	}

	s.timeout = bootDeadline
	if v := env[bootapi.EnvBootTimeout]; v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < time.Second || d > bootDeadline {
			fault(bootapi.EnvBootTimeout, "must be a duration between 1s and %v, got %q", bootDeadline, v)
		}
		s.timeout = d
	}

	user, err := runas.Find(env[bootapi.EnvUser])
	if err != nil {
		fault(bootapi.EnvUser, "%v", err)
	}
	s.user = user

	if s.tokenHash != "" {
		if b, err := hex.DecodeString(s.tokenHash); err != nil || len(b) != 32 || strings.ToLower(s.tokenHash) != s.tokenHash {
			fault(bootapi.EnvTokenHash, "must be a SHA-256 in lower-case hex")
		}
		for _, name := range []string{bootapi.EnvClientID, bootapi.EnvClientConfig, bootapi.EnvConfigTable} {
			if env[name] != "" {
				fault(name, "conflicts with %s: a claimed container is told its client by the claim", bootapi.EnvTokenHash)
			}
		}
		return s, errors.Join(faults...)
	}

	if name := env[bootapi.EnvConfigTable]; name != "" {
		if env[bootapi.EnvClientConfig] != "" {
			fault(bootapi.EnvClientConfig, "conflicts with %s: the configuration is in one of them", bootapi.EnvConfigTable)
		}
		table, err := newConfigTable(name, env[bootapi.EnvClientID], s.sessionID, env[bootapi.EnvKeyPrefixes])
		if err != nil {
			faults = append(faults, err)
		}
		switch v := env[bootapi.EnvAllowFile]; v {
		case "":
		case "on":
			table.allowFile = true
		default:
			fault(bootapi.EnvAllowFile, "must be on, or not set, got %q", v)
		}
		s.table = table
		return s, errors.Join(faults...)
	}
	claim, err := standaloneClaim(s.sessionID, env[bootapi.EnvClientID], env[bootapi.EnvClientConfig])
	if err != nil {
		faults = append(faults, err)
	}
	s.standalone = claim
	return s, errors.Join(faults...)
}
