package steps

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

// Prepare finds out how what is checked out is installed, and gets the version of Node
// and the package manager that it asks for, from the cache or by npm. It comes before
// everything but Supported and the output folder's moves, and again whenever other
// content is checked out. Where this machine's own tools will do it asks no network.
func (b *Builder) Prepare(ctx context.Context) error {
	const phase, what = bootapi.PhaseInstalling, "Getting what the site is built with failed"
	if err := b.check(); err != nil {
		return err
	}
	s := b.cfg.Site
	project, err := toolchain.Inspect(b.cfg.Workspace, s.Directory, toolchain.Options{
		NodeVersion: s.NodeVersion, OwnInstall: s.Install != "", OwnCommand: s.Command != "",
	})
	if err != nil {
		return b.explain(phase, what, err)
	}
	b.project = project
	for _, note := range project.Notes {
		b.cfg.Board.Log(phase, note)
	}
	machine := b.toolsEnv(toolchain.Tools{})
	node, err := b.version(ctx, machine, "node")
	if err != nil {
		return b.explain(phase, what, err)
	}
	tools, err := b.store.Get(ctx, project, node, npmOf(machine).Engines.Node)
	if err != nil {
		return b.explain(phase, what, err)
	}
	b.env, b.node = b.toolsEnv(tools), tools.Node
	if project.Manager.Name == toolchain.PNPM {
		// Before each script it would install again what was copied from the cache.
		b.env = withDefault(b.env, "pnpm_config_verify_deps_before_run", "false")
	}
	if tools.NodeDir == "" {
		return nil
	}
	// npm would look for this machine's configuration beside the Node that it runs on.
	global, err := b.ask(ctx, machine, "npm", "config", "get", "globalconfig")
	if err != nil {
		return b.explain(phase, what, err)
	}
	b.env = withDefault(b.env, "npm_config_globalconfig", global)
	// It must run here, too: another C library than it was made for is found out now.
	if b.node, err = b.version(ctx, b.env, "node"); err != nil {
		return fail(phase, err, "Node %s, which this site needs, does not run on this machine.", tools.Node)
	}
	return nil
}

// Env is the environment of everything that is run for the site: its PATH begins with
// the version of Node that the site asks for. Valid after Prepare, until Close; the
// caller must not write to it.
func (b *Builder) Env() []string { return b.env }

// Dir is the site's folder in the workspace.
func (b *Builder) Dir() string { return b.dir }

// toolsEnv is the environment of the client's code with tools in front of this machine's.
func (b *Builder) toolsEnv(t toolchain.Tools) []string {
	env := clientEnv(b.cfg.Environ, filepath.Join(b.cfg.Private, homeName), filepath.Join(b.cfg.Private, npmName), b.cfg.Site.Env)
	if t.NodeDir == "" {
		return withPath(env, t.Path)
	}
	// Packages that are compiled find the headers of the right version there.
	return withPath(withDefault(env, "npm_config_nodedir", t.NodeDir), t.Path)
}

// rootDir is the folder that the site is installed at.
func (b *Builder) rootDir() string {
	if b.project == nil {
		return b.dir
	}
	return filepath.Join(b.cfg.Workspace, filepath.FromSlash(b.project.Root))
}

// npmPackage is what the package.json of an npm says.
type npmPackage struct {
	Name, Version string
	// Engines.Node is the range of Node that it runs on.
	Engines struct{ Node string }
}

// npmOf reads the package of an environment's npm: nothing if that is not known.
func npmOf(env []string) npmPackage {
	path, err := tool.LookPath("npm", env)
	if err != nil {
		return npmPackage{}
	}
	program, err := filepath.EvalSymlinks(path) // lib/node_modules/npm/bin/npm-cli.js
	if err != nil {
		return npmPackage{}
	}
	var m npmPackage
	data, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(program)), "package.json"))
	if err != nil || json.Unmarshal(data, &m) != nil || m.Name != "npm" {
		return npmPackage{}
	}
	return m
}

// asFault makes a failure of a toolchain's error, if it is one.
func (b *Builder) asFault(phase bootapi.Phase, err error) *Error {
	fault := (*toolchain.Error)(nil)
	if !errors.As(err, &fault) {
		return nil
	}
	f := &Error{Failure: bootapi.Failure{Phase: phase, Cause: sentence(fault.Cause), Retryable: fault.Retryable}, err: err}
	if inner := fault.Unwrap(); inner != nil {
		f.Detail = detailOf(inner)
	}
	return f
}
