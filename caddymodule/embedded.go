package caddymodule

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/configstore"
	configembedded "github.com/webordinary/router/configstore/embedded"
	"github.com/webordinary/router/sessions"
	sessionembedded "github.com/webordinary/router/sessions/embedded"
)

func init() {
	caddy.RegisterModule(EmbeddedConfigStore{})
	caddy.RegisterModule(EmbeddedRegistry{})
}

// EmbeddedConfigStore keeps client configurations in one file on this machine. The CLI
// and one edge may have it open together.
type EmbeddedConfigStore struct {
	// The file. Default: webordinary.db in the data folder.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (EmbeddedConfigStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceConfigStores + ".embedded",
		New: func() caddy.Module { return new(EmbeddedConfigStore) },
	}
}

// Identity is the file's path.
func (s *EmbeddedConfigStore) Identity(dataDir string) string {
	return "embedded:" + embeddedPath(s.Path, dataDir)
}

// OpenConfigStore opens the file, and makes it where there is none.
func (s *EmbeddedConfigStore) OpenConfigStore(dataDir string) (configstore.Store, error) {
	store, err := configembedded.Open(embeddedPath(s.Path, dataDir), configembedded.Options{})
	if err != nil {
		return nil, err // not the nil *Store, which would be an interface that is not nil
	}
	return store, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	config_store embedded {
//		path <file>
//	}
func (s *EmbeddedConfigStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalPath(d, &s.Path)
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
	registry, err := sessionembedded.Open(embeddedPath(r.Path, dataDir))
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

// embeddedPath is the file of an embedded store; both stores share one by default.
func embeddedPath(path, dataDir string) string {
	if path == "" {
		path = "webordinary.db"
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dataDir, path)
}

// unmarshalPath reads a block whose one option is path.
func unmarshalPath(d *caddyfile.Dispenser, path *string) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "path":
			if !d.AllArgs(path) {
				return d.ArgErr()
			}
		default:
			return d.Errf("unrecognized option %q", d.Val())
		}
	}
	return nil
}

// Interface guards
var (
	_ ConfigStore           = (*EmbeddedConfigStore)(nil)
	_ Registry              = (*EmbeddedRegistry)(nil)
	_ caddyfile.Unmarshaler = (*EmbeddedConfigStore)(nil)
	_ caddyfile.Unmarshaler = (*EmbeddedRegistry)(nil)
)
