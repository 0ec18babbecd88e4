package caddymodule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// The namespaces of the app's guest modules.
const (
	namespaceConfigStores = "webordinary.config_stores"
	namespaceRegistries   = "webordinary.registries"
	namespaceRunners      = "webordinary.runners"
)

// guestKey is the field of a guest's JSON that names its module.
const guestKey = "module"

// ConfigStore is what a module in the namespace webordinary.config_stores implements.
type ConfigStore interface {
	// Identity names the resource behind the store (a file's path, a table and
	// region). Configurations with the same identity share one open store.
	Identity(dataDir string) string
	// OpenConfigStore opens it. It must be fast: no network.
	OpenConfigStore(dataDir string) (configstore.Store, error)
	// Local reports whether the store is on this machine, and so there whenever the
	// edge is. The routing table of any other has a snapshot on disk.
	Local() bool
	// FollowOptions are how the routing table follows the store: Interval and
	// Reconcile, zero for the default. Their other fields are the app's.
	FollowOptions() configstore.FollowOptions
}

// Registry is what a module in the namespace webordinary.registries implements.
type Registry interface {
	// Identity names the resource behind the registry.
	Identity(dataDir string) string
	// Exclusive reports that no second edge can use the registry.
	Exclusive() bool
	// OpenRegistry opens it. It must be fast: no network.
	OpenRegistry(dataDir string) (sessions.Registry, error)
}

// Runner is what a module in the namespace webordinary.runners implements.
type Runner interface {
	// Identity names the resource behind the runner.
	Identity(dataDir string) string
	// Local reports whether its containers are one edge's: they are on its machine, and
	// no other edge can start, find or stop them. It then needs a registry that is
	// Exclusive. It is asked before the module is provisioned.
	Local() bool
	// OpenRunner opens it. It must be fast: no network. The logger outlives
	// configuration reloads.
	OpenRunner(dataDir string, logger *zap.Logger) (sessions.Runner, error)
	// Reconfigure puts this configuration's settings into force on a runner that was
	// opened by a configuration with the same identity. With an error, nothing changes.
	Reconfigure(runner sessions.Runner) error
}

// unmarshalGuest reads the guest's name and block from a Caddyfile:
//
//	config_store|registry|runner <name> [{ … }]
func unmarshalGuest(d *caddyfile.Dispenser, namespace string) (json.RawMessage, error) {
	option := d.Val()
	if !d.NextArg() {
		return nil, d.ArgErr()
	}
	name := d.Val()
	id := namespace + "." + name
	if _, err := caddy.GetModule(id); err != nil {
		return nil, d.Errf("unknown %s %q: this build has %s", option, name, guestNames(namespace))
	}
	guest, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(guest, guestKey, name, nil), nil
}

// guestOf returns the guest that raw, or the default where it is empty, names, with its
// settings, not provisioned; false if there is none, which loadGuest tells in its own words.
func guestOf[T any](namespace string, raw json.RawMessage, defaultName string) (name string, guest T, ok bool) {
	var named struct {
		Module string `json:"module"`
	}
	if raw != nil && json.Unmarshal(raw, &named) != nil {
		return "", guest, false
	}
	name = cmp.Or(named.Module, defaultName)
	info, err := caddy.GetModule(namespace + "." + name)
	if err != nil {
		return name, guest, false
	}
	module := info.New()
	if raw != nil && json.Unmarshal(raw, module) != nil {
		return name, guest, false
	}
	guest, ok = module.(T)
	return name, guest, ok
}

// checkTogether refuses a runner that is one edge's with a registry that many share: an
// edge would take the others' containers for dead, and start them again.
func checkTogether(registryRaw, runnerRaw json.RawMessage) error {
	registryName, registry, ok := guestOf[Registry](namespaceRegistries, registryRaw, "embedded")
	if !ok || registry.Exclusive() {
		return nil
	}
	runnerName, runner, ok := guestOf[Runner](namespaceRunners, runnerRaw, "process")
	if !ok || !runner.Local() {
		return nil
	}
	return fmt.Errorf("runner %s holds containers for one edge alone, and registry %s is shared by any number of edges: use runner ecs with it, or runner docker with a `deployment`, or registry embedded",
		runnerName, registryName)
}

// unmarshalRunner reads a runner's block, an option at a time, and checks the whole: a
// fault is told with the line of the file.
func unmarshalRunner(d *caddyfile.Dispenser, option func(*caddyfile.Dispenser) error, validate func() error) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := option(d); err != nil {
			return err
		}
	}
	if err := validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// guestNames lists the modules of a namespace for a message.
func guestNames(namespace string) string {
	modules := caddy.GetModules(namespace)
	names := make([]string, 0, len(modules))
	for _, m := range modules {
		names = append(names, m.ID.Name())
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}

// loadGuest loads a guest from the named field of the app, or the default where the field is empty.
func loadGuest[T any](ctx caddy.Context, app *App, field string, raw *json.RawMessage, defaultName string) (T, error) {
	var none T
	if *raw == nil {
		*raw = json.RawMessage(fmt.Sprintf(`{%q:%q}`, guestKey, defaultName))
	}
	mod, err := ctx.LoadModule(app, field)
	if err != nil {
		return none, fmt.Errorf("loading %s: %w", field, err)
	}
	guest, ok := mod.(T)
	if !ok {
		return none, fmt.Errorf("loading %s: module %T does not implement %T", field, mod, &none)
	}
	return guest, nil
}
