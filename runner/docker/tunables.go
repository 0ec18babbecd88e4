package docker

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/webordinary/router/containerboot/bootapi"
)

// DefaultImage is what containers are made from where nothing else is said.
const DefaultImage = "webordinary-session"

// Tunables are the settings of a Runner which may change while it runs.
type Tunables struct {
	// Image is what containers are made from. It must be on the engine; it is never
	// pulled. Default: DefaultImage.
	Image string
	// NetworkPrefix begins the name of each client's network. Default: the deployment
	// and a hyphen.
	NetworkPrefix string
	// Publish is an address of the engine's machine at which each container gets a port
	// of its own, "127.0.0.1" for instance. It is for edges that cannot reach the
	// containers' networks: those on another machine, or beside an engine that is in a
	// virtual machine or has no privileges. Default: none, and containers are reached at
	// the addresses of their networks, as they can be from the engine's machine.
	Publish string
	// User is whom containers run as, "uid" or "uid:gid". Default: the image's, which is
	// root if the client's code is to run as somebody else than containerboot.
	User string
	// Sizes are the container sizes that differ from DefaultSizes, by name.
	Sizes map[string]Size
	// Volumes are further folders of the engine's machine that each container sees.
	Volumes []Volume
	// Env are further variables for each container: those of proxies and of npm's
	// registry, which containerboot hands on.
	Env map[string]string
	// APIUpstream is the origin that gets the containers' /api/*, as they reach it; see
	// bootapi.CheckUpstream. Default: none.
	APIUpstream string
}

// Size is what a container may use.
type Size struct {
	// Memory in bytes, what it has in /tmp and in the caches of its files included.
	Memory int64 `json:"memory"`
	// CPUs is how many processors' time, 0.5 for half of one's.
	CPUs float64 `json:"cpus"`
	// Processes is how many processes and threads at a time. Default: 512.
	Processes int64 `json:"processes,omitempty"`
}

// Volume is a folder of the engine's machine that containers see.
type Volume struct {
	// Source is the folder's absolute path on the engine's machine. It must exist.
	Source string `json:"source"`
	// Target is its absolute path in the containers.
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

const (
	mebibyte         = 1 << 20
	defaultProcesses = 512
	gibibyte         = 1 << 30
	// minMemory is what containerboot, Git and a small site need at the least.
	minMemory = 64 * mebibyte
)

// DefaultSizes are what the sizes mean that a client may be configured with: limits,
// of which the engine sets nothing aside.
func DefaultSizes() map[string]Size {
	return map[string]Size{
		"small":  {Memory: 2 * gibibyte, CPUs: 1, Processes: defaultProcesses},
		"medium": {Memory: 4 * gibibyte, CPUs: 2, Processes: defaultProcesses},
		"large":  {Memory: 8 * gibibyte, CPUs: 4, Processes: 2 * defaultProcesses},
	}
}

// SetTunables changes what the next container is started with; those that run keep what
// they have. With an error, nothing changes.
func (r *Runner) SetTunables(t Tunables) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("docker runner: %w", err)
	}
	if t.Image == "" {
		t.Image = DefaultImage
	}
	if t.NetworkPrefix == "" {
		t.NetworkPrefix = r.deployment + "-"
	}
	sizes := DefaultSizes()
	for name, size := range t.Sizes {
		if size.Processes == 0 {
			size.Processes = defaultProcesses
		}
		sizes[name] = size
	}
	t.Sizes = sizes
	t.Volumes = slices.Clone(t.Volumes)
	t.Env = maps.Clone(t.Env)
	r.tunables.Store(&t)
	return nil
}

var (
	// namePattern is what the engine allows as the beginning of its names; and short
	// enough to leave room for the rest.
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,39}$`)
	userPattern = regexp.MustCompile(`^[0-9]+(:[0-9]+)?$`)
	envPattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// own are the variables that the runner sets itself.
var own = []string{
	bootapi.EnvSessionID, bootapi.EnvTokenHash, bootapi.EnvPort, bootapi.EnvListen, bootapi.EnvListenFD, bootapi.EnvParentFD,
	bootapi.EnvLockFD, bootapi.EnvWorkspace, bootapi.EnvCache, bootapi.EnvAPIUpstream, bootapi.EnvUser, bootapi.EnvClientID, bootapi.EnvClientConfig,
}

// CheckName reports what is wrong with the name of a deployment, or a network prefix.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("must be 1 to 40 of a-z, 0-9, '-', '_' and '.', beginning with a letter or a digit, got %q", name)
	}
	return nil
}

// Check reports everything that is wrong with the settings.
func (t Tunables) Check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if t.NetworkPrefix != "" {
		if err := CheckName(t.NetworkPrefix); err != nil {
			fault("network_prefix: %w", err)
		}
	}
	if t.Publish != "" {
		if ip, err := netip.ParseAddr(t.Publish); err != nil || ip.IsUnspecified() {
			fault("publish: must be one IP address of the engine's machine, got %q", t.Publish)
		}
	}
	if t.User != "" && !userPattern.MatchString(t.User) {
		fault("user: must be uid or uid:gid in numbers, got %q", t.User)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Sizes)) {
		if err := t.Sizes[name].check(); err != nil {
			fault("size %s: %w", name, err)
		}
	}
	for _, v := range t.Volumes {
		if err := v.check(); err != nil {
			fault("volume: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		switch {
		case !envPattern.MatchString(name):
			fault("env: %q is no name of a variable", name)
		case slices.Contains(own, name), strings.HasPrefix(name, "WEBORDINARY_"):
			fault("env: %s is set by the runner", name)
		}
	}
	if t.APIUpstream != "" {
		if err := bootapi.CheckUpstream(t.APIUpstream); err != nil {
			fault("api_upstream: %w", err)
		}
	}
	return errors.Join(faults...)
}

func (s Size) check() error {
	switch {
	case s.Memory < minMemory:
		return fmt.Errorf("memory must be at least %s, got %s", amount(minMemory), amount(s.Memory))
	case s.CPUs < 0.01:
		return fmt.Errorf("must have at least 0.01 CPUs, got %g", s.CPUs)
	case s.Processes < 0 || s.Processes > 0 && s.Processes < 16:
		return fmt.Errorf("must have at least 16 processes, got %d", s.Processes)
	default:
		return nil
	}
}

func (v Volume) check() error {
	switch {
	case !path.IsAbs(v.Source):
		return fmt.Errorf("source must be an absolute path of the engine's machine, got %q", v.Source)
	case !path.IsAbs(v.Target):
		return fmt.Errorf("target must be an absolute path, got %q", v.Target)
	}
	switch target := path.Clean(v.Target); {
	case target == "/", target == tmpPath, within(target, sessionPath), within(target, cachePath):
		return fmt.Errorf("target %s is the container's own", v.Target)
	default:
		return nil
	}
}

// within reports whether a clean path is a folder or below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// amount shows an amount of memory.
func amount(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{gibibyte, "GiB"}, {mebibyte, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return strconv.FormatFloat(float64(n)/float64(unit.size), 'f', -1, 64) + " " + unit.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
