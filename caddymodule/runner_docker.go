package caddymodule

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/webordinary/router/runner/docker"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(DockerRunner{})
}

// DockerRunner runs each session's container on a Docker Engine. Any number of edges
// with the same engine and deployment share its containers, which outlive them.
type DockerRunner struct {
	// Where the engine listens: unix:///path or tcp://host:port. Default: DOCKER_HOST of
	// the edge's environment, else unix:///var/run/docker.sock.
	Host string `json:"host,omitempty"`

	// The PEM files of a connection to a tcp host. Default: no TLS; where host is that
	// of DOCKER_HOST, what DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say.
	TLS *DockerTLS `json:"tls,omitempty"`

	// Names what belongs together on the engine. Edges that share a session registry
	// need the same name, any others another one: each edge stops containers of its
	// deployment that have no session. Default: a name that is made for the data folder
	// and kept in it, with which no other edge can share the registry.
	Deployment string `json:"deployment,omitempty"`

	// The image of the containers, which must be on the engine: it is never pulled.
	// Default: webordinary-session.
	Image string `json:"image,omitempty"`

	// What the name of each client's network begins with. Default: the deployment's name
	// and a hyphen.
	NetworkPrefix string `json:"network_prefix,omitempty"`

	// The address of the engine's machine at which containers get a port each. Needed
	// where the edge cannot reach the containers' networks. Default: none.
	Publish string `json:"publish,omitempty"`

	// Whom containers run as, uid or uid:gid. Default: whom the image says.
	User string `json:"user,omitempty"`

	// What the container sizes small, medium and large mean. Default: 2 GiB of memory
	// and 1 CPU, 4 GiB and 2, 8 GiB and 4.
	Sizes map[string]docker.Size `json:"sizes,omitempty"`

	// Further folders of the engine's machine that every client's containers see.
	Volumes []docker.Volume `json:"volumes,omitempty"`

	// Further variables for the containers: of proxies, of npm's registry.
	Env map[string]string `json:"env,omitempty"`

	// The origin (http://host:port), as containers reach it, that gets the /api/
	// requests of every session. Default: the site itself.
	APIUpstream string `json:"api_upstream,omitempty"`
}

