package caddymodule

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/webordinary/router/configstore"
)

func init() {
	caddy.RegisterModule(Permission{})
}

// Permission allows certificates for the edit hosts of clients, and for nothing else.
// It answers from the routing table in memory: a name in a handshake costs no I/O.
type Permission struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (Permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "tls.permission.webordinary",
		New: func() caddy.Module { return new(Permission) },
	}
}

// Provision finds the app.
func (p *Permission) Provision(ctx caddy.Context) error {
	app, err := loadApp(ctx)
	if err != nil {
		return err
	}
	p.app = app
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	permission webordinary
func (p *Permission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	if d.NextBlock(0) {
		return d.Errf("permission webordinary takes no options, got %q", d.Val())
	}
	return nil
}

// CertificateAllowed implements caddytls.OnDemandPermission. Denials are
// caddytls.ErrPermissionDenied, so that strangers cannot fill the log; also where there is
// no routing table, about which the table's own log tells, once.
func (p *Permission) CertificateAllowed(_ context.Context, name string) error {
	live := p.app.state.live()
	if live == nil || !live.table.Loaded() {
		return errNoTable
	}
	host, ok := configstore.LookupHost(name)
	if ok {
		_, ok = live.table.Lookup(host)
	}
	if !ok {
		return fmt.Errorf("%q is no client's edit host: %w", name, caddytls.ErrPermissionDenied)
	}
	return nil
}

var errNoTable = fmt.Errorf("there is no routing table yet, so nobody can tell: %w", caddytls.ErrPermissionDenied)

// Interface guards
var (
	_ caddy.Provisioner           = (*Permission)(nil)
	_ caddyfile.Unmarshaler       = (*Permission)(nil)
	_ caddytls.OnDemandPermission = (*Permission)(nil)
)
