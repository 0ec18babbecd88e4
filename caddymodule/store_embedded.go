package caddymodule

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/embedded"
)

func init() {
	caddy.RegisterModule(EmbeddedConfigStore{})
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
	store, err := embedded.Open(embeddedPath(s.Path, dataDir), embedded.Options{})
	if err != nil {
		return nil, err // not the nil *Store, which would be an interface that is not nil
	}
	return store, nil
}

// Local implements ConfigStore: a file on this machine is there or nothing is.
func (*EmbeddedConfigStore) Local() bool { return true }

// FollowOptions implements ConfigStore: the defaults.
func (*EmbeddedConfigStore) FollowOptions() configstore.FollowOptions {
	return configstore.FollowOptions{}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	config_store embedded {
//		path <file>
//	}
func (s *EmbeddedConfigStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalPath(d, &s.Path)
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
			if *path != "" {
				return d.Err("path is given twice")
			}
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
	_ caddyfile.Unmarshaler = (*EmbeddedConfigStore)(nil)
)