// DockerTLS are the PEM files of a TLS connection to a Docker Engine.
type DockerTLS struct {
	// The certificates of the engine's authority.
	CA string `json:"ca,omitempty"`
	// The edge's certificate and its key.
	Cert string `json:"cert,omitempty"`
	Key  string `json:"key,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (DockerRunner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceRunners + ".docker",
		New: func() caddy.Module { return new(DockerRunner) },
	}
}

// Identity is the engine and the deployment. What containers are started with may change.
func (r *DockerRunner) Identity(dataDir string) string {
	identity := "docker:" + r.Host
	if r.TLS != nil {
		identity += " " + strings.Join([]string{r.TLS.CA, r.TLS.Cert, r.TLS.Key}, " ")
	}
	if r.Deployment != "" {
		return identity + " " + r.Deployment
	}
	return identity + " of " + dataDir
}

// Local is true without a name for the deployment, which is then this edge's data folder's:
// all edges on an engine that have the same name share its containers.
func (r *DockerRunner) Local() bool { return r.Deployment == "" }

// OpenRunner opens the runner. It starts nothing, and does not wait for the engine.
func (r *DockerRunner) OpenRunner(dataDir string, logger *zap.Logger) (sessions.Runner, error) {
	deployment := r.Deployment
	if deployment == "" {
		var err error
		if deployment, err = ownDeployment(dataDir); err != nil {
			return nil, err
		}
	}
	runner, err := docker.New(r.options(deployment, logger))
	if err != nil {
		return nil, err
	}
	return runner, nil
}

func (r *DockerRunner) options(deployment string, logger *zap.Logger) docker.Options {
	o := docker.Options{Host: r.Host, Deployment: deployment, Tunables: r.tunables(), Logger: logger}
	if r.TLS != nil {
		o.TLS = &docker.TLS{CA: r.TLS.CA, Cert: r.TLS.Cert, Key: r.TLS.Key}
	}
	return o
}

// ownDeployment reads the name of the deployment that belongs to a data folder, and
// makes one where there is none.
func ownDeployment(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "docker.deployment")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte("webordinary-" + strings.ToLower(rand.Text()[:8]) + "\n")
		if err = os.MkdirAll(dataDir, 0o700); err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
	}
	if err != nil {
		return "", fmt.Errorf("naming the deployment: %w", err)
	}
	name := strings.TrimSpace(string(text))
	if err := docker.CheckName(name); err != nil {
		return "", fmt.Errorf("naming the deployment by %s: %w", path, err)
	}
	return name, nil
}

// Examine implements Examiner: it asks the engine whether containers can be started.
func (r *DockerRunner) Examine(ctx context.Context, _ string) []Finding {
	const check = "Docker Engine"
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	runner, err := docker.New(r.options("doctor", zap.NewNop()))
	if err != nil {
		return []Finding{{Check: check, Detail: err.Error()}}
	}
	err = errors.Join(runner.Check(ctx), runner.Close(ctx))
	if err != nil {
		return []Finding{{Check: check, Detail: err.Error()}} // says what to do
	}
	return []Finding{fine(check, "it answers and has the image "+cmp.Or(r.Image, docker.DefaultImage))}
}

// Reconfigure has the next containers started with this configuration's settings.
func (r *DockerRunner) Reconfigure(runner sessions.Runner) error {
	d, ok := runner.(*docker.Runner)
	if !ok {
		return fmt.Errorf("reconfiguring %T: it is no docker runner", runner)
	}
	return d.SetTunables(r.tunables())
}

func (r *DockerRunner) tunables() docker.Tunables {
	return docker.Tunables{
		Image: r.Image, NetworkPrefix: r.NetworkPrefix, Publish: r.Publish, User: r.User,
		Sizes: r.Sizes, Volumes: r.Volumes, Env: r.Env, APIUpstream: r.APIUpstream,
	}
}

// Validate checks the settings.
func (r *DockerRunner) Validate() error {
	var faults []error
	if r.Host != "" {
		faults = append(faults, docker.CheckHost(r.Host))
	}
	if r.Deployment != "" {
		if err := docker.CheckName(r.Deployment); err != nil {
			faults = append(faults, fmt.Errorf("deployment: %w", err))
		}
	}
	if r.TLS != nil && (r.TLS.CA == "" || r.TLS.Cert == "" || r.TLS.Key == "") {
		faults = append(faults, errors.New("tls: ca, cert and key must be set"))
	}
	if err := errors.Join(append(faults, r.tunables().Check())...); err != nil {
		return fmt.Errorf("runner docker: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	runner docker {
//		host           <address>
//		tls            <ca_file> <cert_file> <key_file>
//		deployment     <name>
//		image          <image>
//		network_prefix <prefix>
//		publish        <ip>
//		user           <uid>[:<gid>]
//		size           small|medium|large <memory> <cpus> [<processes>]
//		volume         <source> <target> [ro]
//		env            <name> <value>
//		api_upstream   <origin>
//	}
//
// size may be given once for each size, env for each variable, volume for each target.
// Memory has a unit (2GiB); processes are 512 unless they are given. An empty text means
// the default.
func (r *DockerRunner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalRunner(d, r.unmarshalOption, r.Validate)
}

func (r *DockerRunner) unmarshalOption(d *caddyfile.Dispenser) error {
	option := d.Val()
	texts := map[string]*string{
		"host": &r.Host, "deployment": &r.Deployment, "image": &r.Image, "network_prefix": &r.NetworkPrefix,
		"publish": &r.Publish, "user": &r.User, "api_upstream": &r.APIUpstream,
	}
	if to, ok := texts[option]; ok {
		if *to != "" {
			return d.Errf("%s is given twice", option)
		}
		if !d.AllArgs(to) {
			return d.ArgErr()
		}
		return nil
	}
	args := d.RemainingArgs()
	switch option {
	case "tls":
		if len(args) != 3 {
			return d.ArgErr()
		}
		if r.TLS != nil {
			return d.Errf("%s is given twice", option)
		}
		r.TLS = &DockerTLS{CA: args[0], Cert: args[1], Key: args[2]}
		return nil
	case "size":
		return r.unmarshalSize(d, args)
	case "volume":
		return r.unmarshalVolume(d, args)
	case "env":
		return r.unmarshalEnv(d, args)
	default:
		return d.Errf("unrecognized option %q of runner docker", option)
	}
}

func (r *DockerRunner) unmarshalSize(d *caddyfile.Dispenser, args []string) error {
	if len(args) != 3 && len(args) != 4 {
		return d.ArgErr()
	}
	name := args[0]
	if _, ok := r.Sizes[name]; ok {
		return d.Errf("size %s is given twice", name)
	}
	if _, ok := docker.DefaultSizes()[name]; !ok {
		return d.Errf("size must be small, medium or large, got %q", name)
	}
	memory, err := humanize.ParseBytes(args[1])
	if err != nil || memory > 1<<50 {
		return d.Errf("size %s: memory must be an amount with a unit, as 2GiB, got %q", name, args[1])
	}
	size := docker.Size{Memory: int64(memory)}
	if size.CPUs, err = strconv.ParseFloat(args[2], 64); err != nil {
		return d.Errf("size %s: CPUs must be a number, got %q", name, args[2])
	}
	if len(args) == 4 {
		if size.Processes, err = strconv.ParseInt(args[3], 10, 64); err != nil {
			return d.Errf("size %s: processes must be a number, got %q", name, args[3])
		}
	}
	if r.Sizes == nil {
		r.Sizes = map[string]docker.Size{}
	}
	r.Sizes[name] = size
	return nil
}

func (r *DockerRunner) unmarshalVolume(d *caddyfile.Dispenser, args []string) error {
	readOnly := len(args) == 3 && args[2] == "ro"
	if len(args) != 2 && !readOnly {
		return d.ArgErr()
	}
	v := docker.Volume{Source: args[0], Target: args[1], ReadOnly: readOnly}
	for _, other := range r.Volumes {
		if other.Target == v.Target {
			return d.Errf("volume %s is given twice", v.Target)
		}
	}
	r.Volumes = append(r.Volumes, v)
	return nil
}

func (r *DockerRunner) unmarshalEnv(d *caddyfile.Dispenser, args []string) error {
	if len(args) != 2 {
		return d.ArgErr()
	}
	if _, ok := r.Env[args[0]]; ok {
		return d.Errf("env %s is given twice", args[0])
	}
	if r.Env == nil {
		r.Env = map[string]string{}
	}
	r.Env[args[0]] = args[1]
	return nil
}

// Interface guards
var (
	_ Runner                = (*DockerRunner)(nil)
	_ Examiner              = (*DockerRunner)(nil)
	_ caddy.Validator       = (*DockerRunner)(nil)
	_ caddyfile.Unmarshaler = (*DockerRunner)(nil)
)
