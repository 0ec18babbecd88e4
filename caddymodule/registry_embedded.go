package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/embedded"
)

func init() {
	caddy.RegisterModule(EmbeddedRegistry{})
}

// EmbeddedRegistry keeps session records in one file on this machine. One edge and the
// CLI may have it open together.
type EmbeddedRegistry struct {
	// The file. Default: webordinary.db in the data folder.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (EmbeddedRegistry) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceRegistries + ".embedded",
		New: func() caddy.Module { return new(EmbeddedRegistry) },
	}
}

// Identity is the file's path.
func (r *EmbeddedRegistry) Identity(dataDir string) string {
	return "embedded:" + embeddedPath(r.Path, dataDir)
}

// Exclusive is true: the file belongs to the one edge of this machine.
func (*EmbeddedRegistry) Exclusive() bool { return true }

// OpenRegistry opens the file, and makes it where there is none.
func (r *EmbeddedRegistry) OpenRegistry(dataDir string) (sessions.Registry, error) {
	registry, err := embedded.Open(embeddedPath(r.Path, dataDir))
	if err != nil {
		return nil, err
	}
	return registry, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	registry embedded {
//		path <file>
//	}
func (r *EmbeddedRegistry) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalPath(d, &r.Path)
}

// Interface guards
var (
	_ Registry              = (*EmbeddedRegistry)(nil)
	_ caddyfile.Unmarshaler = (*EmbeddedRegistry)(nil)
)
