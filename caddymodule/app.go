package caddymodule

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/deploykey"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(App{})
}

// App holds what all handlers share: one config store, one session registry and one
// runner. What runs on them (the routing table, sessions, containers) survives
// configuration reloads for as long as the three stay the same.
type App struct {
	// The folder of embedded stores, workspaces and caches.
	// Default: "webordinary" in Caddy's data folder.
	DataDir string `json:"data_dir,omitempty"`

	// Host patterns with one {client} each ("edit.{client}.example.com"). Each gives
	// every client one more edit host. Default: none.
	Hosts []string `json:"hosts,omitempty"`

	// Scheme, and port if it is not the scheme's own, under which visitors reach the
	// edge ("https://", "http://:8080"). It makes preview URLs. Default: "https://".
	PublicOrigin string `json:"public_origin,omitempty"`

	// The idle timeout of every session, over what clients are configured with.
	// Default: the client's.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How long a session that another edge is at work on is left to it without a sign of
	// life. A change takes effect at the edge's next start; all edges on one registry
	// need the same. Default: 15s.
	Lease caddy.Duration `json:"lease,omitempty"`

	// Allow file: repositories, and such at private and loopback addresses. They let
	// whoever may write a client's configuration read this machine's repositories, and
	// have git ask servers of this network. Default: false.
	AllowFileRepositories bool `json:"allow_file_repositories,omitempty"`

	// What references to deploy keys in clients' configurations may begin with: "env:"
	// and the beginning of a variable's name; "file:" and the path of a folder or file;
	// the ARN of a secret of AWS Secrets Manager, or the beginning of one. In the first
	// two, {client} stands for the client's id. Default: none, so that a configuration
	// must hold the key itself.
	DeployKeyPrefixes []string `json:"deploy_key_prefixes,omitempty"`

	// Where client configurations are. Default: embedded.
	ConfigStoreRaw json.RawMessage `json:"config_store,omitempty" caddy:"namespace=webordinary.config_stores inline_key=module"`

	// Where session records are. Default: embedded.
	RegistryRaw json.RawMessage `json:"registry,omitempty" caddy:"namespace=webordinary.registries inline_key=module"`

	// What holds containers. Default: process.
	RunnerRaw json.RawMessage `json:"runner,omitempty" caddy:"namespace=webordinary.runners inline_key=module"`

	configStore ConfigStore
	registry    Registry
	runner      Runner

	patterns    []configstore.HostPattern
	keyPrefixes []configstore.KeyPrefix
	origin      sessions.PublicOrigin
	keys        *deploykey.Resolver
	state       *state
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "webordinary",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision reads the configuration and takes a share in the state behind it. It opens nothing.
func (a *App) Provision(ctx caddy.Context) error {
	if err := a.parse(); err != nil {
		return err
	}
	var err error
	if a.configStore, err = loadGuest[ConfigStore](ctx, a, "ConfigStoreRaw", &a.ConfigStoreRaw, "embedded"); err != nil {
		return err
	}
	if a.registry, err = loadGuest[Registry](ctx, a, "RegistryRaw", &a.RegistryRaw, "embedded"); err != nil {
		return err
	}
	if a.runner, err = loadGuest[Runner](ctx, a, "RunnerRaw", &a.RunnerRaw, "process"); err != nil {
		return err
	}
	a.keys = deploykey.New(deploykey.Options{Prefixes: a.keyPrefixes, Logger: lastingLogger("webordinary").Named("deploykey")})
	a.state, err = acquireState(a.identity())
	return err
}

// parse checks and resolves what needs no guest.
func (a *App) parse() error {
	if a.DataDir == "" {
		a.DataDir = filepath.Join(caddy.AppDataDir(), "webordinary")
	}
	dir, err := filepath.Abs(a.DataDir)
	if err != nil {
		return fmt.Errorf("resolving data_dir %q: %w", a.DataDir, err)
	}
	a.DataDir = dir

	a.patterns = nil
	for i, h := range a.Hosts {
		p, err := configstore.ParseHostPattern(h)
		if err != nil {
			return fmt.Errorf("hosts[%d]: %w", i, err)
		}
		a.patterns = append(a.patterns, p)
	}
	a.keyPrefixes = nil
	for i, s := range a.DeployKeyPrefixes {
		p, err := configstore.ParseKeyPrefix(s)
		if err != nil {
			return fmt.Errorf("deploy_key_prefixes[%d]: %w", i, err)
		}
		a.keyPrefixes = append(a.keyPrefixes, p)
	}
	if a.PublicOrigin == "" {
		a.PublicOrigin = "https://"
	}
	if a.origin, err = sessions.ParsePublicOrigin(a.PublicOrigin); err != nil {
		return fmt.Errorf("public_origin: %w", err)
	}
	if a.IdleTimeout < 0 {
		return fmt.Errorf("idle_timeout: must not be negative, got %s", time.Duration(a.IdleTimeout))
	}
	if a.Lease != 0 && time.Duration(a.Lease) < minLease {
		return fmt.Errorf("lease: must be at least %s, got %s", minLease, time.Duration(a.Lease))
	}
	return checkTogether(a.RegistryRaw, a.RunnerRaw)
}

// minLease is the shortest lease: one is renewed three times in its length, and each
// renewal is a call of the registry.
const minLease = time.Second

// identity names the resources behind the app: the key under which its state is shared
// by configurations.
func (a *App) identity() string { return a.dataIdentity() + "\n" + a.runner.Identity(a.DataDir) }

// dataIdentity names what clients and sessions are kept in. By it a command knows the
// edge that it may ask; what holds that edge's containers is no matter to it.
func (a *App) dataIdentity() string {
	return a.configStore.Identity(a.DataDir) + "\n" + a.registry.Identity(a.DataDir)
}

// rules are what a client's configuration is validated by.
func (a *App) rules() configstore.Rules {
	return configstore.Rules{AllowFile: a.AllowFileRepositories, Patterns: a.patterns, KeyPrefixes: a.keyPrefixes}
}

// Start opens the state if no configuration before did, and puts this configuration's
// tunables into force.
func (a *App) Start() error { return a.state.start(a) }

// Stop takes this configuration's tunables out of force. Sessions run on.
func (a *App) Stop() error {
	a.state.stop(a)
	return nil
}

// Cleanup gives up the share in the state, if this instance has one: the last one closes it.
func (a *App) Cleanup() error {
	if a.state == nil {
		return nil
	}
	return releaseState(a.identity())
}

// loadApp returns the app of the configuration being loaded.
func loadApp(ctx caddy.Context) (*App, error) {
	mod, err := ctx.App("webordinary")
	if err != nil {
		return nil, fmt.Errorf("loading the webordinary app: %w", err)
	}
	return mod.(*App), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
