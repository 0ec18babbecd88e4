package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/runner/process"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(ProcessRunner{})
}

// ProcessRunner runs each session's container as a child process on a loopback port.
// It contains nothing that a client's code does: for trusted sites only.
type ProcessRunner struct {
	// The containerboot binary. Default: "containerboot" beside the running binary, else
	// on PATH.
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

// Identity is the data folder. What containers are started with may change.
func (r *ProcessRunner) Identity(dataDir string) string { return "process:" + dataDir }

// Local is true: the containers are child processes.
func (*ProcessRunner) Local() bool { return true }

// OpenRunner opens the runner. It starts nothing. It fails where another edge uses the
// data folder.
func (r *ProcessRunner) OpenRunner(dataDir string, logger *zap.Logger) (sessions.Runner, error) {
	runner, err := process.New(process.Options{DataDir: dataDir, Tunables: r.tunables(), Logger: logger})
	if err != nil {
		return nil, err
	}
	return runner, nil
}

// Reconfigure has the next containers started with this configuration's settings.
func (r *ProcessRunner) Reconfigure(runner sessions.Runner) error {
	p, ok := runner.(*process.Runner)
	if !ok {
		return fmt.Errorf("reconfiguring %T: it is no process runner", runner)
	}
	return p.SetTunables(r.tunables())
}

func (r *ProcessRunner) tunables() process.Tunables {
	return process.Tunables{Binary: r.Binary, APIUpstream: r.APIUpstream}
}

// Validate checks the settings.
func (r *ProcessRunner) Validate() error {
	if r.APIUpstream == "" {
		return nil
	}
	if err := bootapi.CheckUpstream(r.APIUpstream); err != nil {
		return fmt.Errorf("api_upstream: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	runner process {
//		binary       <file>
//		api_upstream <origin>
//	}
func (r *ProcessRunner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalRunner(d, func(d *caddyfile.Dispenser) error {
		option := d.Val()
		to, ok := map[string]*string{"binary": &r.Binary, "api_upstream": &r.APIUpstream}[option]
		if !ok {
			return d.Errf("unrecognized option %q of runner process", option)
		}
		if *to != "" {
			return d.Errf("%s is given twice", option)
		}
		if !d.AllArgs(to) {
			return d.ArgErr()
		}
		return nil
	}, r.Validate)
}

// Interface guards
var (
	_ Runner                = (*ProcessRunner)(nil)
	_ caddy.Validator       = (*ProcessRunner)(nil)
	_ caddyfile.Unmarshaler = (*ProcessRunner)(nil)
)
