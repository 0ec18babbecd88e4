package steps

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/daemon"
)

// StartDev runs the site's development server, which serves below a prefix, to hosts
// and to no others. base is where it serves by its own account: an integration of the
// site's may have its base instead of what the server is told.
func (b *Builder) StartDev(ctx context.Context, prefix string, hosts []string, said Said) (d *daemon.Daemon, base func() string, err error) {
	b.cfg.Board.Enter(bootapi.PhaseBuilding, "starting the development server")
	program, err := b.devProgram()
	if err != nil {
		return nil, nil, err
	}
	version, _ := b.project.InstalledAstro()
	at := *b
	at.serverHost = devHost(version)
	own := devBase{told: prefix}
	at.listen = own.read
	d, err = at.keepUp(ctx, "the development server", devTimeout, said, func(host, port string) ([]string, []string) {
		own.starts(port)
		args := append(program, "--host", host, "--port", port, "--base", prefix+"/")
		if len(hosts) > 0 {
			args = append(args, "--allowed-hosts="+strings.Join(hosts, ","))
		}
		return args, nil
	})
	return d, own.get, err
}

// devHost is the address at which a development server must listen, "" for any: that of
// Astro 7.0 and 7.1 ends where its address is no plain one of loopback.
func devHost(astro string) string {
	if strings.HasPrefix(astro, "7.0.") || strings.HasPrefix(astro, "7.1.") {
		return "127.0.0.1"
	}
	return ""
}

// plainDev is a "dev" script that takes Astro's options at its end.
var plainDev = regexp.MustCompile(`(^|[\s/])astro dev(\s+-[^;&|]*)?$`)

// devProgram is what starts Astro's development server and takes its options: the site's
// own script where that is one, with what it does before and sets, else Astro itself.
func (b *Builder) devProgram() ([]string, error) {
	const phase = bootapi.PhaseBuilding
	data, err := b.readOwn(filepath.Join(b.dir, "package.json"))
	if err != nil {
		return nil, fail(phase, err, "This repository has no package.json in %s.", b.where())
	}
	var p struct {
		Scripts map[string]any `json:"scripts"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fail(phase, err, "The package.json in %s is not valid JSON.", b.where())
	}
	if script, _ := p.Scripts["dev"].(string); plainDev.MatchString(strings.TrimSpace(script)) {
		if manager := b.project.Manager.Name; manager != "npm" {
			return []string{manager, "run", "dev"}, nil
		}
		return []string{"npm", "run", "dev", "--"}, nil
	}
	for dir := b.dir; ; dir = filepath.Dir(dir) {
		if astro := filepath.Join(dir, "node_modules", ".bin", "astro"); isFile(astro) {
			return []string{astro, "dev"}, nil
		}
		if dir == b.cfg.Workspace || dir == filepath.Dir(dir) {
			return nil, fail(phase, fs.ErrNotExist, "build.mode dev needs Astro, which is not among the packages of %s.", b.where())
		}
	}
}

// devBase is where a development server serves. It is safe for concurrent use.
type devBase struct {
	told string // the base that it is told

	mu   sync.Mutex
	port string
	says string // the base that it says; told until it has
}

// devURL is the line by which Astro says where its development server is.
var devURL = regexp.MustCompile(`^\W*(?:Local|Network)\s+(https?://\S+)$`)

// starts forgets what an earlier process said.
func (d *devBase) starts(port string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.port, d.says = port, d.told
}

// read hears a line of the server's output. Only what names its own port is about it.
func (d *devBase) read(line string) {
	m := devURL.FindStringSubmatch(line)
	if m == nil {
		return
	}
	u, err := url.Parse(m[1])
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && u.Port() == d.port {
		d.says = strings.TrimRight(u.Path, "/")
	}
}

// get returns the base, without a slash at its end: "" for the root.
func (d *devBase) get() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.says
}
