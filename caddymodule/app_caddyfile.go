package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("webordinary", parseGlobalOption)
}

// parseGlobalOption sets up the app from the global option webordinary. Syntax:
//
//	webordinary {
//		data                    <folder>
//		hosts                   <patterns...>
//		public_origin           <scheme>://[:<port>]
//		idle_timeout            <duration>
//		lease                   <duration>
//		allow_file_repositories
//		deploy_key_prefixes     <prefixes...>
//		config_store            <module> [{ ... }]
//		registry                <module> [{ ... }]
//		runner                  <module> [{ ... }]
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the global option webordinary is given twice")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "webordinary", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler; see parseGlobalOption for the syntax.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is given twice", option)
		}
		seen[option] = true
		if err := a.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	check := *a
	if err := check.parse(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "data":
		if !d.AllArgs(&a.DataDir) {
			return d.ArgErr()
		}
	case "hosts":
		if a.Hosts = d.RemainingArgs(); len(a.Hosts) == 0 {
			return d.ArgErr()
		}
	case "public_origin":
		if !d.AllArgs(&a.PublicOrigin) {
			return d.ArgErr()
		}
	case "idle_timeout":
		return unmarshalDuration(d, &a.IdleTimeout)
	case "lease":
		return unmarshalDuration(d, &a.Lease)
	case "allow_file_repositories":
		if d.NextArg() {
			return d.ArgErr()
		}
		a.AllowFileRepositories = true
	case "deploy_key_prefixes":
		if a.DeployKeyPrefixes = d.RemainingArgs(); len(a.DeployKeyPrefixes) == 0 {
			return d.ArgErr()
		}
	case "config_store":
		a.ConfigStoreRaw, err = unmarshalGuest(d, namespaceConfigStores)
	case "registry":
		a.RegistryRaw, err = unmarshalGuest(d, namespaceRegistries)
	case "runner":
		a.RunnerRaw, err = unmarshalGuest(d, namespaceRunners)
	default:
		return d.Errf("unrecognized option %q of webordinary", option)
	}
	return err
}

// unmarshalDuration reads one positive duration. An empty argument, as an environment
// variable that is not set leaves it, means the default.
func unmarshalDuration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	option := d.Val()
	var val string
	if !d.AllArgs(&val) {
		return d.ArgErr()
	}
	if val == "" {
		return nil
	}
	dur, err := caddy.ParseDuration(val)
	if err != nil {
		return d.Errf("%s: %v", option, err)
	}
	if dur <= 0 {
		return d.Errf("%s: must be positive, got %s", option, val)
	}
	*to = caddy.Duration(dur)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*App)(nil)
