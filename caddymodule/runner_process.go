package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/webordinary/router/runner/process"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(ProcessRunner{})
}

// ProcessRunner runs each session's container as a child process on a loopback port.
// It contains nothing that a client's code does: for trusted sites only.
type ProcessRunner struct {
	// The containerboot binary. Default: "containerboot" beside the running binary.
	Binary string `json:"binary,omitempty"`

	// The origin (http://host:port) that gets the /api/ requests of every session,
	// an editing agent for example. Default: the site itself.
	APIUpstream string `json:"api_upstream,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (ProcessRunner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceRunners + ".process",
		New: func() caddy.Module { return new(ProcessRunner) },
	}
}

// Identity is the data folder, with what its processes are started with.
func (r *ProcessRunner) Identity(dataDir string) string {
	return "process:" + dataDir + "\x00" + r.Binary + "\x00" + r.APIUpstream
}

// OpenRunner opens the runner. It starts nothing.
func (r *ProcessRunner) OpenRunner(dataDir string, logger *zap.Logger) (sessions.Runner, error) {
	binary := r.Binary
	if binary == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding containerboot beside this binary: %w", err)
		}
		binary = filepath.Join(filepath.Dir(self), "containerboot")
	}
	runner, err := process.New(process.Options{
		Binary:      binary,
		DataDir:     dataDir,
		APIUpstream: r.APIUpstream,
		Logger:      logger,
	})
	if err != nil {
		return nil, err
	}
	return runner, nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	runner process {
//		binary       <file>
//		api_upstream <origin>
//	}
func (r *ProcessRunner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "binary":
			if !d.AllArgs(&r.Binary) {
				return d.ArgErr()
			}
		case "api_upstream":
			if !d.AllArgs(&r.APIUpstream) {
				return d.ArgErr()
			}
		default:
			return d.Errf("unrecognized option %q of runner process", d.Val())
		}
	}
	return nil
}

// Interface guards
var (
	_ Runner                = (*ProcessRunner)(nil)
	_ caddyfile.Unmarshaler = (*ProcessRunner)(nil)
)
